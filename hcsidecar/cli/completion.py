"""Completion in shells: the names of nodes, shares, checks, virtual IPs and keys of the chosen farm file."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from hcsidecar.core.farmfile.text import MAX_BYTES, NotTomlError, document_in
from hcsidecar.farmfile.loading import find_config
from hcsidecar.net.keyring import KeyFileError, Keyring


def nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of nodes."""
    return _beginning(_names(_document(ctx).get("node")), incomplete)


def shares(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of shares."""
    l2 = _document(ctx).get("l2")
    return _beginning(_names(l2.get("share") if isinstance(l2, dict) else None), incomplete)


def custom_checks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of custom checks."""
    checks = _document(ctx).get("check")
    custom = [each for each in _tables(checks) if each.get("type") == "custom"]
    return _beginning(_names(custom), incomplete)


def receivers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the names of receivers of notifications."""
    tables = _tables(_document(ctx).get("notify"))
    named = [each.get("name") or each.get("type") for each in tables]
    return _beginning([name for name in named if isinstance(name, str)], incomplete)


def vips(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete virtual IPs."""
    l2 = _document(ctx).get("l2")
    return _beginning(_names(l2.get("vip") if isinstance(l2, dict) else None, "address"), incomplete)


def keys(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the ids of keys, for users who may read the key file."""
    farm = _document(ctx).get("farm")
    named = farm.get("key_file", "farm.key") if isinstance(farm, dict) else ""
    with suppress(KeyFileError, OSError, ValueError, TypeError):
        return _beginning([f"{each:08x}" for each in Keyring.load(_config(ctx).parent / named).ids], incomplete)
    return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _config(ctx: typer.Context) -> Path:
    given = ctx.params.get("config")
    return find_config(Path(given) if given else None)


def _document(ctx: typer.Context) -> dict[str, Any]:
    """Return the farm file's content, valid or not; {} without a message if it cannot be read."""
    with suppress(OSError, NotTomlError), _config(ctx).open("rb") as file:
        return document_in(file.read(MAX_BYTES + 1))
    return {}


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _names(value: object, key: str = "name") -> list[str]:
    return [each[key] for each in _tables(value) if isinstance(each.get(key), str)]
