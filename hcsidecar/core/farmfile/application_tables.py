"""Puts another application into the text of a farm file: its scripts, checks, virtual IPs and shares."""

import re
import tomllib
from typing import Final

APPLICATION_TABLES: Final = ("l2", "application", "check")
"The tables of the farm file that belong to the application, not to the farm."
_HEADER: Final = re.compile(r"[ \t]*\[\[?[ \t]*\"?([A-Za-z0-9_-]+)")


class NotReplacedError(ValueError):
    """The tables cannot be replaced in this text; the text says why and what to do."""


def with_application(text: str, tables: str) -> str:
    """Return a farm file with these tables instead of those of its application; all else stays byte for byte.

    Comments directly above a table that stays, stay. Raise NotReplacedError if the file is no TOML, or is written in a
    way in which the tables cannot be taken out.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotReplacedError(f"the farm file is not TOML: {error}; mend it in the editor, and try again") from None
    wanted = {name: value for name, value in document.items() if name not in APPLICATION_TABLES}
    lines = text.splitlines(keepends=True)
    headers = [(at, found[1]) for at, line in enumerate(lines) if (found := _HEADER.match(line))]
    ends = [*(at for at, _ in headers[1:]), len(lines)]
    kept = lines[: headers[0][0]] if headers else lines
    for (start, name), end in zip(headers, ends, strict=True):
        kept += lines[start:end] if name not in APPLICATION_TABLES else _comments_before(lines, start, end)
    changed = "".join(kept).rstrip("\n") + "\n\n" + tables
    try:
        is_right = tomllib.loads(changed) == wanted | tomllib.loads(tables)
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        raise NotReplacedError(
            "the farm file does not have [l2], [application] and [[check]] as tables of their own, so they cannot be"
            " replaced: write them as tables in the editor, and try again"
        )
    return changed


def _comments_before(lines: list[str], start: int, end: int) -> list[str]:
    """Return the comments directly above line `end`, which belong to the next table; none at the end of the file."""
    first = end
    while end < len(lines) and first > start + 1 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return lines[first:end]
