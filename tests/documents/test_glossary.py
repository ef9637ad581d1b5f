"""Holds the glossary to the words that the program shows, and the help texts and the manual to the glossary."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from hcsidecar.cli import app
from hcsidecar.core.application.scripts import Script
from hcsidecar.core.application.states import Role, Status, Word
from hcsidecar.core.events import Level
from hcsidecar.core.l2_documents import CheckLevel
from hcsidecar.core.targets.findings import Grade
from hcsidecar.core.targets.registration import DesiredState, Presence
from l2mode.core.filter_kinds import FilterKind
from l2mode.core.handover import BucketState
from l2mode.core.reasons import Action
from l2mode.core.verdict import Delivery

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ROWS = re.findall(r"^\| (\*\*.*?) \| (.*?) \| (.*?) ?\|$", (DOCS / "glossary.md").read_text(), re.MULTILINE)
DEFINED = {term.lower() for terms, _, _ in ROWS for term in re.findall(r"\*\*(.+?)\*\*", terms)}
RULED_OUT = [word for _, _, words in ROWS for word in words.split(", ") if word]

# The words of SafeKit are right where SafeKit is spoken of.
OF_SAFEKIT = ("safekit.md", "import-safekit")
CODE = re.compile(r"^ *```.*?^ *```$|^(?: {4,}[^\n]*\n)+|`[^`]+`", re.MULTILINE | re.DOTALL)

LINK_TARGET = re.compile(r"\]\([^)]*\)")


def help_texts(command, name="hcsidecar"):
    """Give the help text of each command with that of its options, by name."""
    options = [text for parameter in command.params if (text := getattr(parameter, "help", None))]
    yield name, "\n".join([command.help or "", *options])
    for word, below in getattr(command, "commands", {}).items():
        yield from help_texts(below, word)


def columns_in(name):
    """Give the strings in capitals of a module of the command line: the headings of its table."""
    tree = ast.parse((ROOT / "hcsidecar" / "cli" / name).read_text())
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {string for string in strings if re.fullmatch("[A-Z][A-Z ]{3,}", string)}


def pages():
    for page in sorted((DOCS / "manual").glob("*.md")):
        yield page.name, LINK_TARGET.sub("]", CODE.sub("", page.read_text()))


TEXTS = [text for text in [*help_texts(get_command(app)), *pages()] if text[0] not in OF_SAFEKIT]


def ruled_out_in(text):
    """Give the words of a text that the glossary rules out."""
    return [word for word in RULED_OUT if re.search(rf"(?<!SafeKit )(?<!kernel )\b{word}s?\b", text, re.IGNORECASE)]


@pytest.mark.parametrize(
    "words",
    [
        Role,
        Status,
        Word,
        Script,
        Level,
        CheckLevel,
        Grade,
        Presence,
        DesiredState,
        FilterKind,
        BucketState,
        Delivery,
        Action,
    ],
    ids=lambda words: words.__name__,
)
def test_every_word_that_the_program_shows_for_a_state_is_defined(words):
    assert {str(each.value).lower() for each in words} - DEFINED == set()


def test_every_column_of_status_and_targets_is_defined():
    headings = columns_in("status.py") | columns_in("targets.py")

    assert {"WAITS FOR", "POLICY"} <= headings
    assert {heading.lower() for heading in headings} - DEFINED == set()


def test_each_word_is_defined_once_and_none_of_them_is_ruled_out():
    terms = [term for terms, _, _ in ROWS for term in re.findall(r"\*\*(.+?)\*\*", terms)]
    twice = {term for term in terms if terms.count(term) > 1}

    assert len(terms) > 80
    assert twice <= {"warning"}
    assert DEFINED.isdisjoint(RULED_OUT)


def test_a_word_that_is_ruled_out_is_found():
    assert ruled_out_in("Start the module of two peers.") == ["peer", "module"]
    assert ruled_out_in("Import a SafeKit module.") == []


@pytest.mark.parametrize(("name", "text"), TEXTS, ids=[name for name, _ in TEXTS])
def test_no_help_text_and_no_page_of_the_manual_has_a_word_that_is_ruled_out(name, text):
    assert ruled_out_in(text) == [], name
