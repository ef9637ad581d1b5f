"""Figure: what it costs to be the target of a balancer: memory, start-up, calls, and the time to register and leave."""

import os
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Final

from benchmarks.checked_node import NOT_FOUND, OK, CheckedNode, await_true
from benchmarks.figures import Aim, Figure, Judged, Row, Table
from benchmarks.processes import children, end, memory, start
from benchmarks.progress import say
from benchmarks.target_group import ARN, TargetGroup
from benchmarks.wire import Namespace, namespaces
from hcsidecar.core.application.states import Word
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Call, Observation, Presence

CALLS_AIM: Final = 75.0
"Calls in an hour at rest."
NONE, AWS, BOTO = "daemon, no target", "daemon, target of AWS", "an interpreter with boto3 and one client"
APART_AIM: Final = 3.0
"MiB between a daemon with a target and one without, at rest."
SETTLE: Final = 20.0
"Seconds from the registration to the look at the memory: the look that follows it, and the helper process have ended."
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_CONFIG_FILE": "/dev/null",
}
_BOTO_PROGRAM: Final = """
import sys, time
from boto3 import Session
client = Session(region_name="eu-west-1").client("elbv2", endpoint_url=sys.argv[1])
client.describe_target_health(TargetGroupArn=sys.argv[2], Targets=[{"Id": "127.0.0.1", "Port": 80}])
print("asked", flush=True)
time.sleep(3600)
"""


def measure(*, quick: bool) -> Figure:
    """Start daemons with a target and without, and a program with nothing but boto3, by turns."""
    runs = 1 if quick else 7
    os.environ.update(ENVIRONMENT)
    seen: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hcsidecar-bench-")))
        (here,) = stack.enter_context(namespaces("targets"))
        # In the namespace, so that the loopback of the daemons is its own as well.
        with here.entered():
            group = stack.enter_context(TargetGroup())
        for run in range(runs):
            say(f"targets: run {run + 1} of {runs}")
            _without(directory / f"{run}-none", here, seen)
            group.forget()
            _with(directory / f"{run}-aws", here, group, seen)
            _boto_alone(here, group, seen)
    hours = tuple(float(_calls_in_an_hour(seed)) for seed in range(5 if quick else 200))
    rows = [
        *(
            Row(what=f"{who}: memory (VmRSS)", unit="MiB", runs=tuple(seen[f"{who} memory"]))
            for who in (NONE, AWS, BOTO)
        ),
        Row(
            what="with a target of AWS less without: memory at rest, all processes",
            unit="MiB",
            runs=tuple(more - less for more, less in zip(seen[f"{AWS} memory"], seen[f"{NONE} memory"], strict=True)),
            aim=Aim(limit=APART_AIM, judged=Judged.EVERY_RUN),
        ),
        Row(what="helper process after its calls: memory (VmRSS)", unit="MiB", runs=tuple(seen["helper memory"])),
        *(Row(what=f"{who}: start to OK", unit="ms", runs=tuple(seen[f"{who} start"])) for who in (NONE, AWS)),
        Row(what="with a target of AWS to without: start to OK", unit="ratio", runs=_ratios(seen, "start")),
        Row(what=f"{BOTO}: start to the first answer", unit="ms", runs=tuple(seen[f"{BOTO} start"])),
        Row(what="OK to registered", unit="s", runs=tuple(seen["register"])),
        Row(what="`leave` to deregistered", unit="ms", runs=tuple(seen["deregister"])),
        Row(what="`leave` to the end of the command", unit="s", runs=tuple(seen["leave"])),
        Row(
            what="calls of one node in an hour at rest",
            unit="calls",
            runs=hours,
            aim=Aim(limit=CALLS_AIM, judged=Judged.EVERY_RUN),
        ),
    ]
    return Figure(
        title="What it costs to be a target",
        method="Real daemons, farms of one, in a network namespace of their own, by turns: one without a [[target]], "
        "one with a target group of AWS, and for comparison an interpreter that has boto3, makes one client, asks once "
        "and sleeps. The API is a stand-in on loopback that answers at once, so these times are what hcsidecar adds to "
        f"those of the cloud. Memory by VmRSS, {SETTLE:g} s after the registration or the first OK, of the daemon and "
        "of all that it has started then; that of the helper process right after the registration. OK to registered "
        "has 5 s in it for which Ready must have lasted. `leave` is the command line in a process of its own, its "
        "start included; meanwhile the health URL is asked as by a balancer, with 5 ms between two questions, so that "
        "its drain ends on evidence. Calls at rest are counted on a virtual clock: the same "
        f"Reconciler, with the default poll of {Backoff().poll:g} s, in the second hour of a registered "
        f"node, {len(hours)} seeds.",
        tables=(Table(title="Target of a balancer", rows=tuple(rows)),),
    )


