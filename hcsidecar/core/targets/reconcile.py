"""What this node is to be at one load balancer, and the next call that makes it so: the reconcile loop, as a machine.

A balancer is led by its level, not by edges: whatever happened in between, a look at it (`OBSERVE`) says what is, the
situation of the node says what should be, and the difference is one call. After each call that changes something comes
another look, so that an answer which got lost, or an accepted call that did nothing, is found out.

What should be follows from membership, not from health: with policy `member` a node is registered once it is Ready
and in the view, and stays so whatever its health; a balancer that knows all nodes of a farm can still choose among the
bad ones when none is good. A stop, a restart or a crash changes nothing either. `leave` deregisters. With policy
`healthy` a node that has not been Ready for `hold_down` is deregistered as well. With `observe` nothing is ever
changed.

A wish must hold for a while before it costs a call, so that flapping costs none. After a failure comes a pause, the
longer the more failures in a row, and drawn at random, since all nodes of a farm share one limit of calls. A person's
`leave` waits for neither. If somebody else keeps undoing what this loop does, it puts that right more and more rarely,
and raises an alarm.

`follow` takes the situation, `due` gives the call to be made now, and `observed`, `done` or `failed` says how it went;
`tick` does what time brings. They give the events to be told.

`now` is in seconds of the monotonic clock, `chance` the source of what is random.
"""

from collections import Counter, deque
from dataclasses import dataclass
from math import inf
from random import Random

from hcsidecar.core.events import Event, Level
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Desired, Policy, Situation, what_to_wish
from hcsidecar.core.targets.documents import TargetFailure, TargetStatus
from hcsidecar.core.targets.registration import Call, DesiredState, Observation, Presence, Trouble

_FIRST_REPETITION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """The latest failure, until a call works again."""

    call: Call
    trouble: Trouble
    text: str
    at: float


