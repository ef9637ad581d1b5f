"""Reads the bytes of a farm file: TOML in UTF-8, within limits so that no file takes long to read."""

import codecs
import re
import tomllib
from typing import Final

MAX_BYTES: Final = 262_144
"The largest file. 64 nodes and a thousand checks need less."
_MAX_KEY_PARTS: Final = 32
"""The most parts of a dotted key. The time that tomllib takes grows with the square of this number for one key, and
with this number for each line below a header."""
_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_LONG_KEY: Final = re.compile(rf"(?:^|[\[{{,])[ \t]*{_KEY}(?:[ \t]*\.[ \t]*{_KEY}){{{_MAX_KEY_PARTS}}}", re.MULTILINE)
_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, because this mark begins with that of UTF-16
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    codecs.BOM_UTF8: "UTF-8 with a byte order mark (BOM)",
}
"The first bytes of a file that an editor has saved in another encoding."


class NotTomlError(Exception):
    """The file cannot be read at all. `message` is the rest of a sentence that begins with the file's name."""

    def __init__(self, message: str, hint: str = "is it a farm file?") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def document_in(content: bytes) -> dict[str, object]:
    """Return the TOML document in a file. Raise NotTomlError if it cannot be read."""
    if len(content) > MAX_BYTES:
        raise NotTomlError(f"is bigger than {MAX_BYTES} bytes")
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            raise NotTomlError(f"is {encoding}", "save it as UTF-8, without a byte order mark")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise NotTomlError(f"is not UTF-8 text in line {line}", "save it as UTF-8") from None
    if (zero := text.find("\0")) >= 0:
        raise NotTomlError(f"has a zero byte in line {_line(text, zero)}", "save it as UTF-8, not as UTF-16")
    if found := _LONG_KEY.search(text):
        raise NotTomlError(f"has a key of more than {_MAX_KEY_PARTS} parts in line {_line(text, found.start())}")
    try:
        return tomllib.loads(text)
    except ValueError as error:  # wrong syntax, or a number with thousands of digits
        raise NotTomlError(f"is not TOML: {error}", "see https://toml.io") from None
    except RecursionError:
        raise NotTomlError("is nested too deeply") from None


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1
