"""The pages in other languages: every text is translated, with its placeholders, and what is read is up to date."""

import re
import sys

import pytest
from babel.messages.pofile import read_po
from documents.test_console import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import catalogues

PLACEHOLDER = re.compile(r"%\(\w+\)s|<[^>]+>")


def kept(language):
    with catalogues.path_of(language, "po").open("rb") as file:
        return read_po(file, locale=language)


@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_every_text_of_the_pages_is_translated_and_no_other_one(language):
    there = {message.id for message in kept(language) if message.id}
    wanted = {message.id for message in catalogues.template() if message.id}
    assert there == wanted, "make catalogues, and translate what it says"
    assert [message.id for message in kept(language) if message.id and not all(_texts(message.string))] == []


@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_a_translation_has_the_placeholders_and_the_markup_of_its_text(language):
    wrong = []
    for message in kept(language):
        if not message.id:
            continue
        wanted = set(PLACEHOLDER.findall(_texts(message.id)[-1]))
        wrong += [message.id for text in _texts(message.string) if set(PLACEHOLDER.findall(text)) - wanted]
        wrong += [message.id for text in _texts(message.string)[-1:] if set(PLACEHOLDER.findall(text)) != wanted]
    assert wrong == []


@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_what_the_console_reads_is_made_of_what_is_translated(language):
    assert catalogues.path_of(language, "mo").read_bytes() == catalogues.as_mo(kept(language)), "make catalogues"


def _texts(text):
    return (text,) if isinstance(text, str) else tuple(text)
