"""Reading JSON that somebody else has written."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class JsonError(ValueError):
    """It is no JSON, or not of the form that is expected; the text says why."""


def read_json(content: bytes | str, kind: type[T]) -> T:
    """Read JSON of this form, or raise JsonError, also where it is no UTF-8 or nested too deeply to be read."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)) from None
