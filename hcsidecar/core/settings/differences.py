"""What differs between two bundles: files with their changed lines, and keys of the farm file with both values.

Passwords are never shown: not the values of environment variables whose names say that they are secret, nor what stands
before the `@` of a URL.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from pydantic import BaseModel

from hcsidecar.core.farmfile.farm_file import PRESETS, FarmFile, NodeTable, format_duration
from hcsidecar.core.farmfile.tables import DEFAULT_NETWORK
from hcsidecar.core.farmfile.toml_values import toml_value
from hcsidecar.core.plain_text import escaped, shortened
from hcsidecar.core.settings.revision import FARM_FILE, FileEntry, Manifest

MAX_COMPARED: Final = 128 * 1024
"Bytes of a file that is compared line by line; of a larger one only size and digest are told."
MAX_LINES: Final = 5000
"Lines of such a file: the time to compare grows with their square."
UNSET: Final = "unset"
CHANGED: Final = "(changed)"
"Stands for both values of a secret, and for those whose difference is not in what is shown of them."
LONGEST_VALUE: Final = 200
"Characters of a value that are shown."
_HIDDEN: Final = "(hidden)"

_SHORTEST_SECRET: Final = 4
"Characters: shorter ones are in many words, and are hidden behind their name only."

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)
_USER_OF_URL = re.compile(r"(?<=://)[^/@\s\"']+(?=@)")
_PLAIN = re.compile(r"[A-Za-z0-9._:/%+\[\]-]+")
_STRING = r'"""(?:[^\\]|\\.)*?"""|' + r"'''.*?'''|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"
_ASSIGNED = re.compile(
    rf"(?P<name>[\"']?\b[A-Za-z_][A-Za-z0-9_]*\b[\"']?)(?P<equals>\s*=\s*)(?P<value>{_STRING})", re.DOTALL
)
_KEYS_OF_THE_FILE: Final = ("key", "key_file")
"Names of files, not secrets."


class RevisionContent(NamedTuple):
    """A manifest and the contents that it names."""

    manifest: Manifest
    contents: Mapping[str, bytes]


class ChangeKind(StrEnum):
    """What has become of a file, or of a table or value of the farm file."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class FileVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A file as one of two bundles has it."""

    size: int
    "Bytes."
    sha256: str
    executable: bool


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """A file that differs between two bundles."""

    name: str
    change: ChangeKind
    before: FileVersion | None = None
    after: FileVersion | None = None
    diff: str = ""
    """A unified diff; empty where the file is not text, is too large, or differs in its mode or in secrets only. It has
    the bytes of the file, so that who shows it on a terminal must escape them."""

    def __str__(self) -> str:
        before, after = self.before, self.after
        if before is None or after is None:
            return f"{self.name}: {self.change}, {_told(after or before)}"
        told = []
        if before.sha256 != after.sha256:
            told.append("changed" if self.diff else f"changed: {_told(before)} -> {_told(after)}")
        if before.executable != after.executable:
            told.append("may be executed now" if after.executable else "may not be executed any more")
        return f"{self.name}: {', '.join(told)}"


def _told(version: FileVersion | None) -> str:
    return "" if version is None else f"{version.size} bytes, SHA-256 {version.sha256[:8]}"


