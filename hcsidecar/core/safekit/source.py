"""A SafeKit module as it was read: its configuration as a tree, its scripts as bytes, and what the importer is told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of userconfig.xml."""

    tag: str
    line: int
    "Where it begins in the file, from 1."
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple["Element", ...] = ()
    text: str = ""
    "What stands in it beside its children."
    unfilled: frozenset[str] = frozenset()
    "Attributes that a macro leaves without a value; they are not among the attributes."
    emptied: Mapping[str, str] = field(default_factory=dict)
    "By attribute, a macro in it whose value is empty; it is among the attributes, with what is left of it."

    def walk(self) -> Iterator["Element"]:
        """Give this element and all below it, in the order of the file."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class SafekitModule:
    """A module: what one file, directory or archive held."""

    name: str
    root: Element
    scripts: Mapping[str, bytes] | None
    "By path below bin/, with slashes; None when only the configuration was given."
    others: Sequence[str] = ()
    "Paths of the other files in it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the operator says beside the module."""

    name: str | None = None
    "Name of the farm; the module's unless set."
    macros: Mapping[str, str] = field(default_factory=dict)
    nodes: Sequence[tuple[str, str]] = ()
    "Name and address; a name that comes again has another address, on the next lan."
