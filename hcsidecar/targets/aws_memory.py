"""Remembers in a file under which ids this node was registered at a target group, to find an earlier address again."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.targets.aws_targets import TargetKey
from hcsidecar.system.private_file import replace_private

_MOST = 16
"Number of targets remembered, the latest ones."
_MOST_BYTES = 65_536


class _Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    port: int | None = None
    zone: str | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    targets: tuple[_Target, ...] = ()


class KnownTargets:
    """The targets of one group that are or were this node, kept in the file `path`.

    A file that cannot be read, or is of another group, counts as empty. If the file cannot be written, `complaint` says
    so, the targets are remembered for the life of the process, and registration goes on.
    """

    def __init__(self, path: Path, group: str) -> None:
        self._path = path
        self._group = group
        self._targets: tuple[TargetKey, ...] | None = None
        self.complaint = ""

    def targets(self) -> tuple[TargetKey, ...]:
        """Return the targets, the latest one last."""
        if self._targets is None:
            self._targets = self._read()
        return self._targets

    def keep(self, targets: Iterable[TargetKey]) -> None:
        """Remember exactly these targets. Write them at once, unless nothing has changed and the file exists."""
        kept = tuple(targets)[-_MOST:]
        if kept != self.targets() or self.complaint or (kept and not self._path.exists()):
            self._targets = kept
            self.complaint = self._write(kept)

    def _read(self) -> tuple[TargetKey, ...]:
        try:
            with self._path.open("rb") as file:
                found = read_json(file.read(_MOST_BYTES), _File)
        except (OSError, JsonError):
            return ()
        if found.group != self._group:
            return ()
        return tuple(TargetKey(id=one.id, port=one.port, zone=one.zone) for one in found.targets)

    def _write(self, kept: tuple[TargetKey, ...]) -> str:
        targets = tuple(_Target(id=one.id, port=one.port, zone=one.zone) for one in kept)
        reason = replace_private(self._path, msgspec.json.encode(_File(group=self._group, targets=targets)) + b"\n")
        return f"{self._path} cannot be written, {reason}: no earlier address is found again" if reason else ""
