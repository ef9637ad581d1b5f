"""Drives this node's module: commands, checks and time go into its lifecycle, what that decides goes out at once."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Protocol

from hcsidecar.core.events import Event
from hcsidecar.core.lifecycle import Lifecycle, Outcome, Word
from hcsidecar.core.status import ModuleState

EVIDENCE_TIMEOUT = 2.0
"Seconds after which a count of connections is taken as impossible: the limit of the drain must not wait for it."
EVIDENCE_INTERVAL = 0.25
"Seconds between two looks at who is still there while the module drains."


class Evidence(Protocol):
    """Who still uses a draining module."""

    async def connections(self) -> Mapping[int, int] | None:
        """Count the connections to the checked ports; None when that cannot be told."""

    def probers(self, *, now: float) -> Iterable[str]:
        """Describe the probers that have not had their fill of NOT FOUND."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the rest of the daemon needs to know of the module."""

    state: ModuleState
    name: str
    "Role and status as people know them: UP(Ready)."
    serving: bool
    "The health URL answers 200."
    wants_share: bool


class Module:
    """One `Lifecycle` on the running loop.

    `publish` is called in the instant of every change, before anything else happens; `tell` takes events, `remember`
    the operator's last word, `new_round` is told to begin all checks anew (or, with None, to end them).
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        *,
        evidence: Evidence,
        publish: Callable[[Published], None],
        tell: Callable[[Event], None],
        remember: Callable[[Word], None],
        new_round: Callable[[int | None], None],
    ) -> None:
        self._lifecycle = lifecycle
        self._evidence = evidence
        self._publish = publish
        self._tell = tell
        self._remember = remember
        self._new_round = new_round
        self._round: int | None = None
        self._last_word = lifecycle.last_word
        self._published: Published | None = None
        self._changed = asyncio.Event()
        self.finished = asyncio.Event()
        "Set when the daemon may exit."

    async def run(self) -> None:
        """Begin as the operator's last word says, then follow time and evidence until finished."""
        loop = asyncio.get_running_loop()
        self._take(self._lifecycle.begin(now=loop.time()))
        while not self.finished.is_set():
            now = loop.time()
            self._take(self._lifecycle.tick(now=now))
            if self._lifecycle.draining:
                connections = await self._count_connections()
                now = loop.time()
                probers = tuple(self._evidence.probers(now=now))
                self._take(self._lifecycle.evidence(connections=connections, probers=probers, now=now))
            wait = self._lifecycle.next_tick_at() - loop.time()
            if self._lifecycle.draining:
                wait = min(wait, EVIDENCE_INTERVAL)
            await self._wait_for_change(wait)

    def command(self, give: Callable[[Lifecycle, float], Outcome]) -> Outcome:
        """Give the lifecycle a command; what it decides has taken effect when this returns."""
        outcome = give(self._lifecycle, asyncio.get_running_loop().time())
        self._take(outcome.events)
        return outcome

    def check_result(self, name: str, complaint: str | None) -> None:
        """Take what a check says."""
        self._take(self._lifecycle.check_result(name=name, complaint=complaint))

    def shutdown(self, by: str) -> None:
        """Drain and stop for the end of the daemon; a second time: stop at once."""
        self._take(self._lifecycle.shutdown(now=asyncio.get_running_loop().time(), by=by))

    def look(self) -> Published:
        """Say what the module is now."""
        lifecycle = self._lifecycle
        return Published(
            state=ModuleState(
                role=lifecycle.role,
                status=lifecycle.status,
                draining=lifecycle.draining,
                reason=lifecycle.why_not_ready() or "",
                waits_for=lifecycle.waits_for,
            ),
            name=lifecycle.state,
            serving=lifecycle.serving,
            wants_share=lifecycle.wants_share,
        )

    def _take(self, events: Iterable[Event]) -> None:
        published = self.look()
        if published != self._published:
            self._published = published
            self._publish(published)
        for event in events:
            self._tell(event)
        if self._lifecycle.last_word is not self._last_word:
            self._last_word = self._lifecycle.last_word
            self._remember(self._last_word)
        if self._lifecycle.check_round != self._round:
            self._round = self._lifecycle.check_round
            self._new_round(self._round)
        if self._lifecycle.finished:
            self.finished.set()
        self._changed.set()

    async def _count_connections(self) -> Mapping[int, int] | None:
        try:
            async with asyncio.timeout(EVIDENCE_TIMEOUT):
                return await self._evidence.connections()
        except TimeoutError:
            return None

    async def _wait_for_change(self, seconds: float) -> None:
        self._changed.clear()
        if self.finished.is_set():
            return
        try:
            async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return