class SettingChange(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the farm file that differs, or a table that is new or gone."""

    key: str
    "As in KEY_EFFECTS: `health.lame_duck`; of a whole table its path: `check`."
    entry: str = ""
    "Of a table that stands several times: the name of the one meant."
    item: str = ""
    "Of a value with names in it, such as `environment`: the name that differs."
    change: ChangeKind
    before: str = ""
    "As TOML, without the quotes of plain words; empty for a table that is new or gone."
    after: str = ""

    @property
    def place(self) -> str:
        """Where it is in the file: `[health] lame_duck`, `[[check]] APP`."""
        if self.entry and self.is_table:
            return f"[[{self.key}]] {self.entry}"
        if self.is_table:
            return f"[{self.key}]"
        table, _, key = self.key.rpartition(".")
        header = f"[[{table}]] {self.entry}" if self.entry else f"[{table}]"
        return f"{header} {key}{f'.{self.item}' if self.item else ''}"

    @property
    def is_table(self) -> bool:
        """Whether a whole table is new or gone."""
        return not self.before and not self.after

    def __str__(self) -> str:
        if self.is_table:
            return f"{self.place}: {'new' if self.change is ChangeKind.ADDED else 'removed'}"
        if self.before == CHANGED:
            return f"{self.place}: {CHANGED}"
        return f"{self.place}: {self.before} -> {self.after}"


def file_changes(
    former: RevisionContent, present: RevisionContent, *, secrets: Collection[str] = ()
) -> tuple[FileChange, ...]:
    """Return the files that differ, by name. `secrets` are texts that no diff may show: see `secrets_of`."""
    before = {entry.name: entry for entry in former.manifest.files}
    after = {entry.name: entry for entry in present.manifest.files}
    found = []
    for name in sorted(before | after):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        change = ChangeKind.ADDED if old is None else ChangeKind.REMOVED if new is None else ChangeKind.CHANGED
        contents = former.contents[name] if old else b"", present.contents[name] if new else b""
        diff = "" if contents[0] == contents[1] else _diff(name, *contents, secrets=secrets)
        found.append(FileChange(name=name, change=change, before=_version(old), after=_version(new), diff=diff))
    return tuple(found)


def _version(entry: FileEntry | None) -> FileVersion | None:
    if entry is None:
        return None
    return FileVersion(size=entry.size, sha256=entry.sha256, executable=entry.executable)


def _diff(name: str, before: bytes, after: bytes, *, secrets: Collection[str]) -> str:
    texts = _text(before), _text(after)
    if texts[0] is None or texts[1] is None:
        return ""
    former, present = (
        (without_secrets(text, secrets) if name == FARM_FILE else text).split("\n") for text in (texts[0], texts[1])
    )
    if max(len(former), len(present)) > MAX_LINES:
        return ""
    from difflib import unified_diff  # noqa: PLC0415 - loaded only where something differs

    return "\n".join(unified_diff(former, present, fromfile=name, tofile=name, lineterm=""))


def _text(content: bytes) -> str | None:
    """Return the text of a file; None if it is none or too large to be compared."""
    if len(content) > MAX_COMPARED or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def secrets_of(farm: FarmFile) -> frozenset[str]:
    """Return the values in a farm file that are not for everybody's eyes."""
    variables = farm.application.environment if farm.application else {}
    return frozenset(value for name, value in variables.items() if _SECRET_NAME.search(name))


def is_secret_name(name: str) -> bool:
    """Return whether the name of a variable says that its value is secret."""
    return _SECRET_NAME.search(name) is not None


def assigned_secrets(text: str) -> frozenset[str]:
    """Return what variables with secret names are set to in the text of a farm file, which need not be valid."""
    found = set()
    for match in _ASSIGNED.finditer(text):
        name = match["name"].strip("\"'")
        if name not in _KEYS_OF_THE_FILE and is_secret_name(name):
            value = match["value"]
            quotes = value[:3] if value[:3] in {'"""', "'''"} else value[:1]
            found.add(value[len(quotes) : -len(quotes)])
    return frozenset(found)


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """Return the text of a farm file without the secrets in it.

    The names say it in a file that is no farm file any more, the values where a name is written in an unusual way.
    """

    def hide(found: re.Match[str]) -> str:
        name = found["name"].strip("\"'")
        if name in _KEYS_OF_THE_FILE or not _SECRET_NAME.search(name):
            return found[0]
        return f'{found["name"]}{found["equals"]}"{_HIDDEN}"'

    text = _USER_OF_URL.sub(_HIDDEN, _ASSIGNED.sub(hide, text))
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, _HIDDEN)
    return text


def setting_changes(former: FarmFile, present: FarmFile) -> tuple[SettingChange, ...]:
    """Return what differs between two farm files, in the order of the keys."""
    return tuple(
        change
        for name in FarmFile.model_fields
        for change in _differences(name, getattr(former, name), getattr(present, name))
    )


def _differences(path: str, before: object, after: object) -> Iterator[SettingChange]:
    """Compare two tables, two lists of tables, or a table with none."""
    if isinstance(before, tuple) and isinstance(after, tuple):
        yield from _list_differences(path, _by_name(before), _by_name(after))
    elif isinstance(before, BaseModel) and isinstance(after, BaseModel):
        yield from _table_differences(path, "", before, after)
    elif before is not None or after is not None:
        yield SettingChange(key=path, change=ChangeKind.ADDED if before is None else ChangeKind.REMOVED)


