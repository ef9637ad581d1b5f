"""Makes HTML from the templates, in the visitor's language."""

import gettext
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jinja2

from hcsidecar import __version__
from hcsidecar.console.pages.static_files import StaticFiles
from hcsidecar.core.console.event_filter import split_runs
from hcsidecar.core.plain_text import said_of

_ROOM: Final = Path(__file__).parents[1]
TEMPLATES: Final = _ROOM / "templates"
CATALOGUES: Final = _ROOM / "locale"
LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "fr": "Français"}
"The languages of the pages, by their codes, each by its own name."
LANGUAGE_COOKIE: Final = "hcsidecar-language"


class Localized:
    """The templates in one language."""

    def __init__(self, language: str, templates: jinja2.Environment) -> None:
        self.language = language
        self._templates = templates

    def render(self, template: str, **context: object) -> str:
        """Return a template as text."""
        return self._templates.get_template(template).render(context)


class Rendering:
    """The templates in all languages."""

    def __init__(self, static: StaticFiles) -> None:
        self._localized = {code: Localized(code, _environment(code, static)) for code in LANGUAGES}

    def in_language(self, cookie: str | None, accepted: str) -> Localized:
        """Return the templates for a visitor: by what he has chosen, else by what his browser accepts."""
        return self._localized[choose_language(cookie, accepted)]


def choose_language(cookie: str | None, accepted: str) -> str:
    """Return the language of a visitor; `accepted` is the header Accept-Language (RFC 9110, section 12.5.4)."""
    if cookie in LANGUAGES:
        return str(cookie)
    ranked: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted.split(",")[:20]):
        tag, _, weight = part.strip().partition(";q=")
        try:
            rank = float(weight) if weight else 1.0
        except ValueError:
            continue
        ranked.append((-rank, place, tag.partition("-")[0].lower()))
    return next((tag for rank, _, tag in sorted(ranked) if tag in LANGUAGES and rank < 0), next(iter(LANGUAGES)))


def _environment(language: str, static: StaticFiles) -> jinja2.Environment:
    # Everything that is put into a page is escaped: reasons, names, output of scripts come from strangers.
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
        auto_reload=False,
    )
    catalogue = gettext.translation("console", CATALOGUES, [language], fallback=True)
    found.install_gettext_translations(catalogue, newstyle=True)  # type: ignore[attr-defined]
    found.globals |= {
        "language": language,
        "languages": LANGUAGES,
        "version": __version__,
        "static": static.url,
        "said_of": said_of,
        "translated": catalogue.gettext,
    }
    found.filters |= {"percent": _percent, "utc": _utc, "iso": _iso, "joined": _joined, "runs": split_runs}
    return found


def _percent(fraction: float) -> str:
    """Write a fraction of 0 to 1 in percent; what is little is not nothing."""
    percent = 100 * fraction
    if 0 < percent < 1:
        return "<1\N{NO-BREAK SPACE}%"
    return f"{percent:.0f}\N{NO-BREAK SPACE}%"


def _iso(seconds: float) -> str:
    """Write a time, in seconds since 1970, for programs."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _utc(seconds: float) -> str:
    """Write a time, in seconds since 1970, for people; the browser writes it in its own zone."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _joined(names: Sequence[Any]) -> str:
    return ", ".join(map(str, names))
