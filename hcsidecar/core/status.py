"""What a node tells of the farm: the status document (`core.documents.FarmStatus`), from what its membership knows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from hcsidecar.core.documents import FarmStatus, NodeStatus, RestartsUsed
from hcsidecar.core.membership.heartbeat import Heartbeat, View
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.peers import Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleState:
    """This node's own module, as its lifecycle says."""

    role: str
    status: str
    draining: bool
    reason: str
    waits_for: tuple[str, ...]
    parting: bool = False
    "It takes traffic until its balancers have drained it, and leaves then."
    restarts: tuple[int, int] | None = None
    "Failures on the restart budget, and how many it takes; None where nothing is restarted."


def status_document(
    *,
    membership: Membership,
    module: ModuleState,
    addresses: Mapping[str, str],
    file_powers: Mapping[str, tuple[int, ...]],
    shares: tuple[str, ...],
    groups: tuple[str, ...],
    fractions: Callable[[View, str], tuple[float, ...]],
    now: float,
) -> FarmStatus:
    """Build the document.

    `addresses` maps every node of the farm to its main address, in the farm file's order, `file_powers` to its powers
    by the farm file; `shares` names what the powers are for. `groups` names the share groups (none in remote-site
    mode) and `fractions(view, node)` gives a node's part of each.
    """

    def about(name: str) -> NodeStatus:
        peer = membership.peers.by_name.get(name)
        if peer is None:
            told, view, powers = _own(membership, module, now=now), membership.view, membership.powers
        elif peer.alive and peer.acknowledged and peer.heartbeat is not None:
            told, view, powers = _other(name, peer.heartbeat), peer.heartbeat.view, peer.heartbeat.powers
        else:
            told, view = _unheard(peer, now=now), None
            powers = peer.heartbeat.powers if peer.heartbeat is not None else ()
        parts = [0.0] * len(groups) if view is None else fractions(view, name)
        return msgspec.structs.replace(
            told,
            address=addresses[name],
            share={group: round(part, 4) for group, part in zip(groups, parts, strict=True)},
            # Another node may have a farm file with other shares.
            powers=dict(zip(shares, powers, strict=False)),
            file_powers=dict(zip(shares, file_powers[name], strict=True)),
        )

    return FarmStatus(
        farm=membership.farm,
        node=membership.name,
        view=tuple(name for name, _ in membership.view),
        nodes=tuple(about(name) for name in addresses),
    )


def _own(membership: Membership, module: ModuleState, *, now: float) -> NodeStatus:
    return NodeStatus(
        name=membership.name,
        alive=True,
        role=module.role,
        status=module.status,
        draining=module.draining,
        parting=module.parting,
        power=membership.powers[0],
        reason=module.reason or membership.out_reason or membership.why_not_claimed(now=now) or "",
        waits_for=module.waits_for,
        restarts=None if module.restarts is None else RestartsUsed(used=module.restarts[0], most=module.restarts[1]),
    )


def _other(name: str, heartbeat: Heartbeat) -> NodeStatus:
    return NodeStatus(
        name=name,
        alive=True,
        role=heartbeat.role,
        status=heartbeat.status,
        draining=heartbeat.draining,
        power=heartbeat.powers[0],
        reason=heartbeat.reason,
    )


def _unheard(peer: Peer, *, now: float) -> NodeStatus:
    last = peer.heartbeat
    if now < peer.refused_at + peer.timing.lost_after:
        reason = f"refused: its boot number went back (boot {peer.boot} was heard before)"
    elif last is None:
        reason = "not heard since this node's daemon started"
    elif peer.left:
        reason = "has left"
    elif peer.alive:
        reason = "heard, but it does not hear this node, or what is heard is a recording"
    else:
        reason = f"silent for {now - peer.heard_at:.0f} s"
    return NodeStatus(name=peer.name, alive=False, power=last.powers[0] if last is not None else 0, reason=reason)
