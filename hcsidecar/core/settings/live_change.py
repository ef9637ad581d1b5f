"""The farm file by which a running daemon goes after a change: the changed one, but for what needs a restart.

`key_effects.py` says of each key whether a daemon takes it while it runs. A key that it does not take stays as the
daemon has it, until its next start reads the file anew.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.settings.differences import SettingChange, name_of, setting_changes
from hcsidecar.core.settings.key_effects import KEY_EFFECTS, ChangeEffect, effect_of

_TAKEN: Final = frozenset({ChangeEffect.LIVE, ChangeEffect.MOVES_CLIENTS, ChangeEffect.MEMBERSHIP})


def farm_in_force(former: FarmFile, present: FarmFile, *, me: str) -> FarmFile:
    """Return the farm file by which node `me` goes after a change from one farm file to another, without a restart.

    `former` is the one by which it has gone. A node keeps its own addresses until it starts again.
    """
    changed = {name: _value(name, getattr(former, name), getattr(present, name)) for name in FarmFile.model_fields}
    own = former.node_named(me).addresses
    changed["node"] = tuple(
        node.model_copy(update={"addresses": own}) if node.name == me else node for node in _nodes(changed["node"])
    )
    return present.model_copy(update=changed)


def waiting_changes(in_force: FarmFile, present: FarmFile) -> tuple[SettingChange, ...]:
    """Return the changes that a daemon which goes by `in_force` takes when it starts again with `present`."""
    return setting_changes(in_force, present)


def is_taken(key: str) -> bool:
    """Return whether a running daemon takes a change of this key; `key` is a path as in KEY_EFFECTS."""
    return effect_of(key).effect in _TAKEN


def _value(path: str, former: object, present: object) -> object:
    """Return the value of a key or of all keys below a table."""
    if _is_taken_as_a_whole(path):
        return present
    if isinstance(former, BaseModel) and isinstance(present, BaseModel):
        return _table(path, former, present)
    if _is_list_of_tables(former) and _is_list_of_tables(present) and (former or present):
        return _list(path, former, present)
    return present if is_taken(path) else former


def _is_taken_as_a_whole(path: str) -> bool:
    keys = [key for key in KEY_EFFECTS if key == path or key.startswith(f"{path}.")]
    return bool(keys) and all(is_taken(key) for key in keys)


def _table(path: str, former: BaseModel, present: BaseModel) -> BaseModel:
    keys = type(present).model_fields
    changed = {key: _value(f"{path}.{key}", getattr(former, key), getattr(present, key)) for key in keys}
    return present.model_copy(update=changed)


def _list(path: str, former: object, present: object) -> tuple[BaseModel, ...]:
    """Return tables that stand several times: those of the present file, or if these are not taken of the former."""
    before, after = _by_name(former), _by_name(present)
    names = after if is_taken(path) else before
    return tuple(
        _table(path, before[name], after[name]) if name in before and name in after else names[name] for name in names
    )


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(table, BaseModel) for table in value)


def _by_name(tables: object) -> Mapping[str, BaseModel]:
    assert isinstance(tables, tuple)  # noqa: S101 - see _is_list_of_tables
    return {name_of(table): table for table in tables}


def _nodes(tables: object) -> tuple[NodeTable, ...]:
    assert isinstance(tables, tuple)  # noqa: S101 - see _is_list_of_tables
    return tables
