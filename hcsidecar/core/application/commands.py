"""What an operator may say to a module, and what becomes of it wherever the module stands.

Each answers with an Outcome, and never raises; `by` says who gave the order. An order of the operator's also forgives
the failures of the past: the restart budget begins anew.
"""

from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.states import Aim, Outcome, Phase, Word, accept, refuse
from hcsidecar.core.events import Event

_EXITING = "the daemon is shutting down; `hcsidecar run` starts it again"
_STOPPED = "the module is stopped; `hcsidecar start` starts it"
_STOPPING = "the module is stopping; `hcsidecar start` calls that off"


def start(module: Lifecycle, *, now: float, by: str) -> Outcome:
    """Start the module; one that drains gets traffic again, a stop is called off."""
    if module.exiting or module.finished:
        return refuse(_EXITING)
    module.forgive()
    match module.phase:
        case Phase.STOPPED:
            module.last_word = Word.START
            return accept("the module starts", *module.start_anew(now, f"start by {by}"))
        case Phase.SERVING:
            module.last_word = Word.START
            return accept(f"the module is started already: {module.state}")
        case Phase.DRAINING:
            return resume(module, now=now, by=by)
        case Phase.PARTING | Phase.LEAVING if module.aim is Aim.STOP:
            module.last_word = Word.START
            module.call_off()
            return accept("the stop is called off", module.tell(f"start by {by}, the stop is called off{module.but()}"))
        case Phase.CLOSING | Phase.CLEARING if module.aim is Aim.STOP:
            module.last_word = Word.START
            module.aim = Aim.STOPSTART
            return accept(
                "the module will start as soon as it has stopped", module.tell(f"start by {by}, after the stop")
            )
        case Phase.WAITING:
            outcome = _afterwards(module, Word.START, by=by)
            return accept(outcome.text, *outcome.events, *module.tick(now=now))
        case _:
            return _afterwards(module, Word.START, by=by)


def stop(module: Lifecycle, *, now: float, by: str) -> Outcome:
    """Drain, then stop; said again to a module that is stopping: no more waiting."""
    # Who has left and is stopped has left all the same.
    return _stop(module, Word.LEAVE if module.last_word is Word.LEAVE else Word.STOP, "stop", now=now, by=by)


def leave(module: Lifecycle, *, now: float, by: str, tells_first: bool = False) -> Outcome:
    """Drain and stop, and be deregistered at balancers; with `tells_first` these must drain it before it does."""
    if tells_first and module.phase is Phase.SERVING and module.serving:
        if module.exiting:
            return refuse(_EXITING)
        module.forgive()
        module.last_word = Word.LEAVE
        return accept(
            "the module leaves, and serves until its balancers have drained it", *module.part(f"leave by {by}")
        )
    return _stop(module, Word.LEAVE, "leave", now=now, by=by)


def _stop(module: Lifecycle, word: Word, said: str, *, now: float, by: str) -> Outcome:
    again = module.last_word in (Word.STOP, Word.LEAVE) and module.aim is Aim.STOP
    if module.finished:
        return refuse(_EXITING)
    module.forgive()
    module.last_word = word
    match module.phase:
        case Phase.STOPPED:
            return accept("the module is stopped already")
        case Phase.SERVING | Phase.DRAINING:
            return accept("the module stops", *module.leave(Aim.STOP, f"{said} by {by}", now=now))
        case Phase.PARTING:
            why = f"{said} by {by}, no more waiting for balancers"
            return accept("the module stops, whatever its balancers do", *module.leave(Aim.STOP, why, now=now))
        case Phase.PREPARING | Phase.WAITING | Phase.STARTING:
            return accept("the module stops", *module.turn_back(Aim.STOP, f"{said} by {by}", now=now))
        case _ if again:
            return accept("the module stops at once", *module.hurry(f"{said} again by {by}, no more waiting", now=now))
        case _ if module.exiting:
            module.aim = Aim.STOP
            return accept(
                "the daemon is shutting down; the module will stay stopped when it is back",
                module.tell(f"{said} by {by}, to outlast the shutdown"),
            )
        case _:
            was, module.aim = module.aim, Aim.STOP
            instead = ", instead of the restart" if was in (Aim.RESTART, Aim.STOPSTART) else ""
            return accept("the module stops", module.tell(f"{said} by {by}{instead}"))


