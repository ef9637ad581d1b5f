"""Adds a node to the text of a farm file, which stays as the operator has written it."""

import re
import tomllib
from collections.abc import Mapping
from typing import Final

_HEADER: Final = re.compile(r"^[ \t]*\[\[?[ \t]*([A-Za-z0-9_-]+)", re.MULTILINE)


class NotAddedError(ValueError):
    """The text is such that no node can be added to it; the text says what to do."""


def with_node(text: str, name: str, addresses: Mapping[str, str], *, default: str) -> str:
    """Return a farm file with one more [[node]] table, after the last one; all else stays byte for byte.

    `addresses` has one of the node on each network; `default` is the name of the network that `address` means. Raise
    NotAddedError if that is not possible, because the nodes are not written as [[node]] tables.
    """
    if list(addresses) == [default]:
        where = f'address = "{addresses[default]}"'
        table: dict[str, object] = {"name": name, "address": addresses[default]}
    else:
        pairs = ", ".join(f'"{network}" = "{address}"' for network, address in addresses.items())
        where = f"addresses = {{ {pairs} }}"
        table = {"name": name, "addresses": dict(addresses)}
    wanted = tomllib.loads(text)
    nodes = wanted.get("node")
    wanted["node"] = [*(nodes if isinstance(nodes, list) else []), table]
    lines = text.splitlines(keepends=True)
    for place in (_after_the_nodes(lines), len(lines)):
        added = _inserted(lines, place, f'[[node]]\nname = "{name}"\n{where}\n')
        try:
            found = tomllib.loads(added)
        except tomllib.TOMLDecodeError:
            continue
        if found == wanted:
            return added
    raise NotAddedError(
        "the farm file has its nodes not as [[node]] tables, so a node cannot be added to it by itself: add it by hand,"
        f" run hcsidecar apply, and make a token for it: hcsidecar token {name}"
    )


def _after_the_nodes(lines: list[str]) -> int:
    """Return the index of the line before which the next node belongs.

    Comments that stand directly above the next table belong to that.
    """
    headers = [(index, found[1]) for index, line in enumerate(lines) if (found := _HEADER.match(line))]
    last = max((at for at, (_, name) in enumerate(headers) if name == "node"), default=None)
    if last is None or last + 1 == len(headers):
        return len(lines)
    place = headers[last + 1][0]
    while place > 0 and lines[place - 1].lstrip().startswith("#"):
        place -= 1
    return place


def _inserted(lines: list[str], place: int, table: str) -> str:
    before, after = "".join(lines[:place]), "".join(lines[place:])
    newline = "\r\n" if "\r\n" in before else "\n"
    if before and not before.endswith("\n"):
        before += newline
    if before and not before.endswith((newline * 2, "\n\n")):
        before += newline
    between = newline if after and not after.startswith(("\n", "\r\n")) else ""
    return before + table.replace("\n", newline) + between + after
