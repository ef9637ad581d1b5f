"""The farm file as bytes: TOML in UTF-8, of a size and a form that take no time to read."""

import codecs
import re
import tomllib
from typing import Final

MAX_BYTES: Final = 262_144
"64 nodes and a thousand checks take less."
_MAX_KEY_PARTS: Final = 32
"tomllib takes the square of this number for one key, and this number again for each line below a header."
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_LONG_KEY: Final = re.compile(rf"(?:^|[\[{{,])[ \t]*{_KEY}(?:[ \t]*\.[ \t]*{_KEY}){{{_MAX_KEY_PARTS}}}", re.MULTILINE)
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark is the beginning of this one
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    codecs.BOM_UTF8: "UTF-8 with a byte order mark (BOM)",
}
"How a file begins that an editor has saved in another encoding."


class NotTomlError(Exception):
    """The file cannot be read at all; the text completes a sentence that begins with it."""

    def __init__(self, message: str, hint: str = "is it a farm file?") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def document_in(content: bytes) -> dict[str, object]:
    """Read the TOML document in a file; raises NotTomlError."""
    if len(content) > MAX_BYTES:
        raise NotTomlError(f"is bigger than {MAX_BYTES} bytes")
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            raise NotTomlError(f"is {encoding}", "save it as UTF-8, without a byte order mark")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotTomlError(f"is not UTF-8 text in line {line}", "save it in this encoding") from None
    if (zero := text.find("\0")) >= 0:
        raise NotTomlError(f"has a zero byte in line {_line(text, zero)}", "save it as UTF-8: UTF-16 has many of them")
    if found := _LONG_KEY.search(text):
        raise NotTomlError(f"has a key of more than {_MAX_KEY_PARTS} parts in line {_line(text, found.start())}")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # the syntax, or a number of thousands of digits
        raise NotTomlError(f"is not TOML: {error}", "see https://toml.io") from None
    except RecursionError:
        raise NotTomlError("is nested too deeply") from None


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
