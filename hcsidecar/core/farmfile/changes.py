"""The differences between two farm files, named as in the file."""

from collections.abc import Iterator, Mapping

from hcsidecar.core.farmfile.farm_file import FarmFile


def changed_settings(former: FarmFile, present: FarmFile) -> tuple[str, ...]:
    """Return the names of what differs: `health.lame_duck`, `[[check]] APP`, or a table that was added or removed."""
    before, after = former.model_dump(), present.model_dump()
    return tuple(found for key in before for found in _differences(key, before[key], after[key]))


def _differences(path: str, before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before | after:
            yield from _differences(f"{path}.{key}", before.get(key), after.get(key))
        return
    names = _by_name(before), _by_name(after)
    if names[0] is None or names[1] is None:
        yield path
        return
    for name in names[0] | names[1]:
        if names[0].get(name) != names[1].get(name):
            yield f"[[{path}]] {name}"


def _by_name(tables: object) -> dict[str, object] | None:
    """Return the tables of a list by their names; None if it is not a list of named tables."""
    if not isinstance(tables, tuple) or not all(isinstance(table, Mapping) and table.get("name") for table in tables):
        return None
    return {table["name"]: table for table in tables}
