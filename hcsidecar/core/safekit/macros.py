"""Macros of a SafeKit module: `%NAME%` in any attribute, replaced by values from the module and from the operator.

SafeKit also uses environment variables of the machine on which it runs. Here they count only if the operator gives
them, since the importer may run on a different machine.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from hcsidecar.core.safekit.notes import Coverage, Notes
from hcsidecar.core.safekit.source import Element

LONGEST = 4096
"Characters of a value after its macros have been replaced."
DEEPEST = 16
"Levels of macros within macros."

_USE = re.compile(r"%([A-Za-z_][A-Za-z0-9_.-]*)%")
_PLACEHOLDER = re.compile(r"TO[ _-]?BE[ _-]?(DEFINED|FILLED|SET|CONFIGURED|COMPLETED|CHANGED|REPLACED)", re.IGNORECASE)


class _Macros:
    """The values of all macros; each is computed once, and each problem reported once."""

    def __init__(self, defined: Mapping[str, Element], given: Mapping[str, str], notes: Notes) -> None:
        self._defined = defined
        self._given = given
        self._notes = notes
        self._filled: dict[str, str | None] = {}
        self._filling: set[str] = set()
        self.used: set[str] = set()

    def is_empty(self, name: str) -> bool:
        """Return whether a macro whose value is known is empty."""
        return self._given.get(name, self._filled.get(name)) == ""

    def fill(self, text: str, line: int, *, depth: int = 0) -> str | None:
        """Return a text with its macros replaced, or None if one has no value, which has then been reported."""
        missing = False

        def one(match: re.Match[str]) -> str:
            nonlocal missing
            value = self._value(match[1], line, depth)
            missing = missing or value is None
            return value or ""

        filled = _sub_within(text, one)
        if filled is None:
            self._notes.refuse(line, text, f"is longer than {LONGEST} characters with its macros filled in")
            return None
        return None if missing else filled

    def _value(self, name: str, line: int, depth: int) -> str | None:
        self.used.add(name)
        if name in self._filled:
            return self._filled[name]
        if name in self._filling or depth > DEEPEST:
            self._notes.refuse(line, f"macro {name}", "is made of macros without an end")
            return None
        self._filling.add(name)
        self._filled[name] = self._find(name, line, depth)
        self._filling.discard(name)
        return self._filled[name]

    def _find(self, name: str, line: int, depth: int) -> str | None:
        how = f"--macro {name}=VALUE"
        if name in self._given:
            return self._given[name]
        if name not in self._defined:
            self._notes.refuse(line, f"%{name}%", "is a macro without a value", how)
            return None
        element = self._defined[name]
        value = element.attributes.get("value", "")
        if _PLACEHOLDER.search(value):
            self._notes.refuse(element.line, f"macro {name}", f'has still to be filled in: "{value}"', how)
            return None
        return self.fill(value, element.line, depth=depth + 1)


def fill_macros(root: Element, given: Mapping[str, str], notes: Notes) -> Element:
    """Return the tree with every macro replaced and without the <macro> elements; note what became of them."""
    definitions = [element for element in root.walk() if element.tag == "macro"]
    defined = {element.attributes.get("name", "").strip(): element for element in definitions}
    macros = _Macros(defined, given, notes)
    filled = _fill(root, macros, notes)
    for element in definitions:
        _note_definition(element, given, macros.used, notes)
    for name in given:
        if name not in macros.used and name not in defined:
            notes.refuse(
                0, f"--macro {name}", f"is used nowhere in the module: there is no %{name}%", _there_are(defined)
            )
    return filled


def _fill(element: Element, macros: _Macros, notes: Notes) -> Element:
    attributes: dict[str, str] = {}
    unfilled = set()
    emptied: dict[str, str] = {}
    for name, value in element.attributes.items():
        filled = macros.fill(value, element.line)
        if filled is not None and _PLACEHOLDER.search(filled) and element.tag != "var":
            notes.refuse(
                element.line, f"{element.tag} {name}", f'has still to be filled in: "{filled}"', "edit the module"
            )
            filled = None
        if filled is None:
            unfilled.add(name)
        else:
            attributes[name] = filled
            for macro in filter(macros.is_empty, _USE.findall(value)):
                emptied[name] = macro
    children = tuple(_fill(child, macros, notes) for child in element.children if child.tag != "macro")
    return replace(element, attributes=attributes, children=children, unfilled=frozenset(unfilled), emptied=emptied)


def _note_definition(element: Element, given: Mapping[str, str], used: set[str], notes: Notes) -> None:
    name = element.attributes.get("name", "").strip()
    subject = f'macro name="{name}" value="{element.attributes.get("value", "")}"'
    if _USE.fullmatch(f"%{name}%") is None:
        notes.refuse(element.line, "macro name", f'is not usable: "{name}"', "letters, digits and underscore")
    elif name not in used:
        notes.say(element.line, subject, Coverage.TAKEN, "used nowhere in userconfig.xml, and so nothing comes of it")
    elif name in given:
        notes.say(element.line, subject, Coverage.TAKEN, f'"{given[name]}" was given, and stands wherever %{name}% did')
    else:
        notes.say(element.line, subject, Coverage.TAKEN, f"stands wherever %{name}% did")
    for other in element.attributes.keys() - {"name", "value"}:
        notes.say(element.line, f"macro {other}", Coverage.NOT, "hcsidecar does not know this attribute")
    for child in element.children:
        notes.drop(child, f"hcsidecar knows no <{child.tag}> in <macro>")


def _sub_within(text: str, one: Callable[[re.Match[str]], str]) -> str | None:
    """Return a text with every use of a macro replaced; None as soon as the result is too long."""
    pieces, length, at = [], 0, 0
    for match in _USE.finditer(text):
        for piece in (text[at : match.start()], one(match)):
            pieces.append(piece)
            length += len(piece)
        at = match.end()
        if length > LONGEST:
            return None
    pieces.append(text[at:])
    return None if length + len(text) - at > LONGEST else "".join(pieces)


def _there_are(defined: Mapping[str, Element]) -> str:
    return f"its macros are {', '.join(sorted(defined))}" if defined else "it has no macros"
