"""The operator's commands to an application, and what each does in each phase.

Each command returns an `Outcome` and never raises. `by` names who gave the command. Commands that start, stop or
restart the application also reset the restart budget. Commands change no state themselves: they call `Lifecycle`.
"""

from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.outcome import Outcome, accept, refuse
from hcsidecar.core.application.states import Aim, Phase, Word
from hcsidecar.core.events import Event

_EXITING = "the daemon is shutting down; `hcsidecar run` starts it again"
_STOPPED = "the application is stopped; `hcsidecar start` starts it"
_STOPPING = "the application is stopping; `hcsidecar start` cancels that"


def start(lifecycle: Lifecycle, *, now: float, by: str) -> Outcome:
    """Start the application. If it drains, end the drain; if it stops, cancel the stop or start it again after that."""
    state = lifecycle.state
    if state.exiting or state.finished:
        return refuse(_EXITING)
    lifecycle.forgive()
    match state.phase:
        case Phase.STOPPED:
            lifecycle.keep_word(Word.START)
            return accept("the application starts", *lifecycle.start(f"start by {by}", now=now))
        case Phase.SERVING:
            lifecycle.keep_word(Word.START)
            return accept(f"the application is started already: {state.name}")
        case Phase.DRAINING:
            return resume(lifecycle, now=now, by=by)
        case Phase.PARTING | Phase.FINAL_DRAIN if state.aim is Aim.STOP:
            lifecycle.keep_word(Word.START)
            return accept("the stop is cancelled", *lifecycle.call_off(f"start by {by}, the stop is cancelled"))
        case Phase.CLOSING | Phase.CLEARING if state.aim is Aim.STOP:
            lifecycle.keep_word(Word.START)
            events = lifecycle.redirect(Aim.STOPSTART, f"start by {by}, after the stop")
            return accept("the application will start as soon as it has stopped", *events)
        case Phase.WAITING:
            outcome = _after_start(lifecycle, Word.START, by=by)
            return accept(outcome.text, *outcome.events, *lifecycle.tick(now=now))
        case _:
            return _after_start(lifecycle, Word.START, by=by)


def stop(lifecycle: Lifecycle, *, now: float, by: str) -> Outcome:
    """Drain, then stop. A second stop ends the drain at once."""
    # A stop after a leave must not register the node with its balancers again.
    word = Word.LEAVE if lifecycle.state.last_word is Word.LEAVE else Word.STOP
    return _stop(lifecycle, word, "stop", now=now, by=by)


def leave(lifecycle: Lifecycle, *, now: float, by: str, tells_first: bool = False) -> Outcome:
    """Drain and stop the application; the node is deregistered at its balancers.

    With `tells_first`, the balancers must drain this node before the application drains. Only an application that takes
    traffic waits for that.
    """
    state = lifecycle.state
    if tells_first and state.phase is Phase.SERVING and state.serving:
        lifecycle.forgive()
        lifecycle.keep_word(Word.LEAVE)
        text = "the application leaves, and serves until its balancers have drained it"
        return accept(text, *lifecycle.part(f"leave by {by}"))
    return _stop(lifecycle, Word.LEAVE, "leave", now=now, by=by)


def _stop(lifecycle: Lifecycle, word: Word, said: str, *, now: float, by: str) -> Outcome:
    state = lifecycle.state
    again = state.last_word in (Word.STOP, Word.LEAVE) and state.aim is Aim.STOP
    if state.finished:
        return refuse(_EXITING)
    lifecycle.forgive()
    lifecycle.keep_word(word)
    match state.phase:
        case Phase.STOPPED:
            return accept("the application is stopped already")
        case Phase.SERVING | Phase.DRAINING:
            return accept("the application stops", *lifecycle.drain_then(Aim.STOP, f"{said} by {by}", now=now))
        case Phase.PARTING:
            why = f"{said} by {by}, no more waiting for balancers"
            text = "the application stops, whatever its balancers do"
            return accept(text, *lifecycle.drain_then(Aim.STOP, why, now=now))
        case Phase.PREPARING | Phase.WAITING | Phase.STARTING:
            return accept("the application stops", *lifecycle.turn_back(Aim.STOP, f"{said} by {by}", now=now))
        case _ if again:
            events = lifecycle.hurry(f"{said} again by {by}, no more waiting", now=now)
            return accept("the application stops at once", *events)
        case _ if state.exiting:
            text = "the daemon is shutting down; the application will stay stopped when it is back"
            return accept(text, *lifecycle.redirect(Aim.STOP, f"{said} by {by}, to outlast the shutdown"))
        case _:
            instead = ", instead of the restart" if state.aim in (Aim.RESTART, Aim.STOPSTART) else ""
            return accept("the application stops", *lifecycle.redirect(Aim.STOP, f"{said} by {by}{instead}"))


