"""An application without scripts, for tests of its life."""

from functools import partial

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.commands import drain, leave, restart, resume, start, stop
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Word

ORDERS = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "drain": drain,
    "resume": resume,
    "leave": leave,
    "part": partial(leave, tells_first=True),
}
NOBODY = {"connections": {80: 0}, "probers": ()}


def module(*checks, lame_duck=10.0, last_word=Word.START):
    return Lifecycle(
        checks=[CheckRule(name=name) for name in checks], lame_duck=lame_duck, past=Past(last_word=last_word)
    )


def started(*checks, now=0.0, **options):
    made = module(*checks, **options)
    made.begin(now=now)
    return made


def ready(*checks, **options):
    made = started(*checks, **options)
    for name in checks:
        made.check_result(name=name, complaint=None, now=0)
    return made


def told(events):
    return [event.message for event in events]


STOP, TRANSIENT, READY = "STOP(NotReady)", "UP(Transient)", "UP(Ready)"
