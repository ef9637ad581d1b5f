"""Takes a node out of the text of a farm file, which otherwise stays as the operator has written it."""

import re
import tomllib
from collections.abc import Mapping
from typing import Final

_HEADER: Final = re.compile(r"^[ \t]*\[\[?[ \t]*([A-Za-z0-9_-]+)")


class NotRemovedError(ValueError):
    """The node cannot be taken out of the text; the text says why and what to do."""


def without_node(text: str, name: str) -> str:
    """Return a farm file without a node's [[node]] table; all else stays byte for byte.

    Comments above the table stay. Raise NotRemovedError if there is no such node, if something else names it, or if
    the nodes are not written as [[node]] tables.
    """
    document = tomllib.loads(text)
    tables = document.get("node")
    nodes = tables if isinstance(tables, list) else []
    names = [table.get("name") for table in nodes if isinstance(table, Mapping)]
    if name not in names:
        raise NotRemovedError(f"there is no node {name}; there are {', '.join(map(str, names))}")
    if mentions := _mentions(document, name):
        raise NotRemovedError(
            f"{', '.join(mentions)} in the farm file names {name}: edit the file, take {name} out of all of it, and run"
            " hcsidecar apply"
        )
    wanted = {**document, "node": [table for table in nodes if table.get("name") != name]}
    lines = text.splitlines(keepends=True)
    headers = [(at, found[1]) for at, line in enumerate(lines) if (found := _HEADER.match(line))]
    for index, (start, what) in enumerate(headers):
        if what != "node":
            continue
        # Comments that stand directly above the next table belong to that.
        end = headers[index + 1][0] if index + 1 < len(headers) else len(lines)
        while end > start and lines[end - 1].lstrip().startswith("#"):
            end -= 1
        shorter = "".join([*lines[:start], *lines[end:]])
        try:
            found_now = tomllib.loads(shorter)
        except tomllib.TOMLDecodeError:
            continue
        if found_now == wanted:
            return shorter
    raise NotRemovedError(
        f"the farm file has its nodes not as [[node]] tables, so {name} cannot be taken out by itself: take it out by"
        " hand, and run hcsidecar apply"
    )


def _mentions(document: Mapping[str, object], name: str) -> list[str]:
    """Return what besides [[node]] names a node: powers of shares, and its keys at balancers."""
    layer_two, targets = document.get("l2"), document.get("target")
    shares = layer_two.get("share") if isinstance(layer_two, Mapping) else None
    found = [f"[[l2.share]] {share.get('name')}: power" for share in _tables(shares) if name in _keys(share, "power")]
    for target in _tables(targets):
        keys = (key for key in ("nodes", "servers") if name in _keys(target, key))
        found += [f"[[target]] {target.get('name') or target.get('type')}: {key}" for key in keys]
    return found


def _tables(value: object) -> list[Mapping[str, object]]:
    return [table for table in value if isinstance(table, Mapping)] if isinstance(value, list) else []


def _keys(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = table.get(key)
    return found if isinstance(found, Mapping) else {}
