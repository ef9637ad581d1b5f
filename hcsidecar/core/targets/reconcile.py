"""The reconcile loop of one target, as a state machine: it compares desired and observed state and makes the next call.

The loop is level-triggered, not edge-triggered. Whatever happened in between, a look at the balancer (`OBSERVE`) shows
the present state, the situation of the node gives the desired state, and one call is made for the difference. Another
look follows each call that changes something. It detects a lost answer, and a call that was accepted without effect.

The desired state depends on membership, not on health. With policy `member`, a node registers once it is Ready and in
the view, and stays registered whatever its health. So if no node is healthy, the balancer still knows all nodes and can
choose among them. A stop, a restart or a crash changes nothing either; `leave` deregisters. With policy `healthy`, a
node that has not been Ready for `hold_down` also deregisters. With `observe`, the loop never changes anything.

A desired state must last for a while before a call is made, so that flapping causes no calls. After a failure, the loop
pauses. The pause grows with the failures in a row, and is random, since all nodes of a farm share one limit of calls.
The `leave` of an operator waits for neither. If somebody else keeps undoing what the loop does, the loop repairs it
less and less often, and logs an error.

`follow` takes the situation of the node. `due` returns the call to make now, and `observed`, `done` or `failed` takes
its result. `tick` acts on what is due. These methods return the events to report.

`now` is in seconds of the monotonic clock; `chance` is the source of random numbers.
"""

from collections import Counter, deque
from dataclasses import dataclass
from math import inf
from random import Random

from hcsidecar.core.events import Event, Level
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Desired, Policy, Situation, desired_state
from hcsidecar.core.targets.documents import TargetFailure, TargetStatus
from hcsidecar.core.targets.registration import Call, DesiredState, Observation, Presence, Trouble

_FIRST_REPETITION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """The latest failure; it is kept until a call works again."""

    call: Call
    trouble: Trouble
    text: str
    at: float


