"""The status document: the whole farm as one node sees it, the same for CLI, API and programs.

`{"farm", "node", "view", "nodes": [{"name", "address", "alive", "role", "status", "draining", "parting", "power",
"powers": {GROUP: weight}, "file_powers": {GROUP: weight}, "share": {GROUP: fraction}, "reason", "waits_for",
"restarts": {"used", "most"} or null}]}`. Keys are only ever added. `role` and `status` are null for a node that is not
heard, or heard without hearing this one. `power` is the node's weight in its first share group; `powers` has all of
them, as far as they are known, and `file_powers` those of the farm file of the node that answers. `reason` says why a
node is not Ready, or not in the view, and is "" when there is nothing to say. Of itself alone a node tells `parting`,
that it takes traffic until its balancers have drained it and leaves then; `waits_for`, what it still waits for on its
way out; and `restarts`, the restart budget.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
) -> dict[str, object]:
    """Build the document.

    `addresses` maps every node of the farm to its main address, in the farm file's order, `file_powers` to its powers
    by the farm file; `shares` names what the powers are for. `groups` names the share groups (none in remote-site
    mode) and `fractions(view, node)` gives a node's part of each.
    """

    def parts(view: View, name: str) -> dict[str, float]:
        return {group: round(part, 4) for group, part in zip(groups, fractions(view, name), strict=True)}

    nodes: list[dict[str, object]] = []
    for name, address in addresses.items():
        about: dict[str, object] = {"name": name, "address": address}
        peer = membership.roster.peers.get(name)
        if peer is None:
            about |= _own(membership, module, now) | {"share": parts(membership.view, name)}
            powers = membership.powers
        elif peer.alive and peer.acknowledged and peer.heartbeat is not None:
            about |= _other(peer.heartbeat) | {"share": parts(peer.heartbeat.view, name)}
            powers = peer.heartbeat.powers
        else:
            about |= _unheard(peer, now)
            about |= {"share": dict.fromkeys(groups, 0.0)}
            powers = peer.heartbeat.powers if peer.heartbeat is not None else ()
        # Another node may have a farm file with other shares.
        about["powers"] = dict(zip(shares, powers, strict=False))
        about["file_powers"] = dict(zip(shares, file_powers[name], strict=True))
        nodes.append(about)
    return {
        "farm": membership.farm,
        "node": membership.name,
        "view": [name for name, _ in membership.view],
        "nodes": nodes,
    }


def _own(membership: Membership, module: ModuleState, now: float) -> dict[str, object]:
    return {
        "alive": True,
        "role": module.role,
        "status": module.status,
        "draining": module.draining,
        "parting": module.parting,
        "power": membership.powers[0],
        "reason": module.reason or membership.out_reason or membership.why_not_claimed(now=now) or "",
        "waits_for": list(module.waits_for),
        "restarts": None if module.restarts is None else dict(zip(("used", "most"), module.restarts, strict=True)),
    }


def _other(heartbeat: Heartbeat) -> dict[str, object]:
    return {
        "alive": True,
        "role": heartbeat.role,
        "status": heartbeat.status,
        "draining": heartbeat.draining,
        "parting": False,
        "power": heartbeat.powers[0],
        "reason": heartbeat.reason,
        "waits_for": [],
        "restarts": None,
    }


def _unheard(peer: Peer, now: float) -> dict[str, object]:
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
    return {
        "alive": False,
        "role": None,
        "status": None,
        "draining": False,
        "parting": False,
        "power": last.powers[0] if last is not None else 0,
        "reason": reason,
        "waits_for": [],
        "restarts": None,
    }
