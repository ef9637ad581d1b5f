"""An application with scripts, for tests of its life: made, served, stopped, each by one call."""

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.scripts import ScriptPlan
from hcsidecar.core.farmfile.application_table import ApplicationTable

HTTP = CheckRule(name="HTTP", action="restart")
ROUTER = CheckRule(name="ROUTER", pre=True, action="wait")
NOBODY = {"connections": {80: 0}, "probers": ()}
OTHERS_SERVE = Outlook(others_serve=True, is_last=False)


def module(*checks, past=None, lame_duck=10.0, last_stays=False, **table):
    plan = ScriptPlan(table=ApplicationTable(start="bin/start", stop="bin/stop", **table))
    made = Lifecycle(checks=checks or [HTTP], lame_duck=lame_duck, plan=plan, past=past, last_stays=last_stays)
    made.see_farm(OTHERS_SERVE, now=0)
    return made


def told(events):
    return [event.message for event in events]


def ends(made, failure=None, lines=(), *, now):
    """End the script that runs."""
    return made.script_ended(made.state.script.number, failure, lines, now=now)


def runs(made):
    """Give what runs now: name and arguments."""
    return (made.state.script.script.value, *made.state.script.arguments) if made.state.script else None


def serving(*checks, now=0.0, **options):
    made = module(*checks, **options)
    made.begin(now=now)
    if made.state.script and made.state.script.script == "prestart":
        ends(made, now=now)
    for check in checks:
        if check.pre:
            made.check_result(name=check.name, complaint=None, now=now)
    ends(made, now=now)
    for check in checks or [HTTP]:
        made.check_result(name=check.name, complaint=None, now=now)
    assert made.state.serving
    return made


def stopped(made, *, now):
    """Let the stop scripts end well, and nobody be left before them."""
    made.evidence(**NOBODY, now=now)
    assert runs(made)[0] == "stop"
    return ends(made, now=now)


def fail_once(made, *, now):
    """Let the check fail, the application be restarted, and the check pass."""
    made.check_result(name="HTTP", complaint=f"failure at {now}", now=now)
    stopped(made, now=now)
    made.tick(now=now + 40)
    ends(made, now=now + 40)
    made.check_result(name="HTTP", complaint=None, now=now + 40)
    assert made.state.serving
