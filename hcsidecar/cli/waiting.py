"""Waiting until a node is where a command sends it, and telling meanwhile what it waits for.

The judges are pure: what the node says, and the seconds waited, in; over or not, out.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from hcsidecar.api.client import ClientError, ClientFailure, NodeClient
from hcsidecar.core.application.states import Role, Status
from hcsidecar.core.documents import NodeStatus

INTERVAL = 0.2
"Seconds between two looks."
PATIENCE = 10.0
"Seconds for which nobody may know how the node is: it may be cut off for a moment."
SETTLE = 1.0
"Seconds for which a node may still look as before the command."
LEAVE_BUDGET = 20.0
"Seconds that `leave` waits at most for what has no limit of its own, as balancers and the drain have."


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitResult:
    """How the waiting ended; completes a sentence that begins with the node's name."""

    ok: bool
    text: str


Judge = Callable[[NodeStatus, bool, float], WaitResult | None]
"Takes what a node says about itself, whether it is in its view, and the seconds waited; None means: wait on."


def stopped(node: NodeStatus, _in_view: bool, waited: float) -> WaitResult | None:
    """Judge whether the module has stopped; there is no limit, since a drain has one of its own."""
    if node.role == Role.STOP:
        return WaitResult(ok=True, text=f"stopped after {waited:.1f} s")
    # After its drain the stop script runs.
    if node.role == Role.UP and not node.draining and not node.waits_for and waited >= SETTLE:
        return WaitResult(ok=False, text="does not stop: somebody has called that off")
    return None


def gone() -> Judge:
    """Make the judge of a leave: stopped, in the view no more, and deregistered at every balancer.

    It has its budget for that, not counted while balancers drain the node before it may stop, or while it drains: both
    have limits of their own.
    """
    drained_at = 0.0

    def judge(node: NodeStatus, in_view: bool, waited: float) -> WaitResult | None:
        nonlocal drained_at
        # One that somebody has told to drain only is Ready, and drains for ever.
        if node.parting or (node.draining and node.status != Status.READY):
            drained_at = waited
        if node.role == Role.STOP and not in_view and not node.waits_for:
            return WaitResult(ok=True, text=f"has left after {waited:.1f} s")
        if node.role == Role.UP and not node.parting and not node.draining and not node.waits_for and waited >= SETTLE:
            return WaitResult(ok=False, text="does not leave: somebody has called that off")
        if waited >= drained_at + LEAVE_BUDGET:
            waits_for = ", ".join(node.waits_for) or "its application to stop"
            within = f"{LEAVE_BUDGET:g} s" + (" after its drain" if drained_at else "")
            return WaitResult(ok=False, text=f"has not left within {within}, it waits for {waits_for}")
        return None

    return judge


def drained(limit: float) -> Judge:
    """Make the judge of a drain, which ends with nobody left or with the limit in seconds, whoever is left."""

    def judge(node: NodeStatus, _in_view: bool, waited: float) -> WaitResult | None:
        if node.draining and not node.waits_for:
            return WaitResult(ok=True, text=f"drained after {waited:.1f} s")
        if node.role == Role.STOP:
            return WaitResult(ok=False, text="has been stopped by somebody")
        if not node.draining and waited >= SETTLE:
            return WaitResult(ok=False, text="does not drain: somebody has called that off")
        if waited >= limit:
            return WaitResult(ok=True, text=f"drained for {limit:g} s, still there: {', '.join(node.waits_for)}")
        return None

    return judge


async def wait(
    client: NodeClient, judge: Judge, tell: Callable[[str], None], *, patience: float = PATIENCE
) -> WaitResult:
    """Look at a node until a judge says that it is over; `tell` takes what it waits for whenever that changes."""
    began = seen = time.monotonic()
    told: tuple[str, ...] = ()
    while True:
        now = time.monotonic()
        try:
            node, in_view = await _look(client)
        except ClientError as error:
            if now - seen >= patience:
                return WaitResult(ok=False, text=f"is out of sight: {error}")
        else:
            seen = now
            if verdict := judge(node, in_view, now - began):
                return verdict
            if node.waits_for != told:
                told = node.waits_for
                tell(f"waits for {', '.join(told)}" if told else "waits for nobody any more")
        await asyncio.sleep(INTERVAL)


async def _look(client: NodeClient) -> tuple[NodeStatus, bool]:
    """Give what a node says about itself, and whether it is in its view."""
    try:
        status = (await client.status()).document
    except ClientError as error:
        if error.failure is ClientFailure.NOT_RUNNING and client.via.name == client.node:
            return NodeStatus(name=client.node, alive=False, role=Role.STOP, reason="its daemon has ended"), False
        raise
    return status.of(client.node), client.node in status.view