def _without(directory: Path, here: Namespace, seen: dict[str, list[float]]) -> None:
    began = time.monotonic()
    node = CheckedNode(directory, here, name="bench", address="127.0.0.1")
    try:
        with here.entered():
            seen[f"{NONE} start"].append(1000 * (node.await_health(OK) - began))
        time.sleep(SETTLE)
        seen[f"{NONE} memory"].append(_memory_of_all(node.daemon.pid))
    finally:
        node.stop()


def _with(directory: Path, here: Namespace, group: TargetGroup, seen: dict[str, list[float]]) -> None:
    tables = f'[[target]]\ntype = "aws"\ngroup = "{ARN}"\nport = 80\nendpoint_url = "{group.url}"\n'
    began = time.monotonic()
    node = CheckedNode(directory, here, name="bench", address="127.0.0.1", tables=tables)
    try:
        with here.entered():
            ok_at = node.await_health(OK)
        seen[f"{AWS} start"].append(1000 * (ok_at - began))
        await_true(lambda: group.when("RegisterTargets") is not None, what="the node is registered", limit=60)
        seen["register"].append((group.when("RegisterTargets") or 0.0) - ok_at)
        seen["helper memory"].append(sum(memory(child)[0] for child in children(node.daemon.pid)))
        time.sleep(SETTLE)
        seen[f"{AWS} memory"].append(_memory_of_all(node.daemon.pid))
        began = time.monotonic()
        command = here.command(sys.executable, "-m", "hcsidecar", "leave", "--config", str(directory / "farm.toml"))
        leaving = start(*command)
        with here.entered():
            # As a balancer does: the drain ends when it has understood.
            await_true(lambda: node.health() != OK and leaving.poll() is not None, what="it has left", limit=60)
        seen["leave"].append(time.monotonic() - began)
        seen["deregister"].append(1000 * ((group.when("DeregisterTargets") or 0.0) - began))
        with here.entered():
            node.await_health(NOT_FOUND)
    finally:
        node.stop()


def _memory_of_all(pid: int) -> float:
    return memory(pid)[0] + sum(memory(child)[0] for child in children(pid))


def _boto_alone(here: Namespace, group: TargetGroup, seen: dict[str, list[float]]) -> None:
    began = time.monotonic()
    read, write = os.pipe()
    with os.fdopen(read) as said:
        program = start(*here.command(sys.executable, "-c", _BOTO_PROGRAM, group.url, ARN), output=write)
        os.close(write)
        try:
            said.readline()
            seen[f"{BOTO} start"].append(1000 * (time.monotonic() - began))
            seen[f"{BOTO} memory"].append(memory(program.pid)[0])
        finally:
            end(program)


def _ratios(seen: dict[str, list[float]], what: str) -> tuple[float, ...]:
    return tuple(more / less for more, less in zip(seen[f"{AWS} {what}"], seen[f"{NONE} {what}"], strict=True))


def _calls_in_an_hour(seed: int) -> int:
    """Count the calls in the second hour of a node that is registered and healthy."""
    now = 0.0
    reconciler = Reconciler(name="bench", kind="aws", policy="member", pace=Backoff(), chance=Random(seed), now=now)
    reconciler.follow(Situation(word=Word.START, ready=True, in_view=True), now=now)
    presence, calls = Presence.ABSENT, 0
    while now < 7200.0:
        reconciler.tick(now=now)
        match reconciler.due(now=now):
            case Call.OBSERVE:
                reconciler.observed(Observation(presence=presence), now=now)
                calls += now >= 3600.0
            case Call.REGISTER as call:
                presence = Presence.HEALTHY
                reconciler.done(call, now=now)
                calls += now >= 3600.0
        now = max(now, reconciler.next_at(now=now))
    return calls
