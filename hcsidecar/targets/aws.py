"""Target groups of AWS: registers this node with one of them.

The id under which this node is registered comes from the farm file or from the machine's metadata service; the earlier
ones are in a file. If they differ, `Observation.former` names the earlier targets, and `retire` deregisters them. No
call is ever made for the target of another node: an id that is another node's is refused before any call.

Every call names the id and the port. The port is that of the table, or otherwise that of the group, which
`DescribeTargetGroups` returns. If this call is denied, no call names a port, and AWS uses that of the group.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from hcsidecar.core.farmfile.target_tables import FROM_METADATA, AwsTarget
from hcsidecar.core.targets.aws_failures import AwsError, not_ours
from hcsidecar.core.targets.aws_targets import TargetKey, formers, observation, whose, with_port
from hcsidecar.core.targets.findings import ReviewFinding
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble
from hcsidecar.targets.aws_api import TargetGroupApi
from hcsidecar.targets.aws_memory import KnownTargets
from hcsidecar.targets.calls import Calls
from hcsidecar.targets.kind import Balancer, Here, Target

if TYPE_CHECKING:
    from hcsidecar.core.farmfile.farm_file import FarmFile
    from hcsidecar.targets.aws_identity import Metadata


class _Notes(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    port: int | None
    port_denied: bool
    is_blind: bool


class AwsBalancer:
    """One node at one target group. Methods that block have names that begin with `_do`, and run in a thread."""

    def __init__(self, table: AwsTarget, here: Here, *, metadata: "Metadata | None" = None) -> None:
        self._table = table
        self._here = here
        self._calls = Calls()
        self._api = TargetGroupApi(table)
        self._memory = KnownTargets(Path(here.state_dir) / f"target-{table.label}.json", table.group)
        self._known_metadata = metadata
        self._told = table.id_of(here.node, here.address)
        self._id = "" if self._told == FROM_METADATA else self._told
        self._is_blind = False
        others = {name: address for name, address in here.addresses.items() if name != here.node}
        self._others = {
            name: [given for given in (table.id_of(name, address), address) if given != FROM_METADATA]
            for name, address in others.items()
        }

    async def observe(self) -> Observation:
        """Return the state of this node's target, and of its earlier ones."""
        await self._learn_id(anew=True)
        return await self._calls.run(self._do_observe)

    async def register(self) -> None:
        """Register this node."""
        await self._learn_id(anew=False)
        await self._calls.run(self._do_register)

    async def deregister(self) -> None:
        """Deregister this node; the next observation shows whether that worked."""
        await self._learn_id(anew=False)
        await self._calls.run(self._do_deregister)

    async def retire(self) -> None:
        """Deregister the earlier targets of this node."""
        await self._learn_id(anew=False)
        await self._calls.run(self._do_retire)

    async def close(self) -> None:
        """Close the connections."""
        self._api.close()

    @property
    def notes(self) -> bytes:
        """What AWS and the machine have answered, so that a new process need not ask them again."""
        return msgspec.json.encode(
            _Notes(
                id=self._id,
                port=self._api.group_port,
                port_denied=self._api.port_denied,
                is_blind=self._is_blind,
            )
        )

    def recall(self, notes: bytes) -> None:
        """Restore what `notes` returned."""
        known = msgspec.json.decode(notes, type=_Notes)
        self._id, self._is_blind = known.id, known.is_blind
        self._api.group_port, self._api.port_denied = known.port, known.port_denied

    async def _learn_id(self, *, anew: bool) -> None:
        """Ask the metadata service for the id; while it does not answer, the last known id is used."""
        if self._told != FROM_METADATA or (self._id and not anew):
            return
        if not self._id:
            self._id = await self._metadata.find_id(self._table.target)
            return
        try:
            self._id = await self._metadata.read_id(self._table.target)
        except TargetError:
            return

    @property
    def _metadata(self) -> "Metadata":
        if self._known_metadata is None:
            # Imported here because it imports aiohttp, which a node whose id is in the farm file does not need.
            from hcsidecar.targets.aws_identity import Metadata  # noqa: PLC0415

            self._known_metadata = Metadata()
        return self._known_metadata

    def _key(self) -> TargetKey:
        """Return this node's target at the group. Raise TargetError if it is that of another node."""
        table, here = self._table, self._here
        key = TargetKey(id=self._id, zone=table.zone_of(here.node))
        other = whose(key, nodes=self._others, vips=here.vips)
        if other is not None:
            raise not_ours(key.id, other)
        return TargetKey(id=key.id, port=self._api.port(), zone=key.zone)

    def _formers(self, key: TargetKey) -> list[TargetKey]:
        others = [*(given for ids in self._others.values() for given in ids), *self._here.vips]
        return formers(with_port(self._memory.targets(), key.port), key, others)

    def _do_observe(self) -> Observation:
        key = self._key()
        self._is_blind = False
        try:
            seen = observation(self._api.describe(key), key)
        except AwsError as error:
            if error.is_denied:
                self._is_blind = True
                return Observation(presence=Presence.UNSEEN, reason=error.text)
            if not error.has_no_target:
                raise
            seen = Observation(presence=Presence.ABSENT, reason=error.text)
        if self._table.policy == "observe":
            return seen
        before = {former: self._is_left(former) for former in self._formers(key)}
        kept = [former for former, is_left in before.items() if is_left is not False]
        if seen.is_there or self._remembers(key):
            kept.append(key)
        self._memory.keep(kept)
        left = tuple(str(former) for former, is_left in before.items() if is_left)
        reason = "; ".join(filter(None, (seen.reason, self._memory.complaint)))
        return Observation(presence=seen.presence, reason=reason, former=left)

    def _remembers(self, key: TargetKey) -> bool:
        return any(one.pair == key.pair for one in with_port(self._memory.targets(), key.port))

    def _is_left(self, former: TargetKey) -> bool | None:
        """Return whether an earlier target is still registered; None if that cannot be told now."""
        try:
            return observation(self._api.describe(former), former).is_there
        except TargetError as error:
            # What AWS refuses as a target is not registered.
            return False if error.trouble is Trouble.CONFIG else None

    def _do_register(self) -> None:
        key = self._key()
        # Remember it first: if the answer gets lost, it may be registered all the same.
        self._memory.keep([*self._formers(key), key])
        self._api.register(key)
        if self._is_blind:
            # No observation will show the earlier ones.
            self._do_retire()
            self._memory.keep([key])

    def _do_deregister(self) -> None:
        self._api.deregister(self._key())

    def _do_retire(self) -> None:
        for former in self._formers(self._key()):
            self._api.deregister(former)


class AwsKind:
    """The kind `aws`."""

    table: type[Target] = AwsTarget

    def open(self, table: Any, here: Here) -> Balancer:
        """Return the balancer for one table."""
        return AwsBalancer(table, here)

    async def review(self, table: Any, farm: "FarmFile") -> Sequence[ReviewFinding]:
        """Return the findings on the group's settings."""
        return await Calls().run(lambda: _do_review(table, farm))


def _do_review(table: AwsTarget, farm: "FarmFile") -> list[ReviewFinding]:
    from hcsidecar.core.targets.aws_review import review  # noqa: PLC0415 - calls do not need it

    api = TargetGroupApi(table)

    def ask(call: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | TargetError:
        try:
            return call()
        except TargetError as error:
            return error

    try:
        group = ask(api.group)
        # If one call does not reach AWS, the others do not either, and each would wait for its limit.
        if isinstance(group, TargetError) and not isinstance(group, AwsError):
            return review(table, farm, group=group, attributes=group, health=group)
        return review(table, farm, group=group, attributes=ask(api.attributes), health=ask(api.describe_all))
    finally:
        api.close()


KIND = AwsKind()