def _list_differences(
    path: str, before: Mapping[str, BaseModel], after: Mapping[str, BaseModel]
) -> Iterator[SettingChange]:
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            change = ChangeKind.ADDED if old is None else ChangeKind.REMOVED
            yield SettingChange(key=path, entry=name, change=change)
        else:
            yield from _table_differences(path, name, old, new)
    # Heartbeats carry the powers of the shares in the order of the file.
    order = [name for name in before if name in after], [name for name in after if name in before]
    if path == "l2.share" and order[0] != order[1]:
        yield SettingChange(
            key="l2.share.name",
            item="order",
            change=ChangeKind.CHANGED,
            before=toml_value(order[0]),
            after=toml_value(order[1]),
        )


def _by_name(tables: tuple[BaseModel, ...]) -> dict[str, BaseModel]:
    """Return tables by what each is known by."""
    return {name_of(table): table for table in tables}


def name_of(table: BaseModel) -> str:
    """Return what a table that stands several times is known by."""
    for key in ("label", "name", "address"):
        if name := getattr(table, key, None):
            return str(name)
    raise AssertionError("every table that stands several times has a name")  # pragma: no cover


def _table_differences(path: str, entry: str, before: BaseModel, after: BaseModel) -> Iterator[SettingChange]:
    if type(before) is not type(after) or getattr(before, "type", "") != getattr(after, "type", ""):
        kinds = _written(getattr(before, "type", "")), _written(getattr(after, "type", ""))
        yield SettingChange(key=f"{path}.type", entry=entry, change=ChangeKind.CHANGED, before=kinds[0], after=kinds[1])
        return
    old, new = _values(before), _values(after)
    implied = _implied(old, new) if path == "heartbeat" else ()
    for key in old | new:
        inner = f"{path}.{escaped(key)}"
        if _is_a_table(before, after, key):
            yield from _differences(inner, getattr(before, key), getattr(after, key))
        elif key not in implied:
            yield from _value_differences(inner, entry, old.get(key), new.get(key))


def _is_a_table(before: BaseModel, after: BaseModel, key: str) -> bool:
    values = getattr(before, key, None), getattr(after, key, None)
    return any(isinstance(value[0] if isinstance(value, tuple) and value else value, BaseModel) for value in values)


def _values(table: BaseModel) -> dict[str, object]:
    """Return the values of a table as the file writes them."""
    values = table.model_dump()
    if isinstance(table, NodeTable) and tuple(table.addresses) == (DEFAULT_NETWORK,):
        del values["addresses"]
        return {"name": table.name, "address": table.address} | values
    return values


def _implied(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[str, ...]:
    """Return the keys of [heartbeat] that differ only because the preset does."""
    return tuple(
        key
        for key in ("pulse", "lost_after")
        if all(
            values[key] == format_duration(getattr(PRESETS[str(values["preset"])], key)) for values in (before, after)
        )
    )


def _value_differences(path: str, entry: str, before: object, after: object) -> Iterator[SettingChange]:
    if isinstance(before, Mapping) or isinstance(after, Mapping):
        old, new = (value if isinstance(value, Mapping) else {} for value in (before, after))
        for item in {**old, **new}:
            if old.get(item) != new.get(item):
                secret = path == "application.environment" and _SECRET_NAME.search(item) is not None
                yield _value_change(path, entry, old.get(item), new.get(item), item=item, secret=secret)
        if path == "node.addresses" and old == new and tuple(old) != tuple(new):
            # The first network is the main one.
            yield _value_change(path, entry, dict(old), dict(new))
        return
    if before != after:
        yield _value_change(path, entry, before, after)


def _value_change(
    path: str, entry: str, before: object, after: object, *, item: str = "", secret: bool = False
) -> SettingChange:
    change = ChangeKind.ADDED if before is None else ChangeKind.REMOVED if after is None else ChangeKind.CHANGED
    values = _written(before), _written(after)
    if secret or values[0] == values[1]:
        values = CHANGED, CHANGED
    return SettingChange(key=path, entry=entry, item=escaped(item), change=change, before=values[0], after=values[1])


def _written(value: object) -> str:
    if value is None:
        return UNSET
    if isinstance(value, dict):
        # TOML has no word for what is not there.
        value = {key: inner for key, inner in value.items() if inner is not None}
    text = value if isinstance(value, str) and _PLAIN.fullmatch(value) else toml_value(value)
    return shortened(escaped(_USER_OF_URL.sub(_HIDDEN, text)), LONGEST_VALUE)
