"""What this node has been registered as at a target group, in a file: an earlier address must be found again."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.targets.aws_targets import TargetKey
from hcsidecar.system.private_file import replace_private

_MOST = 16
"Targets that are remembered, the latest."
_MOST_BYTES = 65_536


class _Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    port: int | None = None
    zone: str | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True):
    group: str
    targets: tuple[_Target, ...] = ()


class KnownTargets:
    """The targets of one group that are, or were, this node; `path` is where they are kept.

    A file that cannot be read, or tells of another group, is an empty one. One that cannot be written is no reason to
    be registered nowhere: `complaint` says so, and the memory lasts as long as the process.
    """

    def __init__(self, path: Path, group: str) -> None:
        self._path = path
        self._group = group
        self._targets: tuple[TargetKey, ...] | None = None
        self.complaint = ""

    def targets(self) -> tuple[TargetKey, ...]:
        """Give the targets, the latest last."""
        if self._targets is None:
            self._targets = self._read()
        return self._targets

    def keep(self, targets: Iterable[TargetKey]) -> None:
        """Remember these and no others; written at once, unless nothing has changed and the file is there."""
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
