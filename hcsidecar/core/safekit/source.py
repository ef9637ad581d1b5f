"""A SafeKit module as it was read, its configuration as a tree and its scripts as bytes, and the import's options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of userconfig.xml."""

    tag: str
    line: int
    "The line where it begins in the file, from 1."
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple["Element", ...] = ()
    text: str = ""
    "The text in it, apart from its children."
    unfilled: frozenset[str] = frozenset()
    "Attributes that have no value because of a macro; they are not among the attributes."
    emptied: Mapping[str, str] = field(default_factory=dict)
    "By attribute, a macro in it whose value is empty; the attribute is present, with what is left of it."

    def walk(self) -> Iterator["Element"]:
        """Yield this element and all below it, in the order of the file."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True, kw_only=True)
class SafekitModule:
    """A module: the contents of one file, directory or archive."""

    name: str
    root: Element
    scripts: Mapping[str, bytes] | None
    "By path below bin/, with slashes; None if only the configuration was given."
    others: Sequence[str] = ()
    "Paths of the other files in it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the operator gives in addition to the module."""

    name: str | None = None
    "Name of the farm; None: the module's name."
    macros: Mapping[str, str] = field(default_factory=dict)
    nodes: Sequence[tuple[str, str]] = ()
    "Name and address; a repeated name has another address, on the next lan."
