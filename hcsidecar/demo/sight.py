"""Shortens what daemons and HAProxy say about the servers to a word or two, and compares it. Pure."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO

from hcsidecar.core.documents import FarmStatus, NodeStatus

DEAD = "dead"
READY = "UP(Ready)"
STOPPED = "STOP"
_DRAINING = "draining"
DRAINING = f"{READY}, {_DRAINING}"
BACKEND = "web"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAtHaproxy:
    """A server as HAProxy sees it."""

    state: str
    "UP, DOWN, NOLB (stopping: no new clients), or a transition such as UP 1/2."
    probe: str
    "The result of the last probe, such as L7OK/200."


def condition(node: NodeStatus) -> str:
    """Return the state of a node in a word or two."""
    if not node.alive:
        return DEAD
    if node.role == STOPPED:
        return STOPPED
    state = f"{node.role}({node.status})"
    return f"{state}, {_DRAINING}" if node.draining else state


def why_not_ready(node: NodeStatus) -> str:
    """Return why a node is not Ready and what its drain waits for; empty if neither applies."""
    waits = f"waits for {', '.join(node.waits_for)}" if node.waits_for else ""
    return "; ".join(filter(None, (node.reason, waits)))


def best_status(name: str, documents: Mapping[str, FarmStatus | None]) -> NodeStatus | None:
    """Return a node's own status if it answers, otherwise that of the first daemon that does."""
    own = documents.get(name)
    if own is not None:
        return own.of(name)
    return next((document.of(name) for document in documents.values() if document is not None), None)


def why_not_agreed(documents: Mapping[str, FarmStatus | None], conditions: Mapping[str, str]) -> str | None:
    """Return which daemon does not see the servers in these conditions, or None if all do."""
    ready = sorted(name for name, wanted in conditions.items() if wanted == READY)
    for asked, document in documents.items():
        if document is None:
            return f"{asked} does not answer"
        for name, wanted in conditions.items():
            node = document.of(name)
            if condition(node) != wanted:
                reason = f" ({node.reason})" if node.reason else ""
                return f"{asked} sees {name} as {condition(node)}{reason}, not {wanted}"
        # A node that is not in the view has an empty view.
        view = ready if asked in ready else []
        if sorted(document.view) != view:
            return f"{asked} has {', '.join(document.view) or 'nobody'} in its view, not {', '.join(view) or 'nobody'}"
    return None


def why_still_served(documents: Mapping[str, FarmStatus | None], name: str) -> str | None:
    """Return which daemon still considers a server Ready, or None."""
    for asked, document in documents.items():
        if document is None:
            return f"{asked} does not answer"
        if condition(document.of(name)) == READY:
            return f"{asked} sees {name} as {READY}"
        if name in document.view:
            return f"{asked} has {name} in its view"
    return None


def parse_targets(answer: str) -> dict[str, ServerAtHaproxy]:
    """Parse HAProxy's answer to `show stat`, and return the servers by name."""
    targets = {}
    for line in csv.DictReader(StringIO(answer.removeprefix("# "))):
        name = line.get("svname")
        if line.get("pxname") == BACKEND and name and name != "BACKEND":
            # A star without a code means that a probe is in progress; the result is that of the one before.
            result = (line.get("check_status") or "").removeprefix("* ")
            code = line.get("check_code")
            probe = f"{result}/{code}" if code and code != "0" else result
            targets[name] = ServerAtHaproxy(state=line.get("status") or "?", probe=probe)
    return targets
