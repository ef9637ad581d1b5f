"""Waits until a node has done what a command asked, and prints meanwhile what it waits for.

The judges are pure: they take the node's status and the seconds waited, and return whether the waiting is over.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from hcsidecar.api.client import ClientError, ClientFailure, NodeClient
from hcsidecar.core.application.states import Role, Status
from hcsidecar.core.documents import NodeStatus

INTERVAL = 0.2
"Seconds between two requests."
PATIENCE = 10.0
"Seconds for which the node's status may be unknown; it may be cut off for a moment."
SETTLE = 1.0
"Seconds for which a node may still have its status from before the command."
LEAVE_BUDGET = 20.0
"Seconds that `leave` waits at most, without the drain and balancers, which have their own limits."


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitResult:
    """How the waiting ended; the text completes a sentence that begins with the node's name."""

    ok: bool
    text: str


Judge = Callable[[NodeStatus, bool, float], WaitResult | None]
"Takes a node's own status, whether it is in its view, and the seconds waited; returns None to wait on."


def stopped(node: NodeStatus, _in_view: bool, waited: float) -> WaitResult | None:
    """Judge whether the application has stopped. There is no limit, because the drain has one."""
    if node.role == Role.STOP:
        return WaitResult(ok=True, text=f"stopped after {waited:.1f} s")
    # After the drain the stop script runs.
    if node.role == Role.UP and not node.draining and not node.waits_for and waited >= SETTLE:
        return WaitResult(ok=False, text="does not stop: somebody has cancelled that")
    return None


def gone() -> Judge:
    """Return the judge of a `leave`: stopped, out of the view, and deregistered at every balancer.

    Its limit is LEAVE_BUDGET, without the time in which the node drains or balancers drain it, because these have their
    own limits.
    """
    drained_at = 0.0

    def judge(node: NodeStatus, in_view: bool, waited: float) -> WaitResult | None:
        nonlocal drained_at
        # A node that was only told to drain is Ready, and drains without limit.
        if node.parting or (node.draining and node.status != Status.READY):
            drained_at = waited
        if node.role == Role.STOP and not in_view and not node.waits_for:
            return WaitResult(ok=True, text=f"has left after {waited:.1f} s")
        if node.role == Role.UP and not node.parting and not node.draining and not node.waits_for and waited >= SETTLE:
            return WaitResult(ok=False, text="does not leave: somebody has cancelled that")
        if waited >= drained_at + LEAVE_BUDGET:
            waits_for = ", ".join(node.waits_for) or "its application to stop"
            within = f"{LEAVE_BUDGET:g} s" + (" after its drain" if drained_at else "")
            return WaitResult(ok=False, text=f"has not left within {within}, it waits for {waits_for}")
        return None

    return judge


def drained(limit: float) -> Judge:
    """Return the judge of a drain, which ends when nobody uses the node any more, or after `limit` seconds."""

    def judge(node: NodeStatus, _in_view: bool, waited: float) -> WaitResult | None:
        if node.draining and not node.waits_for:
            return WaitResult(ok=True, text=f"drained after {waited:.1f} s")
        if node.role == Role.STOP:
            return WaitResult(ok=False, text="has been stopped by somebody")
        if not node.draining and waited >= SETTLE:
            return WaitResult(ok=False, text="does not drain: somebody has cancelled that")
        if waited >= limit:
            return WaitResult(ok=True, text=f"drained for {limit:g} s, still there: {', '.join(node.waits_for)}")
        return None

    return judge


async def wait(
    client: NodeClient, judge: Judge, tell: Callable[[str], None], *, patience: float = PATIENCE
) -> WaitResult:
    """Ask a node until a judge returns a result. `tell` is called with what the node waits for when that changes."""
    began = seen = time.monotonic()
    told: tuple[str, ...] = ()
    while True:
        now = time.monotonic()
        try:
            node, in_view = await _look(client)
        except ClientError as error:
            if now - seen >= patience:
                return WaitResult(ok=False, text=f"cannot be asked any more: {error}")
        else:
            seen = now
            if verdict := judge(node, in_view, now - began):
                return verdict
            if node.waits_for != told:
                told = node.waits_for
                tell(f"waits for {', '.join(told)}" if told else "waits for nobody any more")
        await asyncio.sleep(INTERVAL)


async def _look(client: NodeClient) -> tuple[NodeStatus, bool]:
    """Return a node's own status, and whether it is in its view."""
    try:
        status = (await client.status()).document
    except ClientError as error:
        if error.failure is ClientFailure.NOT_RUNNING and client.via.name == client.node:
            return NodeStatus(name=client.node, alive=False, role=Role.STOP, reason="its daemon has ended"), False
        raise
    return status.of(client.node), client.node in status.view
