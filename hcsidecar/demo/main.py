"""The entry point of the demo: runs the live view or the story, and returns an exit status."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from hcsidecar.core.terminals import takes_colours
from hcsidecar.demo.chronicle import Chronicle, Happening
from hcsidecar.demo.interruption import Interrupted, run
from hcsidecar.demo.live import watch_live
from hcsidecar.demo.programs import DemoError
from hcsidecar.demo.putting_up import put_up
from hcsidecar.demo.report import StoryStep, document, ending_text, step_text
from hcsidecar.demo.screen import happening_text
from hcsidecar.demo.story import Story

WELL = 0
BROKEN = 1
"Exit status if a promise was broken."
NOT_UP = 2
"Exit status if the farm could not be started."


def show_live() -> int:
    """Show the farm until the user ends it."""
    try:
        return _run(watch_live(_console()))
    except Interrupted:
        return WELL


def play_story(*, as_json: bool) -> int:
    """Play the story. Report it as it goes, for people, or as one document at the end, for programs."""
    out = _console(soft_wrap=True)
    try:
        return _run(_story(out, as_json=as_json))
    except Interrupted as interrupted:
        sys.stderr.write(f"Interrupted by {interrupted}; nothing is left behind.\n")
        return interrupted.exit_status


def _console(*, soft_wrap: bool = False) -> Console:
    colours: Literal["auto"] | None = "auto" if takes_colours(os.environ) else None
    return Console(highlight=False, soft_wrap=soft_wrap, color_system=colours)


def _run(main: Coroutine[Any, Any, int]) -> int:
    status = NOT_UP
    try:
        status = run(main)
    except* DemoError as group:
        for error in _errors(group):
            sys.stderr.write(f"{error}\n")
    return status


async def _story(out: Console, *, as_json: bool) -> int:
    loop = asyncio.get_running_loop()
    since = loop.time()

    def show(happening: Happening) -> None:
        if not as_json:
            out.print(happening_text(happening, since=since))

    def tell(number: int, step: StoryStep) -> None:
        if not as_json:
            out.print(Text(f"\n{step_text(number, step)}\n"))

    async with put_up(Chronicle(clock=loop.time, show=show)) as stage:
        steps = await Story(stage, tell=tell).play()
    if as_json:
        sys.stdout.write(json.dumps(document(steps, vip=stage.plan.vip), indent=2) + "\n")
    else:
        out.print(Text(ending_text(steps)))
    return WELL if all(step.kept for step in steps) else BROKEN


def _errors(group: BaseExceptionGroup[DemoError]) -> list[DemoError]:
    found = []
    for error in group.exceptions:
        found += _errors(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