class Reconciler:
    """The reconcile loop of one target.

    `kind` is the `type` in the farm file, for reports only. With `tells_first`, the balancer must drain this node
    before the node answers NOT FOUND.
    """

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        policy: Policy,
        backoff: Backoff,
        chance: Random,
        now: float,
        tells_first: bool = False,
    ) -> None:
        self.name = name
        self._kind = kind
        self._policy = policy
        self._backoff = backoff
        self._chance = chance
        self._tells_first = tells_first
        self._situation = Situation()
        self._unready_since = now
        self._desired = Desired(state=DesiredState.AS_IT_IS, why="the daemon has just started")
        self._desired_since = now
        self._seen: Observation | None = None
        self._seen_at = -inf
        self._must_look = True
        "The last look is too old to change anything because of it."
        self._look_at = now + chance.uniform(0.0, min(backoff.soon, backoff.poll))
        self._settling = 0.0
        "Seconds to the next look while a change takes effect; 0 at other times."
        self._not_before = -inf
        self._in_a_row = 0
        "The number of failures in a row."
        self._fruitless = 0
        "The number of changes in a row that were accepted but had no effect."
        self._failure: CallFailure | None = None
        self._worked_at: float | None = None
        self._calling: Call | None = None
        self._changed_blindly: tuple[Call, float] | None = None
        self._gone_at: float | None = None
        "When this node was deregistered, or was first seen draining, since that is desired."
        self._agreed = False
        "The balancer has shown the desired state since that was last changed."
        self._repairs: deque[float] = deque()
        "When somebody else has undone the desired state, within the window."
        self._told_late = False
        self.calls: Counter[Call] = Counter()
        self.failures: Counter[Trouble] = Counter()

    # The desired state

    def follow(self, situation: Situation, *, now: float) -> list[Event]:
        """Take the situation of the node."""
        if self._situation.ready and not situation.ready:
            self._unready_since = now
        self._situation = situation
        return self._update_desired(now)

    def adjust(self, *, policy: Policy, backoff: Backoff, tells_first: bool, now: float) -> list[Event]:
        """Take a changed table of the same target, and look soon: what was seen may be of another identity."""
        self._policy, self._backoff, self._tells_first = policy, backoff, tells_first
        self._must_look, self._look_at = True, now
        return self._update_desired(now)

    def _update_desired(self, now: float) -> list[Event]:
        unready = 0.0 if self._situation.ready else now - self._unready_since
        desired = desired_state(self._policy, self._situation, unready=unready, unhealthy=self._backoff.unhealthy)
        former, self._desired = self._desired, desired
        if (desired.state, desired.firm) == (former.state, former.firm):
            return []
        self._desired_since = now
        self._agreed = self._told_late = False
        self._changed_blindly = self._gone_at = None
        self._fruitless = 0
        if not desired.firm:
            return []
        # The operator waits, and knows who else changes the balancer.
        self._repairs.clear()
        self._not_before, self._settling, self._look_at = now, self._backoff.soon, now
        return [self._tell(f"is to be deregistered: {desired.why}")]

    # The next call

    def tick(self, *, now: float) -> list[Event]:
        """Act on everything that is due by now."""
        events = self._update_desired(now)
        is_late = self._desired.firm and not self.has_left and now >= self._desired_since + self._backoff.leave_budget
        if not is_late or self._told_late:
            return events
        self._told_late = True
        failure = f": {self._failure.text}" if self._failure else ""
        then = "deregister it by hand" if self._situation.removed else "keeps trying"
        text = f"is not deregistered after {self._backoff.leave_budget:g} s{failure}; {then}"
        return [*events, self._tell(text, Level.ERROR)]

    def due(self, *, now: float) -> Call | None:
        """Return the call to make now, or None. The caller makes it and reports the result."""
        if self._calling is not None or now < self._not_before:
            return None
        call = self._change(now)
        if call is not None and (self._must_look or now - self._seen_at > self._backoff.fresh):
            call = Call.OBSERVE
        if call is None and now >= self._look_at:
            call = Call.OBSERVE
        if call is not None:
            self._calling = call
            self.calls[call] += 1
        return call

    def next_at(self, *, now: float) -> float:
        """Return when to call `tick` and `due` next, if nothing else happens; inf while a call is in progress."""
        if self._calling is not None:
            return inf
        ticks = [self._desired_since + self._backoff.leave_budget] if self._desired.firm else []
        if self._policy == "healthy":
            ticks.append(self._unready_since + self._backoff.unhealthy)
        call = self._look_at
        if self._change(now) is not None:
            call = now
        elif self._due_since() > now:
            call = min(call, self._due_since())
        return min([max(now, self._not_before, call), *(at for at in ticks if at > now)])

    def _due_since(self) -> float:
        """Return the time from which the desired state may cause a call."""
        # ABSENT is desired only by the operator, or after `unhealthy` seconds, so it needs no further delay.
        return self._desired_since + (self._backoff.hold_up if self._desired.state is DesiredState.PRESENT else 0.0)

    def _change(self, now: float) -> Call | None:
        """Return the call that leads to the desired state, by the latest look, or None."""
        seen = self._seen
        if seen is None or self._desired.state is DesiredState.AS_IT_IS or now < self._due_since():
            return None
        if self.is_contested(now=now) and now < self._repairs[-1] + self._backoff.resync:
            return None
        call = Call.REGISTER if self._desired.state is DesiredState.PRESENT else Call.DEREGISTER
        if seen.presence is Presence.UNSEEN:
            last, at = self._changed_blindly or (None, -inf)
            if last is not call or (call is Call.REGISTER and now >= at + self._backoff.resync):
                return call
        elif seen.is_there != (self._desired.state is DesiredState.PRESENT) and (
            self._desired.firm or seen.presence is not Presence.UNKNOWN
        ):
            return call
        # The new identity is registered first, so that the balancer is never without this node.
        return Call.RETIRE if seen.former and self._agrees(seen) else None

    def is_contested(self, *, now: float) -> bool:
        """Return whether somebody else keeps undoing the desired state."""
        while self._repairs and now >= self._repairs[0] + self._backoff.window:
            self._repairs.popleft()
        return len(self._repairs) > self._backoff.repairs

    # The results of calls

    def observed(self, seen: Observation, *, now: float) -> list[Event]:
        """Take the result of a look."""
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
        if self._desired.state is DesiredState.ABSENT and seen.presence is Presence.DRAINING and self._gone_at is None:
            self._gone_at = now
        self._look_at = now + self._next_look(seen, now)
        return events

    def _agrees(self, seen: Observation) -> bool | None:
        """Return whether an observation is the desired state; None if that is unknown or no state is desired."""
        if self._desired.state is DesiredState.AS_IT_IS or seen.presence in (Presence.UNSEEN, Presence.UNKNOWN):
            return None
        return seen.is_there == (self._desired.state is DesiredState.PRESENT)

    def _disagrees(self, seen: Observation, now: float) -> list[Event]:
        if not self._agreed:
            return []
        # The target was in the desired state, and this loop has not changed it.
        self._agreed = False
        if seen.forgot:
            return [self._tell("the balancer has restarted and forgotten this node")]
        self._repairs.append(now)
        done = "deregistered" if self._desired.state is DesiredState.PRESENT else "registered"
        what = f"somebody else has {done} this node ({seen.presence})"
        if not self.is_contested(now=now):
            return [self._tell(f"{what}; repairs that", Level.WARNING)]
        text = (
            f"{what}, {len(self._repairs)} times within {self._backoff.window / 60:g} minutes; from now on repairs that"
            f" only every {self._backoff.resync / 60:g} minutes: find out who does that, or set policy observe"
        )
        return [self._tell(text, Level.ERROR)]

    def _next_look(self, seen: Observation, now: float) -> float:
        """Return the seconds to the next look."""
        backoff = self._backoff
        undecided = seen.presence is Presence.PENDING or self._agrees(seen) is False
        draining = seen.presence is Presence.DRAINING and self._desired.state is DesiredState.ABSENT
        if self._settling and (undecided or draining):
            wait = self._settling
            longest = backoff.poll
            if undecided and self._waits_for_person(now):
                longest = backoff.leaving
            elif draining and self._tells_first:
                longest = 4 * backoff.leaving
            self._settling = min(2 * wait, longest)
            return wait
        self._settling = 0.0
        return backoff.poll * self._chance.uniform(0.8, 1.2)

    def done(self, call: Call, *, now: float) -> list[Event]:
        """Take the acceptance of a change."""
        events = self._worked(call, now)
        self._must_look = True
        self._settling = self._backoff.soon / 4 if self._waits_for_person(now) else self._backoff.soon
        # A balancer may need a moment before it shows what it has accepted.
        self._look_at = self._not_before = now + self._settling
        if call is Call.DEREGISTER and self._gone_at is None:
            self._gone_at = now
        if self._seen is not None and self._seen.presence is Presence.UNSEEN:
            again = self._changed_blindly is not None and self._changed_blindly[0] is call
            self._changed_blindly = (call, now)
            return (
                events
                if again
                else [*events, self._tell(f"{call}ed: {self._desired.why}, without the right to see it")]
            )
        is_intended = call is not (Call.DEREGISTER if self._desired.state is DesiredState.PRESENT else Call.REGISTER)
        self._fruitless += is_intended
        if self._fruitless <= 1:
            return [*events, self._tell(self._what_was_done(call))]
        # The balancer had accepted the same change before, without effect.
        self._not_before = now + self._pause(self._fruitless, self._backoff.soon)
        level = Level.WARNING if self._fruitless == _FIRST_REPETITION else Level.DEBUG
        text = f"{self._what_was_done(call)}, again: the balancer had accepted that but does not show it"
        return [*events, self._tell(text, level)]

    def _what_was_done(self, call: Call) -> str:
        if call is Call.RETIRE and self._seen is not None:
            return f"deregistered the former identities of this node: {', '.join(self._seen.former)}"
        return f"{call}ed: {self._desired.why}"

    def failed(self, call: Call, trouble: Trouble, text: str, *, now: float) -> list[Event]:
        """Take the failure of a call."""
        self._calling = None
        self.failures[trouble] += 1
        # The call may have taken effect nevertheless, so a look is needed before the next change.
        self._must_look = True
        self._in_a_row += 1
        backoff = self._backoff
        if trouble in (Trouble.AUTH, Trouble.CONFIG):
            longest = min(
                backoff.longest_pause_for_people, backoff.first_pause_for_people * 2.0 ** min(self._in_a_row - 1, 9)
            )
            pause = longest * self._chance.uniform(0.8, 1.2)
        else:
            pause = self._pause(self._in_a_row, backoff.soon if trouble is Trouble.THROTTLE else backoff.soon / 2)
        if self._waits_for_person(now):
            pause = min(pause, backoff.leaving)
        self._not_before = now + pause
        former, self._failure = self._failure, CallFailure(call=call, trouble=trouble, text=text, at=now)
        if former is not None and (former.call, former.trouble, former.text) == (call, trouble, text):
            return []
        level = Level.ERROR if trouble in (Trouble.AUTH, Trouble.CONFIG) else Level.WARNING
        return [self._tell(f"{call} failed: {text}", level)]

    def _pause(self, times: int, first: float) -> float:
        """Return a random pause in seconds, below a limit that doubles, so that the calls of many nodes spread out."""
        limit = min(self._backoff.longest_pause, first * 2.0 ** min(times, 12))
        return self._chance.uniform(limit / 10, limit)

    def _worked(self, call: Call, now: float) -> list[Event]:
        self._calling, self._worked_at = None, now
        former = self._failure
        if former is not None and former.call is not call and self._change(now) is former.call:
            # A successful look proves nothing about the change that failed and is to be tried again.
            return []
        self._in_a_row, self._failure = 0, None
        if former is None:
            return []
        return [self._tell(f"answers again, after {former.trouble}: {former.text}")]

    # Leaving

    def _waits_for_person(self, now: float) -> bool:
        return self._desired.firm and now < self._desired_since + self._backoff.leave_budget

    @property
    def is_leaving(self) -> bool:
        """True if the operator has asked for the deregistration of this node, whether it is done or not."""
        return self._desired.firm

    @property
    def has_left(self) -> bool:
        """True if this node is deregistered, as the operator has asked."""
        if not self._desired.firm or self._seen is None:
            return False
        if self._seen.presence is Presence.UNSEEN:
            return self._changed_blindly is not None and self._changed_blindly[0] is Call.DEREGISTER
        # An observation from before the operator's command does not count.
        return not self._seen.is_there and not self._must_look and self._seen_at >= self._desired_since

    def is_over(self, *, now: float) -> bool:
        """Return whether a target that the farm file no longer has may be forgotten: deregistered, or out of time."""
        if not self._situation.removed or self._calling is not None:
            return False
        is_late = now >= self._desired_since + self._backoff.leave_budget
        return not self._desired.firm or self.has_left or is_late

    @property
    def unfinished(self) -> str | None:
        """What a `leave` still waits for here, as text for people; None if nothing."""
        if not self._desired.firm or self.has_left:
            return None
        failure = f", {self._failure.text}" if self._failure else ""
        return f"target {self.name} to be deregistered{failure}"

    def keeps_serving_for(self, *, now: float) -> str | None:
        """Return why a node that leaves must still answer OK because of this balancer, or None if it need not."""
        if not self._tells_first or not self._desired.firm:
            return None
        backoff = self._backoff
        if not self.has_left and self._gone_at is None:
            return self.unfinished if self._waits_for_person(now) else None
        if self._gone_at is None:
            return None  # it was not registered
        passed = now - self._gone_at
        out_of_sight = (
            self._seen is None or self._seen.presence is Presence.UNSEEN or now - self._seen_at > backoff.blind
        )
        drained = out_of_sight or (self.has_left and self._seen is not None and self._seen.presence is Presence.ABSENT)
        if (passed >= backoff.last_connections and drained) or passed >= backoff.longest_draining:
            return None
        return f"target {self.name} to be drained by its balancer"

    # Reports

    def status(self, *, now: float) -> TargetStatus:
        """Return the document on this target: its desired and observed state, and its failures."""
        seen, failure = self._seen, self._failure
        next_at = self.next_at(now=now)
        return TargetStatus(
            type=self._kind,
            name=self.name,
            policy=self._policy,
            desired=self._desired.state.value,
            why=self._desired.why,
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
            leaving=self._desired.firm and not self.has_left,
        )

    def _tell_seen(self, seen: Observation) -> Event:
        former = f"; registered too, from before: {', '.join(seen.former)}" if seen.former else ""
        reason = f" ({seen.reason})" if seen.reason else ""
        level = Level.WARNING if seen.presence in (Presence.UNUSED, Presence.UNSEEN) else Level.INFO
        return self._tell(f"this node is {seen.presence} there{reason}{former}", level)

    def _tell(self, text: str, level: Level = Level.INFO) -> Event:
        return Event(level=level, origin="target", message=f"{self.name}: {text}")