def restart(lifecycle: Lifecycle, *, now: float, by: str, aim: Aim = Aim.RESTART) -> Outcome:
    """Drain, stop and start the application. If the operator has drained it, it is drained after the restart too.

    `aim` is RESTART or STOPSTART.
    """
    state = lifecycle.state
    if state.exiting or state.finished:
        return refuse(_EXITING)
    match state.phase:
        case Phase.STOPPED | Phase.PREPARING | Phase.WAITING:
            return start(lifecycle, now=now, by=by)
        case Phase.SERVING | Phase.DRAINING:
            lifecycle.forgive()
            return accept("the application restarts", *lifecycle.drain_then(aim, f"{aim} by {by}", now=now))
        case Phase.PARTING:
            lifecycle.forgive()
            lifecycle.keep_word(Word.START)
            return accept(
                "the application restarts", *lifecycle.drain_then(aim, f"{aim} by {by}, instead of the stop", now=now)
            )
        case Phase.STARTING:
            lifecycle.forgive()
            return accept("the application restarts", *lifecycle.turn_back(aim, f"{aim} by {by}", now=now))
        case _ if state.aim in (Aim.STOP, Aim.WAIT):
            lifecycle.forgive()
            lifecycle.keep_word(Word.START)
            why = f"{aim} by {by}, instead of the {'stop' if state.aim is Aim.STOP else 'waiting'}"
            then = Aim.STOPSTART if state.phase is Phase.CLEARING else aim
            return accept("the application restarts", *lifecycle.redirect(then, why))
        case _:
            lifecycle.forgive()
            return accept("the application is restarting already")


def drain(lifecycle: Lifecycle, *, now: float, by: str) -> Outcome:
    """Ask for no new traffic from now on, but continue to serve."""
    state = lifecycle.state
    if state.exiting or state.finished:
        return refuse(_EXITING)
    match state.phase:
        case Phase.STOPPED:
            return refuse(_STOPPED)
        case Phase.SERVING:
            lifecycle.keep_word(Word.DRAIN)
            return accept("the application drains, and serves on", *lifecycle.start_draining(f"drain by {by}", now=now))
        case Phase.DRAINING:
            return accept("the application is draining already")
        case _ if state.aim is Aim.STOP:
            return refuse(_STOPPING)
        case _:
            return _after_start(lifecycle, Word.DRAIN, by=by)


def resume(lifecycle: Lifecycle, *, now: float, by: str) -> Outcome:
    """End a drain."""
    state = lifecycle.state
    if state.exiting or state.finished:
        return refuse(_EXITING)
    match state.phase:
        case Phase.STOPPED:
            return refuse(_STOPPED)
        case Phase.SERVING:
            return accept(f"the application is not draining: {state.name}")
        case Phase.DRAINING:
            lifecycle.keep_word(Word.START)
            return accept("the drain is over", *lifecycle.stop_draining(f"drain ended by {by}", now=now))
        case _ if state.aim is Aim.STOP:
            return refuse(_STOPPING)
        case _:
            return _after_start(lifecycle, Word.START, by=by)


def shutdown(lifecycle: Lifecycle, *, now: float, by: str) -> list[Event]:
    """Drain, then let the daemon end (SIGTERM). A second shutdown ends the drain at once.

    An application with scripts continues to run, unless it is already being stopped.
    """
    state = lifecycle.state
    again = state.exiting
    lifecycle.prepare_to_exit()
    match state.phase:
        case Phase.FINISHED:
            return []
        case Phase.STOPPED | Phase.PREPARING | Phase.WAITING | Phase.STARTING:
            return lifecycle.finish(f"shutdown by {by}", now=now)
        case Phase.SERVING | Phase.DRAINING:
            return lifecycle.drain_then(Aim.EXIT, f"shutdown by {by}", now=now)
        case Phase.PARTING:
            return lifecycle.drain_then(Aim.STOP, f"shutdown by {by}, no more waiting for balancers", now=now)
        case _ if again:
            return lifecycle.finish(f"shutdown again by {by}, no more waiting", now=now)
        case Phase.FINAL_DRAIN if state.aim is not Aim.STOP:
            return lifecycle.redirect(Aim.EXIT, f"shutdown by {by}, to follow the stop")
        case _:
            return [lifecycle.tell(f"shutdown by {by}, to follow the stop")]


def reset_budget(lifecycle: Lifecycle, *, by: str) -> Outcome:
    """Reset the restart budget."""
    return accept("the restart budget is reset", *lifecycle.reset_budget(f"the restart budget was reset by {by}"))


def _after_start(lifecycle: Lifecycle, word: Word, *, by: str) -> Outcome:
    """Set whether an application that is starting or restarting takes traffic or drains after that."""
    going = "restarting" if lifecycle.state.aim is not None else "starting"
    text = f"the application is {going} and will " + ("drain then" if word is Word.DRAIN else "take traffic then")
    if lifecycle.state.last_word is word:
        return accept(text)
    lifecycle.keep_word(word)
    return accept(text, lifecycle.tell(f"{word} by {by}, to follow the {going.removesuffix('ing')}"))