class Reconciler:
    """The loop of one target."""

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        policy: Policy,
        pace: Backoff,
        chance: Random,
        now: float,
        tells_first: bool = False,
    ) -> None:
        self.name = name
        self._kind = kind
        "The `type` of the farm file: only to be told."
        self._policy = policy
        self._pace = pace
        self._chance = chance
        self._tells_first = tells_first
        "The balancer must have drained this node before it answers NOT FOUND."
        self._situation = Situation()
        self._unready_since = now
        self._wanted = Desired(wish=DesiredState.AS_IT_IS, why="the daemon has just started")
        self._wished_at = now
        self._seen: Observation | None = None
        self._seen_at = -inf
        self._must_look = True
        "What was seen last is no ground for a change."
        self._look_at = now + chance.uniform(0.0, min(pace.soon, pace.poll))
        self._settling = 0.0
        "Seconds to the next look, while what has been changed takes effect; 0 at rest."
        self._not_before = -inf
        self._in_a_row = 0
        "Failures."
        self._fruitless = 0
        "Changes in a row that were accepted and did nothing."
        self._failure: CallFailure | None = None
        self._worked_at: float | None = None
        self._calling: Call | None = None
        self._changed_blindly: tuple[Call, float] | None = None
        self._gone_at: float | None = None
        "When this node was deregistered, or was seen on its way out, since the wish for that."
        self._agreed = False
        "The balancer has shown what is wished, since it is wished."
        self._repairs: deque[float] = deque()
        "When somebody else has undone what is wished, within the window."
        self._told_late = False
        self.calls: Counter[Call] = Counter()
        self.failures: Counter[Trouble] = Counter()

    # What is wished

    def follow(self, situation: Situation, *, now: float) -> list[Event]:
        """Take how the node is."""
        if self._situation.ready and not situation.ready:
            self._unready_since = now
        self._situation = situation
        return self._make_a_wish(now)

    def _make_a_wish(self, now: float) -> list[Event]:
        unready = 0.0 if self._situation.ready else now - self._unready_since
        wanted = what_to_wish(self._policy, self._situation, unready=unready, unhealthy=self._pace.unhealthy)
        former, self._wanted = self._wanted, wanted
        if (wanted.wish, wanted.firm) == (former.wish, former.firm):
            return []
        self._wished_at = now
        self._agreed = self._told_late = False
        self._changed_blindly = self._gone_at = None
        self._fruitless = 0
        if not wanted.firm:
            return []
        # A person waits, and knows who else has a hand in it.
        self._repairs.clear()
        self._not_before, self._settling, self._look_at = now, self._pace.soon, now
        return [self._tell(f"is to be deregistered: {wanted.why}")]

    # What to do

    def tick(self, *, now: float) -> list[Event]:
        """Do what time has brought."""
        events = self._make_a_wish(now)
        is_late = self._wanted.firm and not self.has_left and now >= self._wished_at + self._pace.leave_budget
        if not is_late or self._told_late:
            return events
        self._told_late = True
        failure = f": {self._failure.text}" if self._failure else ""
        text = f"is not deregistered after {self._pace.leave_budget:g} s{failure}; goes on trying"
        return [*events, self._tell(text, Level.ERROR)]

    def due(self, *, now: float) -> Call | None:
        """Say which call is to be made now, if any; who asks makes it, and says how it went."""
        if self._calling is not None or now < self._not_before:
            return None
        call = self._change(now)
        if call is not None and (self._must_look or now - self._seen_at > self._pace.fresh):
            call = Call.OBSERVE
        if call is None and now >= self._look_at:
            call = Call.OBSERVE
        if call is not None:
            self._calling = call
            self.calls[call] += 1
        return call

    def next_at(self, *, now: float) -> float:
        """Say when `tick` and `due` are to be asked next, unless something happens; inf while a call is made."""
        if self._calling is not None:
            return inf
        ticks = [self._wished_at + self._pace.leave_budget] if self._wanted.firm else []
        if self._policy == "healthy":
            ticks.append(self._unready_since + self._pace.unhealthy)
        call = self._look_at
        if self._change(now) is not None:
            call = now
        elif self._held_at() > now:
            call = min(call, self._held_at())
        return min([max(now, self._not_before, call), *(at for at in ticks if at > now)])

    def _held_at(self) -> float:
        """Say from when on the wish may cost a call."""
        # To be absent is wished by the operator, or after a while that was long enough.
        return self._wished_at + (self._pace.hold_up if self._wanted.wish is DesiredState.PRESENT else 0.0)

    def _change(self, now: float) -> Call | None:
        """Say what would make the balancer as is wished, by the latest look."""
        seen = self._seen
        if seen is None or self._wanted.wish is DesiredState.AS_IT_IS or now < self._held_at():
            return None
        if self.is_contested(now=now) and now < self._repairs[-1] + self._pace.resync:
            return None
        call = Call.REGISTER if self._wanted.wish is DesiredState.PRESENT else Call.DEREGISTER
        if seen.presence is Presence.UNSEEN:
            last, at = self._changed_blindly or (None, -inf)
            if last is not call or (call is Call.REGISTER and now >= at + self._pace.resync):
                return call
        elif seen.is_there != (self._wanted.wish is DesiredState.PRESENT) and (
            self._wanted.firm or seen.presence is not Presence.UNKNOWN
        ):
            return call
        # The new identity first: no moment without this node.
        return Call.RETIRE if seen.former and self._agrees(seen) else None

    def is_contested(self, *, now: float) -> bool:
        """Tell whether somebody else keeps undoing what is wished."""
        while self._repairs and now >= self._repairs[0] + self._pace.window:
            self._repairs.popleft()
        return len(self._repairs) > self._pace.repairs

    # What came of it

    def observed(self, seen: Observation, *, now: float) -> list[Event]:
        """Take what a look has shown."""
        before, self._seen, self._seen_at, self._must_look = self._seen, seen, now, False
        events = self._worked(Call.OBSERVE, now)
        if before is None or (seen.presence, seen.former) != (before.presence, before.former):
            events.append(self._tell_seen(seen))
        agrees = self._agrees(seen)
        if agrees is False:
            events += self._disagrees(seen, now)
        elif agrees:
            self._agreed = True
            self._fruitless = self._fruitless if seen.former else 0
        if self._wanted.wish is DesiredState.ABSENT and seen.presence is Presence.DRAINING and self._gone_at is None:
            self._gone_at = now
        self._look_at = now + self._next_look(seen, now)
        return events

    def _agrees(self, seen: Observation) -> bool | None:
        """Tell whether the balancer is as is wished; None where that cannot be told, or nothing is wished."""
        if self._wanted.wish is DesiredState.AS_IT_IS or seen.presence in (Presence.UNSEEN, Presence.UNKNOWN):
            return None
        return seen.is_there == (self._wanted.wish is DesiredState.PRESENT)

    def _disagrees(self, seen: Observation, now: float) -> list[Event]:
        if not self._agreed:
            return []
        # It was as is wished, and this loop has not changed it.
        self._agreed = False
        if seen.forgot:
            return [self._tell("the balancer has begun anew, and forgotten this node")]
        self._repairs.append(now)
        done = "deregistered" if self._wanted.wish is DesiredState.PRESENT else "registered"
        what = f"somebody else has {done} this node ({seen.presence})"
        if not self.is_contested(now=now):
            return [self._tell(f"{what}; puts that right", Level.WARNING)]
        text = (
            f"{what}, {len(self._repairs)} times within {self._pace.window / 60:g} minutes; from now on puts that right"
            f" every {self._pace.resync / 60:g} minutes only: find out who does that, or set policy observe"
        )
        return [self._tell(text, Level.ERROR)]

    def _next_look(self, seen: Observation, now: float) -> float:
        """Give the seconds to the next look."""
        pace = self._pace
        undecided = seen.presence is Presence.PENDING or self._agrees(seen) is False
        draining = seen.presence is Presence.DRAINING and self._wanted.wish is DesiredState.ABSENT
        if self._settling and (undecided or draining):
            wait = self._settling
            longest = pace.poll
            if undecided and self._waits_for_person(now):
                longest = pace.leaving
            elif draining and self._tells_first:
                longest = 4 * pace.leaving
            self._settling = min(2 * wait, longest)
            return wait
        self._settling = 0.0
        return pace.poll * self._chance.uniform(0.8, 1.2)

    def done(self, call: Call, *, now: float) -> list[Event]:
        """Take that a change has been accepted."""
        events = self._worked(call, now)
        self._must_look = True
        self._settling = self._pace.soon / 4 if self._waits_for_person(now) else self._pace.soon
        # A balancer may need a moment until it shows what it has accepted.
        self._look_at = self._not_before = now + self._settling
        if call is Call.DEREGISTER and self._gone_at is None:
            self._gone_at = now
        if self._seen is not None and self._seen.presence is Presence.UNSEEN:
            again = self._changed_blindly is not None and self._changed_blindly[0] is call
            self._changed_blindly = (call, now)
            return (
                events if again else [*events, self._tell(f"{call}ed: {self._wanted.why}, without the right to see it")]
            )
        is_wished = call is not (Call.DEREGISTER if self._wanted.wish is DesiredState.PRESENT else Call.REGISTER)
        self._fruitless += is_wished
        if self._fruitless <= 1:
            return [*events, self._tell(self._what_was_done(call))]
        # Accepted before as well, and nothing came of it.
        self._not_before = now + self._pause(self._fruitless, self._pace.soon)
        level = Level.WARNING if self._fruitless == _FIRST_REPETITION else Level.DEBUG
        text = f"{self._what_was_done(call)}, again: the balancer had accepted that, and does not show it"
        return [*events, self._tell(text, level)]

    def _what_was_done(self, call: Call) -> str:
        if call is Call.RETIRE and self._seen is not None:
            return f"deregistered what this node was before: {', '.join(self._seen.former)}"
        return f"{call}ed: {self._wanted.why}"

    def failed(self, call: Call, trouble: Trouble, text: str, *, now: float) -> list[Event]:
        """Take that a call has failed."""
        self._calling = None
        self.failures[trouble] += 1
        # It may have taken effect all the same: look before anything is changed.
        self._must_look = True
        self._in_a_row += 1
        pace = self._pace
        if trouble in (Trouble.AUTH, Trouble.CONFIG):
            longest = min(
                pace.longest_pause_for_people, pace.first_pause_for_people * 2.0 ** min(self._in_a_row - 1, 9)
            )
            pause = longest * self._chance.uniform(0.8, 1.2)
        else:
            pause = self._pause(self._in_a_row, pace.soon if trouble is Trouble.THROTTLE else pace.soon / 2)
        if self._waits_for_person(now):
            pause = min(pause, pace.leaving)
        self._not_before = now + pause
        former, self._failure = self._failure, CallFailure(call=call, trouble=trouble, text=text, at=now)
        if former is not None and (former.call, former.trouble, former.text) == (call, trouble, text):
            return []
        level = Level.ERROR if trouble in (Trouble.AUTH, Trouble.CONFIG) else Level.WARNING
        return [self._tell(f"{call} failed: {text}", level)]

    def _pause(self, times: int, first: float) -> float:
        """Draw a pause in seconds: anything up to a limit that doubles, so that many nodes spread out."""
        limit = min(self._pace.longest_pause, first * 2.0 ** min(times, 12))
        return self._chance.uniform(limit / 10, limit)

    def _worked(self, call: Call, now: float) -> list[Event]:
        self._calling, self._worked_at = None, now
        former = self._failure
        if former is not None and former.call is not call and self._change(now) is former.call:
            # That one may look says nothing of the change that failed, and is to be tried again.
            return []
        self._in_a_row, self._failure = 0, None
        if former is None:
            return []
        return [self._tell(f"answers again, after {former.trouble}: {former.text}")]

    # Leaving

    def _waits_for_person(self, now: float) -> bool:
        return self._wanted.firm and now < self._wished_at + self._pace.leave_budget

    @property
    def is_leaving(self) -> bool:
        """True when the operator has said that this node is to be deregistered, whether it is or not."""
        return self._wanted.firm

    @property
    def has_left(self) -> bool:
        """True when this node is deregistered, as the operator has said."""
        if not self._wanted.firm or self._seen is None:
            return False
        if self._seen.presence is Presence.UNSEEN:
            return self._changed_blindly is not None and self._changed_blindly[0] is Call.DEREGISTER
        # What was seen before the wish says nothing about it.
        return not self._seen.is_there and not self._must_look and self._seen_at >= self._wished_at

    @property
    def unfinished(self) -> str | None:
        """What of a `leave` is still to be done here, in plain words; None when nothing is."""
        if not self._wanted.firm or self.has_left:
            return None
        failure = f", {self._failure.text}" if self._failure else ""
        return f"target {self.name} to be deregistered{failure}"

    def keeps_serving_for(self, *, now: float) -> str | None:
        """Say why a node that leaves must still answer OK for this balancer's sake; None when it need not."""
        if not self._tells_first or not self._wanted.firm:
            return None
        pace = self._pace
        if not self.has_left and self._gone_at is None:
            return self.unfinished if self._waits_for_person(now) else None
        if self._gone_at is None:
            return None  # it was not registered
        passed = now - self._gone_at
        out_of_sight = self._seen is None or self._seen.presence is Presence.UNSEEN or now - self._seen_at > pace.blind
        drained = out_of_sight or (self.has_left and self._seen is not None and self._seen.presence is Presence.ABSENT)
        if (passed >= pace.last_connections and drained) or passed >= pace.longest_draining:
            return None
        return f"target {self.name} to be drained by its balancer"

    # What people see

    def status(self, *, now: float) -> TargetStatus:
        """Say what is wished, what was seen, and what goes wrong."""
        seen, failure = self._seen, self._failure
        next_at = self.next_at(now=now)
        return TargetStatus(
            type=self._kind,
            name=self.name,
            policy=self._policy,
            desired=self._wanted.wish.value,
            why=self._wanted.why,
            observed=None if seen is None else str(seen.presence),
            reason="" if seen is None else seen.reason,
            former=() if seen is None else tuple(seen.former),
            observed_age=None if seen is None else round(now - self._seen_at, 1),
            last_success_age=None if self._worked_at is None else round(now - self._worked_at, 1),
            error=None
            if failure is None
            else TargetFailure(trouble=failure.trouble.value, text=failure.text, age=round(now - failure.at, 1)),
            next_try=None if next_at == inf else round(max(0.0, next_at - now), 1),
            calls={call.value: self.calls[call] for call in Call},
            failures={trouble.value: self.failures[trouble] for trouble in Trouble},
            contested=self.is_contested(now=now),
            leaving=self._wanted.firm and not self.has_left,
        )

    def _tell_seen(self, seen: Observation) -> Event:
        former = f"; registered too, from before: {', '.join(seen.former)}" if seen.former else ""
        reason = f" ({seen.reason})" if seen.reason else ""
        level = Level.WARNING if seen.presence in (Presence.UNUSED, Presence.UNSEEN) else Level.INFO
        return self._tell(f"this node is {seen.presence} there{reason}{former}", level)

    def _tell(self, text: str, level: Level = Level.INFO) -> Event:
        return Event(level=level, origin="target", message=f"{self.name}: {text}")
