"""Writes the farm file of an import as text: each table with a comment on its origin."""

from collections.abc import Iterator, Mapping, Sequence

from hcsidecar.core.farmfile.toml_values import toml_value
from hcsidecar.core.safekit.draft import Draft, DraftTable
from hcsidecar.core.safekit.notes import printable


def farm_file_of(draft: Draft) -> str:
    """Return the tables of a draft as text."""
    lines = [
        f"# Farm {draft.farm['name']}, made from the SafeKit module {printable(draft.module)}: REPORT.txt says how.",
        "# Lines are those of userconfig.xml. Every other key has its default: see `hcsidecar check-config`.",
        *_table("[farm]", draft.farm),
        *_tables("[[node]]", draft.nodes),
        *_table("[heartbeat]", draft.heartbeat),
        *_table("[web]", draft.web),
    ]
    return "\n".join([*lines, *_application_tables(draft)]) + "\n"


def application_tables_of(draft: Draft) -> str:
    """Return only the tables that a farm which exists takes over: [l2], [application] and [[check]]."""
    return "\n".join(_application_tables(draft)).lstrip("\n") + "\n"


def _application_tables(draft: Draft) -> Iterator[str]:
    if draft.vips or draft.shares:
        yield from ("", "[l2]", *_keys(draft.l2))
        yield from (*_tables("[[l2.vip]]", draft.vips), *_tables("[[l2.share]]", draft.shares))
    yield from (*_table("[application]", draft.application), *_tables("[[check]]", draft.checks))


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
