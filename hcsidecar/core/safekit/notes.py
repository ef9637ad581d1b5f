"""Notes on what became of each element and attribute of a SafeKit module, taken while it is read."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Self

from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.plain_text import escaped, shortened
from hcsidecar.core.safekit.source import Element

_LONGEST = 200
LOOKS_FOR_FILES = 'a check of type command can look for a file: command = ["/usr/bin/test", "-e", FILE]'
_ATTRIBUTES = {"checkfile": LOOKS_FOR_FILES}
"Attributes that SafeKit knows on every element, and that have no counterpart here."
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,6})?)\s*(d|h|m|s|ms|us)?")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Coverage(StrEnum):
    """How far hcsidecar covers something."""

    TAKEN = "taken over"
    DIFFERENT = "taken over with a difference"
    NOT = "not supported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of one element, attribute or script."""

    line: int
    "Line in userconfig.xml; 0 for what is not in it."
    subject: str
    verdict: Coverage
    text: str


@dataclass(slots=True)
class Notes:
    """All notes and problems so far."""

    notes: list[Note] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def say(self, line: int, subject: str, verdict: Coverage, text: str) -> None:
        """Note what became of something."""
        self.notes.append(Note(line=line, subject=printable(subject), verdict=verdict, text=printable(text)))

    def refuse(self, line: int, subject: str, message: str, hint: str = "") -> None:
        """Note a problem that prevents the import."""
        path = f"line {line}: {subject}" if line else subject
        self.problems.append(Problem(path=printable(path), message=printable(message), hint=printable(hint)))

    def drop(self, element: Element, why: str) -> None:
        """Note that an element is not imported, with everything in it."""
        for each in element.walk():
            reason = why if each is element else f"goes with <{element.tag}>"
            self.say(each.line, f"<{each.tag}>", Coverage.NOT, reason)
            for name, value in each.attributes.items():
                self.say(each.line, f'{each.tag} {name}="{value}"', Coverage.NOT, f"goes with <{element.tag}>")

    def children(self, element: Element, tag: str) -> Iterator[Element]:
        """Yield the children with this tag; note of all others that they are not imported."""
        for child in element.children:
            if child.tag == tag:
                yield child
            else:
                self.drop(child, f"hcsidecar knows no <{child.tag}> in <{element.tag}>")


class ElementReader:
    """One element that is being read: attributes that nothing was noted on by the end are noted as unknown."""

    def __init__(self, element: Element, notes: Notes) -> None:
        self.element = element
        self.notes = notes
        self._spoken: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for name in self.element.attributes:
            if name not in self._spoken:
                self.say(name, Coverage.NOT, _ATTRIBUTES.get(name, "hcsidecar does not know this attribute"))

    def say(self, name: str, verdict: Coverage, text: str, *, unset: str | None = None) -> None:
        """Note what became of an attribute; if it is absent, only if `unset` says what it counts as."""
        self._spoken.add(name)
        value = self.element.attributes.get(name)
        if value is not None:
            self.notes.say(self.element.line, f'{self.element.tag} {name}="{value}"', verdict, text)
        elif unset is not None and name not in self.element.unfilled:
            self.notes.say(self.element.line, f'{self.element.tag} {name} (unset: "{unset}")', verdict, text)

    def whole(self, verdict: Coverage, text: str) -> None:
        """Note what became of the element itself."""
        self.notes.say(self.element.line, f"<{self.element.tag}>", verdict, text)

    def refuse(self, name: str, message: str, hint: str = "") -> None:
        """Note what is wrong with an attribute, or with the element if there is no name."""
        self._spoken.add(name)
        if name in self.element.emptied:
            # SafeKit's own modules come with empty macros, to be filled in.
            message = message if self.get(name) else "is empty"
            hint = f"--macro {self.element.emptied[name]}=VALUE"
        self.notes.refuse(self.element.line, f"{self.element.tag} {name}".strip(), message, hint)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return an attribute without surrounding blanks; the default if it is absent."""
        value = self.element.attributes.get(name)
        return default if value is None else value.strip()

    def need(self, name: str, hint: str = "") -> str | None:
        """Return an attribute. Note its absence as a problem, unless a macro in it has been reported already."""
        value = self.get(name)
        if not value and name not in self.element.unfilled:
            self.refuse(name, "is missing" if value is None else "is empty", hint)
        return value or None

    def choice(self, name: str, default: str, words: Iterable[str]) -> str:
        """Return one of a few words; note any other as a problem, and return the default instead."""
        value = (self.get(name, default) or "").lower()
        if value in words:
            return value
        self.refuse(name, f'is "{value}"', f"one of {', '.join(words)}")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a switch, on or off, as a boolean."""
        word = self.choice(name, "on" if default else "off", ("on", "off", "yes", "no", "true", "false"))
        return word in ("on", "yes", "true")

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number; if it is malformed or out of bounds, note a problem and return the default."""
        value = self.get(name)
        if value is None:
            return default
        digits = value.removeprefix("-")
        if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(most)) and least <= int(value) <= most:
            return int(value)
        self.refuse(name, f'is "{value}"', f"a whole number from {least} to {most}")
        return default

    def seconds(self, name: str, default: float, *, unit: str, least: float = 0.0, most: float = inf) -> float:
        """Return a duration in seconds, read in the attribute's own unit unless it names another.

        One out of bounds becomes the bound, which is all that is noted: the caller knows what the duration is for.
        """
        value = self.get(name)
        if value is None:
            return default
        match = _DURATION.fullmatch(value)
        if match is None:
            self.refuse(name, f'is no duration: "{value}"', f"a number, in {unit} unless d, h, m, s, ms or us follows")
            return default
        number, named = match[1], match[2] or unit
        wanted = float(number) * _SECONDS[named]
        bounded = min(max(wanted, least), most)
        if bounded != wanted:
            bound = "least" if bounded == least else "most"
            self.say(name, Coverage.DIFFERENT, f"{format_duration(bounded)}: the {bound} there is here")
        return bounded

    def was_said(self, name: str) -> bool:
        """True if something was noted on an attribute."""
        return name in self._spoken

    def duration(self, name: str, default: float, *, unit: str, key: str, bounds: tuple[float, float]) -> float:
        """Return a duration in seconds for a key of the farm file, and note that."""
        least, most = bounds
        seconds = self.seconds(name, default, unit=unit, least=least, most=most)
        if not self.was_said(name):
            self.say(name, Coverage.TAKEN, f'{key} = "{format_duration(seconds)}"')
        return seconds

    def nothing_below(self) -> None:
        """Note all children as unknown."""
        for child in self.element.children:
            self.notes.drop(child, f"hcsidecar knows no <{child.tag}> in <{self.element.tag}>")


def printable(text: str) -> str:
    """Escape what could control a terminal or forge a line, and shorten long text."""
    return shortened(escaped(text[: _LONGEST + 1]), _LONGEST)
