"""Reads targets of other packages' kinds in a process of its own, so that the daemon does not load these packages.

As a program (`python -m hcsidecar.farmfile.other_kinds_process`) it reads the [[target]] tables from its standard input
and writes the facts that their models find in them to its standard output, both as MessagePack.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.target_tables import TARGETS, OtherTarget, ReadTarget, Target
from hcsidecar.core.farmfile.values import FROM_FILE
from hcsidecar.core.targets.desired_state import Policy

LIMIT: Final = 60.0
"Seconds to start an interpreter and import the packages."
COMMAND: Final = (sys.executable, "-P", "-m", "hcsidecar.farmfile.other_kinds_process")
_MEMORY: Final = 512 * 1_048_576


class _Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a target that the daemon needs."""

    type: str
    label: str
    policy: Policy
    poll: float
    hold_down: float
    deregisters_first: bool
    call_limit: float
    longest_pause: float


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    problems: tuple[Problem, ...] = ()
    targets: tuple[_Facts, ...] = ()
    "In the order of the file; all targets, unless there are problems."


def read_apart(
    targets: Sequence[Target], tables: Sequence[object], *, command: Sequence[str] = COMMAND, limit: float = LIMIT
) -> tuple[Target, ...] | tuple[Problem, ...]:
    """Return the targets, those of other kinds as their models read them, or all problems; `tables` is as written.

    Blocks until the packages are loaded.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own
            command, input=msgspec.msgpack.encode(tables), capture_output=True, check=True, timeout=limit
        )
        found = msgspec.msgpack.decode(done.stdout, type=_Found)
    except subprocess.TimeoutExpired:
        return (_why_not_read(f"they are not loaded after {limit:g} s"),)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().split("\n")[-1].strip()
        return (_why_not_read(last or f"the process that does so ends with status {error.returncode}"),)
    except (OSError, TypeError, OverflowError, msgspec.DecodeError) as error:
        return (_why_not_read(f"{type(error).__name__}: {error}"),)
    if found.problems:
        return found.problems
    return tuple(
        _read_target(facts) if isinstance(target, OtherTarget) else target
        for target, facts in zip(targets, found.targets, strict=True)
    )


def _why_not_read(why: str) -> Problem:
    return Problem(path="target", message=f"is of kinds that other packages add, which cannot be read: {why}")


def _read_target(facts: _Facts) -> ReadTarget:
    return ReadTarget.model_construct(
        type=facts.type,
        name=facts.label,
        policy=facts.policy,
        poll=facts.poll,
        hold_down=facts.hold_down,
        first=facts.deregisters_first,
        limit=facts.call_limit,
        pause=facts.longest_pause,
    )


def _read(tables: Sequence[Mapping[str, Any]]) -> _Found:
    from hcsidecar.farmfile.other_kinds import read_other_kinds  # noqa: PLC0415 - of no use to the daemon

    targets = [TARGETS.get(table["type"], OtherTarget).model_validate(table, context=FROM_FILE) for table in tables]
    read = read_other_kinds(targets, tables)
    problems = tuple(each for each in read if isinstance(each, Problem))
    if problems:
        return _Found(problems=problems)
    return _Found(targets=tuple(_facts(each) for each in read if isinstance(each, Target)))


def _facts(target: Target) -> _Facts:
    return _Facts(
        type=target.type,
        label=target.label,
        policy=target.policy,
        poll=target.poll,
        hold_down=target.hold_down,
        deregisters_first=target.deregisters_first,
        call_limit=target.call_limit,
        longest_pause=target.longest_pause,
    )


def main() -> None:
    """Read the tables from standard input and write the facts to standard output."""
    from hcsidecar.system.privileges import give_up_powers  # noqa: PLC0415 - of no use to the daemon

    give_up_powers(memory=_MEMORY)
    # The packages may print; that must not become part of the answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    found = msgspec.msgpack.encode(_read(msgspec.msgpack.decode(sys.stdin.buffer.read())))
    with os.fdopen(answer, "wb") as output:
        output.write(found)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
