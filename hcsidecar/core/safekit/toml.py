"""The farm file of an import as text: each table with a word on where it comes from."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from hcsidecar.core.safekit.draft import Draft, DraftTable
from hcsidecar.core.safekit.notes import printable

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def farm_file_of(draft: Draft) -> str:
    """Write the tables of a draft."""
    lines = [
        f"# Farm {draft.farm['name']}, made from the SafeKit module {printable(draft.module)}: REPORT.txt says how.",
        "# Lines are those of userconfig.xml. Every other key has its default: see `hcsidecar check-config`.",
        *_table("[farm]", draft.farm),
        *_tables("[[node]]", draft.nodes),
        *_table("[heartbeat]", draft.heartbeat),
        *_table("[web]", draft.web),
    ]
    if draft.vips or draft.shares:
        lines += ["", "[l2]", *_keys(draft.l2)]
        lines += [*_tables("[[l2.vip]]", draft.vips), *_tables("[[l2.share]]", draft.shares)]
    lines += [*_table("[application]", draft.application), *_tables("[[check]]", draft.checks)]
    return "\n".join(lines) + "\n"


def _table(header: str, values: Mapping[str, object]) -> Iterator[str]:
    if values:
        yield from ("", header, *_keys(values))


def _tables(header: str, rows: Sequence[DraftTable]) -> Iterator[str]:
    for row in rows:
        yield ""
        if row.comment:
            yield f"# {printable(row.comment)}"
        yield from (header, *_keys(row.values))


def _keys(values: Mapping[str, object]) -> Iterator[str]:
    for key, value in values.items():
        yield f"{key} = {toml_value(value)}"


def toml_value(value: object) -> str:
    """Write a value of TOML in full."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            # JSON's text is TOML's, but for one control character.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case dict():
            items = (f"{_key(key)} = {toml_value(inner)}" for key, inner in value.items())
            return f"{{ {', '.join(items)} }}"
        case _:
            return str(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else toml_value(key)
