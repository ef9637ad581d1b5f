"""A reconcile loop on a virtual clock, against a balancer in memory: what it is asked, answers, and lets happen."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random

from hcsidecar.core.application.states import Word
from hcsidecar.core.events import Event
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Policy, Situation
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Call, Observation, Presence, TargetError, Trouble

READY = Situation(word=Word.START, ready=True, in_view=True)
UNREADY = Situation(word=Word.START, ready=False, in_view=True)
LEFT = Situation(word=Word.LEAVE, ready=False, in_view=False)


@dataclass
class Balancer:
    """One node's place at a balancer that keeps (registered, draining) and answers at once."""

    presence: Presence = Presence.ABSENT
    initial: Presence = Presence.HEALTHY
    "What a registration leads to."
    draining_lasts: float = 300.0
    blind: bool = False
    inert: bool = False
    "Accepts everything, and does nothing."
    former: tuple[str, ...] = ()
    forgot: bool = False
    "It has begun anew; told once."
    asked: list[tuple[float, Call]] = field(default_factory=list)
    fault: Callable[[Call, float], TargetError | None] = lambda call, now: None
    "Gives the failure of a call, which then has no effect."
    lost: int = 0
    "So many changes take effect, and their answers are lost."
    _gone_at: float = inf

    def answer(self, call: Call, now: float) -> Observation | None:
        """Answer a call; raises TargetError."""
        self.asked.append((now, call))
        if (error := self.fault(call, now)) is not None:
            raise error
        if self.presence is Presence.DRAINING and now >= self._gone_at + self.draining_lasts:
            self.presence = Presence.ABSENT
        match call:
            case Call.OBSERVE:
                presence = Presence.UNSEEN if self.blind else self.presence
                forgot, self.forgot = self.forgot, False
                return Observation(presence=presence, former=self.former, forgot=forgot)
            case Call.REGISTER if not self.inert:
                self.presence = self.initial
            case Call.DEREGISTER if not self.inert and self.presence not in (Presence.ABSENT, Presence.DRAINING):
                self.take_out(now)
            case Call.RETIRE:
                self.former = ()
        if self.lost:
            self.lost -= 1
            raise TargetError(Trouble.RETRY, "the answer was lost")
        return None

    def take_out(self, now: float) -> None:
        """Deregister the node, by whomever."""
        self.presence, self._gone_at = Presence.DRAINING, now

    def count(self, call: Call) -> int:
        """Count the calls of a kind."""
        return sum(asked is call for _, asked in self.asked)

    @property
    def changes(self) -> list[Call]:
        """The calls that would change something, in their order."""
        return [call for _, call in self.asked if call is not Call.OBSERVE]


class Loop:
    """One reconciler and its balancer; `run` lets virtual seconds pass."""

    def __init__(
        self,
        *,
        policy: Policy = "member",
        backoff: Backoff | None = None,
        seed: int = 0,
        tells_first: bool = False,
        balancer: Balancer | None = None,
        now: float = 1000.0,
    ) -> None:
        self.now = now
        self.balancer = balancer or Balancer()
        self.events: list[Event] = []
        self.reconciler = Reconciler(
            name="web",
            kind="haproxy",
            policy=policy,
            backoff=backoff or Backoff(),
            chance=Random(seed),
            now=now,
            tells_first=tells_first,
        )

    def follow(self, situation: Situation) -> None:
        self.events += self.reconciler.follow(situation, now=self.now)

    def run(self, seconds: float) -> None:
        """Do all that is due within these seconds; fails if it never comes to rest."""
        end = self.now + seconds
        for _ in range(100_000):
            self._step()
            due_at = self.reconciler.next_at(now=self.now)
            if due_at > end:
                self.now = end
                return
            self.now = max(due_at, self.now)
        raise AssertionError("the loop turns without an end")

    def _step(self) -> None:
        now, reconciler = self.now, self.reconciler
        self.events += reconciler.tick(now=now)
        call = reconciler.due(now=now)
        if call is None:
            return
        assert reconciler.due(now=now) is None, "two calls at once"
        try:
            seen = self.balancer.answer(call, now)
        except TargetError as error:
            self.events += reconciler.failed(call, error.trouble, error.text, now=now)
            return
        self.events += reconciler.observed(seen, now=now) if seen is not None else reconciler.done(call, now=now)

    @property
    def said(self) -> list[str]:
        """The events as lines."""
        return [f"{event.level} {event.message}" for event in self.events]

    def said_of(self, text: str) -> int:
        """Count the events that say something."""
        return sum(text in line for line in self.said)
