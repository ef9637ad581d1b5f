"""Reads a userconfig.xml, which may come from anybody: checks its encoding and size, and accepts only elements."""

import codecs
import re
from dataclasses import dataclass, field
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

from defusedxml.common import DefusedXmlException, ExternalReferenceForbidden
from defusedxml.expatreader import DefusedExpatParser

from hcsidecar.core.safekit.source import Element

MAX_BYTES = 1_048_576
"Bytes of a configuration."
MAX_ELEMENTS = 5000
MAX_ATTRIBUTES = 100
"Attributes of one element."
MAX_DEPTH = 50

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WITHOUT_MARK = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_DECLARED = re.compile(rb"<\?xml[ \t\r\n][^>]{0,200}?\bencoding[ \t\r\n]*=[ \t\r\n]*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "latin-1": "iso-8859-1",
    "iso-8859-15": "iso-8859-15",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
}


class ModuleError(Exception):
    """A module that cannot be read; the text says where, and why in plain words."""

    def __init__(self, place: str, message: str, hint: str = "") -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message
        self.hint = hint


def read_xml(content: bytes, place: str) -> Element:
    """Return the root element. Raise ModuleError, which names the file `place`, if there is none."""
    if len(content) > MAX_BYTES:
        raise ModuleError(place, f"is bigger than {MAX_BYTES} bytes", "is it a userconfig.xml?")
    text = _decoded(content, place)
    builder = _Builder(place)
    parser = DefusedExpatParser(forbid_dtd=False, forbid_entities=True, forbid_external=True)
    parser.setContentHandler(builder)
    builder.setDocumentLocator(parser)
    try:
        # Text rather than bytes: the parser is then told the encoding, and ignores any other.
        parser.feed(text)
        parser.close()
    except ExternalReferenceForbidden:
        raise builder.error("refers to another file", "a plain <!DOCTYPE safe>, or none") from None
    except DefusedXmlException:
        raise builder.error("declares an entity", "write what it stands for in its place") from None
    except SAXException as error:
        raise builder.error(f"is not XML: {error.getMessage()}", "mend it there, or a little above") from None
    return builder.root


def _decoded(content: bytes, place: str) -> str:
    encoding = _encoding(content, place)
    for mark, _ in _MARKS:
        content = content.removeprefix(mark)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ModuleError(
            f"{place}, line {line}", f"is not {encoding} text", "declare the encoding that it is in"
        ) from None
    if "\0" in text:
        raise ModuleError(place, "has a zero byte in it", "is it a userconfig.xml?")
    return text


def _encoding(content: bytes, place: str) -> str:
    for start, encoding in (*_MARKS, *_WITHOUT_MARK):
        if content.startswith(start):
            return encoding
    declared = _DECLARED.match(content.lstrip(b" \t\r\n"))
    if declared is None:
        return "utf-8"
    name = declared[1].decode("ascii").lower()
    if name not in _ENCODINGS:
        hint = f"save it as UTF-8; known are {', '.join(sorted(set(_ENCODINGS.values())))} and utf-16 with its mark"
        raise ModuleError(place, f"is in an encoding that is not known here: {name}", hint)
    return _ENCODINGS[name]


@dataclass(slots=True)
class _Open:
    """An element whose end has not come yet."""

    tag: str
    line: int
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


class _Builder(ContentHandler):
    """Builds elements from the parser's events, as long as they stay within the limits."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._locator: Locator | None = None
        self._open = [_Open(tag="", line=0, attributes={})]
        self._count = 0

    @property
    def root(self) -> Element:
        """The outermost element, once all has been read."""
        return self._open[0].children[0]

    def error(self, message: str, hint: str) -> ModuleError:
        """Return the error about what stands at the parser's position."""
        return ModuleError(f"{self._place}, line {self._line}", message, hint)

    @property
    def _line(self) -> int:
        line = self._locator.getLineNumber() if self._locator is not None else None
        return line or 1

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802 - SAX's
        """Called with the object that gives the parser's position."""
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802 - SAX's
        """Called at the start of an element."""
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise self.error(f"has more than {MAX_ELEMENTS} elements", "is it a userconfig.xml?")
        if len(self._open) > MAX_DEPTH:
            raise self.error(f"is nested deeper than {MAX_DEPTH} elements", "is it a userconfig.xml?")
        if len(attrs) > MAX_ATTRIBUTES:
            raise self.error(f"has more than {MAX_ATTRIBUTES} attributes in one element", "is it a userconfig.xml?")
        self._open.append(_Open(tag=name, line=self._line, attributes=dict(attrs.items())))

    def characters(self, content: str) -> None:
        """Called with text between elements."""
        self._open[-1].text.append(content)

    def endElement(self, name: str) -> None:  # noqa: ARG002, N802 - SAX's
        """Called at the end of the element begun last."""
        done = self._open.pop()
        self._open[-1].children.append(
            Element(
                tag=done.tag,
                line=done.line,
                attributes=done.attributes,
                children=tuple(done.children),
                text="".join(done.text),
            )
        )
