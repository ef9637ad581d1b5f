"""Adds a node to the text of a farm file, or takes one out; all else stays as the operator has written it."""

import re
import tomllib
from collections.abc import Mapping
from typing import Final

_HEADER: Final = re.compile(r"^[ \t]*\[\[?[ \t]*([A-Za-z0-9_-]+)")


class NodeTableError(ValueError):
    """The node can be neither added to the farm file nor taken out of it; the text says why and what to do."""


def with_node(text: str, name: str, addresses: Mapping[str, str], *, default: str) -> str:
    """Return a farm file with one more [[node]] table, after the last one; all else stays byte for byte.

    `addresses` has one of the node on each network; `default` is the name of the network that `address` means. Raise
    NodeTableError if that is not possible, because the nodes are not written as [[node]] tables.
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
    raise NodeTableError(
        "the farm file has its nodes not as [[node]] tables, so a node cannot be added to it by itself: add it by hand,"
        f" run hcsidecar apply, and make a token for it: hcsidecar token {name}"
    )


def without_node(text: str, name: str) -> str:
    """Return a farm file without a node's [[node]] table; all else stays byte for byte.

    Comments above the table stay. Raise NodeTableError if there is no such node, if something else names it, or if
    the nodes are not written as [[node]] tables.
    """
    document = tomllib.loads(text)
    tables = document.get("node")
    nodes = tables if isinstance(tables, list) else []
    names = [table.get("name") for table in nodes if isinstance(table, Mapping)]
    if name not in names:
        raise NodeTableError(f"there is no node {name}; there are {', '.join(map(str, names))}")
    if mentions := _mentions(document, name):
        raise NodeTableError(
            f"{', '.join(mentions)} in the farm file names {name}: edit the file, take {name} out of all of it, and run"
            " hcsidecar apply"
        )
    wanted = {**document, "node": [table for table in nodes if table.get("name") != name]}
    lines = text.splitlines(keepends=True)
    for start, end in _node_tables(lines):
        shorter = "".join([*lines[:start], *lines[end:]])
        try:
            found_now = tomllib.loads(shorter)
        except tomllib.TOMLDecodeError:
            continue
        if found_now == wanted:
            return shorter
    raise NodeTableError(
        f"the farm file has its nodes not as [[node]] tables, so {name} cannot be taken out by itself: take it out by"
        " hand, and run hcsidecar apply"
    )


def _after_the_nodes(lines: list[str]) -> int:
    """Return the index of the line before which the next node belongs."""
    end = max((end for _, end in _node_tables(lines)), default=len(lines))
    return end if any(_HEADER.match(line) for line in lines[end:]) else len(lines)


def _node_tables(lines: list[str]) -> list[tuple[int, int]]:
    """Return where each [[node]] table begins, and the index of the line after it.

    Comments that stand directly above the next table, or at the end of the file, do not belong to the table.
    """
    headers = [(index, found[1]) for index, line in enumerate(lines) if (found := _HEADER.match(line))]
    tables = []
    for at, (start, name) in enumerate(headers):
        if name != "node":
            continue
        end = headers[at + 1][0] if at + 1 < len(headers) else len(lines)
        while lines[end - 1].lstrip().startswith("#"):
            end -= 1
        tables.append((start, end))
    return tables


def _inserted(lines: list[str], place: int, table: str) -> str:
    before, after = "".join(lines[:place]), "".join(lines[place:])
    newline = "\r\n" if "\r\n" in before else "\n"
    if before and not before.endswith("\n"):
        before += newline
    if before and not before.endswith((newline * 2, "\n\n")):
        before += newline
    between = newline if after and not after.startswith(("\n", "\r\n")) else ""
    return before + table.replace("\n", newline) + between + after


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
