"""Finds the line on which a key stands in the text of a farm file, from the path that a problem has."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

_HEADER: Final = re.compile(r"\s*(\[{1,2})\s*([^\[\]]+?)\s*\]{1,2}\s*(?:#.*)?")
_KEY: Final = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"))*)\s*=""")
_PART: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[^.\s\[\]]+|\[\d+\]')
_QUOTES: Final = ('"' * 3, "'" * 3)

_Path = tuple[str, ...]


def line_of(text: str, path: str) -> int:
    """Return the line, from 1, of a key in a farm file; 1 if neither it nor a table around it stands there.

    `path` is that of a `Problem`: `heartbeat.lost_after`, or `node[2].address`. A key that is missing has the line of
    its table.
    """
    wanted = _parts(path)
    best, line = 0, 1
    for number, place in _places(text.split("\n")):
        common = _common(wanted, place)
        # The whole place must lead to the key: a sibling is no help.
        if common == len(place) and common > best:
            best, line = common, number
    return line


def _places(lines: Sequence[str]) -> Iterator[tuple[int, _Path]]:
    """Yield each header and key with its line and path."""
    counts: dict[_Path, int] = {}
    table: _Path = ()
    quote = ""
    for number, line in enumerate(lines, start=1):
        if quote:
            quote = "" if quote in line else quote
            continue
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header is not None:
            table = _table(_parts(header[2]), counts, is_array=header[1] == "[[")
            yield number, table
        elif key is not None:
            yield number, (*table, *_parts(key[1]))
        quote = next((each for each in _QUOTES if line.count(each) % 2), "")


def _table(parts: _Path, counts: dict[_Path, int], *, is_array: bool) -> _Path:
    """Return the path of a table with the numbers of those of one name."""
    path: _Path = ()
    for index, part in enumerate(parts, start=1):
        path = (*path, part)
        if is_array and index == len(parts):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, f"[{counts[path]}]")
    return path


def _parts(path: str) -> _Path:
    return tuple(part if part.startswith("[") else part.strip("\"'") for part in _PART.findall(path))


def _common(one: _Path, other: _Path) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
