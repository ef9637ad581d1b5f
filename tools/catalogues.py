"""Brings the catalogues of the console's pages up to date: `make catalogues`.

Takes the texts from the templates and the modules, merges them into each language's `console.po`, and compiles that.
Nobody needs this to install or run: what it makes is committed.
"""

import io
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1] / "hcsidecar"
LOCALES = ROOT / "console" / "locale"
LANGUAGES = ("fr",)
METHODS = [
    ("console/templates/**.html", "jinja2"),
    ("console/pages/**.py", "python"),
    ("core/console/**.py", "python"),
]
OPTIONS = {"**.html": {"trimmed": "true"}}
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2)}
WORDS = (
    # Levels of events, and how a check of the machine ended.
    *("debug", "info", "warning", "error", "ok", "problem"),
    # Roles of users.
    *("monitor", "control", "admin"),
    # Results of checks.
    *("up", "down", "init"),
    # Why somebody is not let in.
    "name or password is wrong",
)
"Words that documents have, and that pages translate when they show them."


def template() -> Catalog:
    """Return the catalogue with all texts and no translation."""
    found = Catalog(project="hcsidecar", charset="utf-8", creation_date=None)
    for filename, line, message, comments, context in extract_from_dir(
        ROOT, METHODS, {"console/templates/**.html": {"trimmed": "true", "newstyle_gettext": "true"}}, KEYWORDS
    ):
        del line  # a text that moves in its file is no change
        found.add(message, None, [(filename, 0)], auto_comments=comments, context=context)
    for word in WORDS:
        found.add(word)
    return found


def path_of(language: str, suffix: str) -> Path:
    """Return the file of a language: `po` is what is translated, `mo` what the console reads."""
    translated = Path(__file__).parent / "locale" / f"{language}.po"
    return translated if suffix == "po" else LOCALES / language / "LC_MESSAGES" / "console.mo"


def merged(language: str) -> Catalog:
    """Return the catalogue of a language with the texts that there are now."""
    path = path_of(language, "po")
    if path.exists():
        with path.open("rb") as file:
            present = read_po(file, locale=language)
    else:
        present = Catalog(locale=language, project="hcsidecar", charset="utf-8")
    # Nothing is guessed: a text that has changed is translated again.
    present.update(template(), no_fuzzy_matching=True, update_creation_date=False)
    present.obsolete.clear()
    return present


def as_po(catalogue: Catalog) -> bytes:
    """Return a catalogue as it is committed: without times, and without numbers of lines."""
    out = io.BytesIO()
    write_po(out, catalogue, width=110, sort_output=True, omit_header=False, include_lineno=False, no_location=True)
    lines = out.getvalue().splitlines(keepends=True)
    moving = (
        b'"POT-Creation-Date',
        b'"PO-Revision-Date',
        b'"Generated-By',
        b'"Last-Translator',
        b'"Report-Msgid',
        b"#",
    )
    return b"".join(line for line in lines if not line.startswith(moving))


def as_mo(catalogue: Catalog) -> bytes:
    """Return a catalogue in the form that the console reads."""
    # The same texts give the same bytes.
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    out = io.BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def main() -> None:
    """Write the catalogues, and say what is not translated."""
    for language in LANGUAGES:
        catalogue = merged(language)
        for suffix in ("po", "mo"):
            path_of(language, suffix).parent.mkdir(parents=True, exist_ok=True)
        path_of(language, "po").write_bytes(as_po(catalogue))
        with path_of(language, "po").open("rb") as file:
            path_of(language, "mo").write_bytes(as_mo(read_po(file, locale=language)))
        lacking = [message.id for message in catalogue if message.id and not message.string]
        print(f"{language}: {len(catalogue)} texts, {len(lacking)} not translated")  # noqa: T201


if __name__ == "__main__":
    main()