def restart(module: Lifecycle, *, now: float, by: str, aim: Aim = Aim.RESTART) -> Outcome:
    """Drain, stop, start; a module that the operator has drained comes back drained. `aim` may be STOPSTART."""
    if module.exiting or module.finished:
        return refuse(_EXITING)
    match module.phase:
        case Phase.STOPPED:
            return start(module, now=now, by=by)
        case Phase.SERVING | Phase.DRAINING:
            module.forgive()
            return accept("the module restarts", *module.leave(aim, f"{aim} by {by}", now=now))
        case Phase.PARTING:
            module.forgive()
            module.last_word = Word.START
            return accept("the module restarts", *module.leave(aim, f"{aim} by {by}, instead of the stop", now=now))
        case Phase.STARTING:
            module.forgive()
            return accept("the module restarts", *module.turn_back(aim, f"{aim} by {by}", now=now))
        case Phase.PREPARING | Phase.WAITING:
            return start(module, now=now, by=by)
        case _ if module.aim in (Aim.STOP, Aim.WAIT):
            module.forgive()
            was = "stop" if module.aim is Aim.STOP else "waiting"
            module.last_word = Word.START
            module.aim = Aim.STOPSTART if module.phase is Phase.CLEARING else aim
            return accept("the module restarts", module.tell(f"{aim} by {by}, instead of the {was}"))
        case _:
            module.forgive()
            return accept("the module is restarting already")


def drain(module: Lifecycle, *, now: float, by: str) -> Outcome:
    """Ask for no new traffic, from this instant on, and serve on."""
    if module.exiting or module.finished:
        return refuse(_EXITING)
    match module.phase:
        case Phase.STOPPED:
            return refuse(_STOPPED)
        case Phase.SERVING:
            module.last_word = Word.DRAIN
            module.start_draining(now=now)
            return accept("the module drains, and serves on", module.tell(f"drain by {by}"))
        case Phase.DRAINING:
            return accept("the module is draining already")
        case _ if module.aim is Aim.STOP:
            return refuse(_STOPPING)
        case _:
            return _afterwards(module, Word.DRAIN, by=by)


def resume(module: Lifecycle, *, now: float, by: str) -> Outcome:
    """End a drain."""
    if module.exiting or module.finished:
        return refuse(_EXITING)
    match module.phase:
        case Phase.STOPPED:
            return refuse(_STOPPED)
        case Phase.SERVING:
            return accept(f"the module is not draining: {module.state}")
        case Phase.DRAINING:
            module.last_word = Word.START
            seconds = module.stop_draining(now=now)
            return accept("the drain is over", module.tell(f"drain ended by {by} after {seconds:.1f} s{module.but()}"))
        case _ if module.aim is Aim.STOP:
            return refuse(_STOPPING)
        case _:
            return _afterwards(module, Word.START, by=by)


def shutdown(module: Lifecycle, *, now: float, by: str) -> list[Event]:
    """End the daemon (SIGTERM): drain, then `finished`; a second one: no more waiting.

    An application with scripts runs on, unless it is being stopped already.
    """
    again, module.exiting = module.exiting, True
    match module.phase:
        case Phase.FINISHED:
            return []
        case Phase.STOPPED | Phase.PREPARING | Phase.WAITING | Phase.STARTING:
            return module.finish(now, f"shutdown by {by}")
        case Phase.SERVING | Phase.DRAINING:
            return module.leave(Aim.EXIT, f"shutdown by {by}", now=now)
        case Phase.PARTING:
            return module.leave(Aim.STOP, f"shutdown by {by}, no more waiting for balancers", now=now)
        case _ if again:
            return module.finish(now, f"shutdown again by {by}, no more waiting")
        case Phase.LEAVING if module.aim is not Aim.STOP:
            module.aim = Aim.EXIT
    return [module.tell(f"shutdown by {by}, to follow the stop")]


def count_failure(module: Lifecycle, why: str, *, now: float) -> Outcome:
    """Count a failure that the application has mended by itself; refused when the budget is spent."""
    story = module.budget.spend(why, now=now)
    used, most = module.budget.used(now=now), module.budget.most
    return accept(f"{used} of {most} restarts") if story is None else refuse(f"the budget is spent: {story}")


def forgive(module: Lifecycle, *, by: str) -> Outcome:
    """Count failures anew."""
    module.budget.reset()
    return accept("no restart counts any more", module.tell(f"restarts are counted anew, says {by}"))


def _afterwards(module: Lifecycle, word: Word, *, by: str) -> Outcome:
    """Decide whether a module that starts or restarts takes traffic then."""
    going = "restarting" if module.aim is not None else "starting"
    text = f"the module is {going} and will " + ("drain then" if word is Word.DRAIN else "take traffic then")
    if module.last_word is word:
        return accept(text)
    module.last_word = word
    return accept(text, module.tell(f"{word} by {by}, to follow the {going.removesuffix('ing')}"))
