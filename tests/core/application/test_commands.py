"""Every command in every state: whether it is accepted, what it answers, and what the state is then."""

import ast
import inspect

import pytest
from plain_application import NOBODY, ORDERS, READY, STOP, TRANSIENT, module, ready, told

from hcsidecar.core.application import commands
from hcsidecar.core.application.commands import drain, leave, restart, shutdown, stop
from hcsidecar.core.application.lifecycle import MOVES
from hcsidecar.core.application.states import Phase


def in_state(phase):
    """Make a module that has come to a phase in the usual way."""
    made = ready("HTTP")
    match phase:
        case "stopped":
            stop(made, now=0, by="root")
            made.evidence(**NOBODY, now=1)
        case "left":
            leave(made, now=0, by="root")
            made.evidence(**NOBODY, now=1)
        case "parting":
            leave(made, now=0, by="root", tells_first=True)
        case "draining":
            drain(made, now=0, by="root")
        case "stopping":
            stop(made, now=0, by="root")
        case "restarting":
            restart(made, now=0, by="root")
        case "exiting":
            shutdown(made, now=0, by="SIGTERM")
        case "exiting after stop":
            stop(made, now=0, by="root")
            shutdown(made, now=0, by="SIGTERM")
        case "finished":
            shutdown(made, now=0, by="SIGTERM")
            made.evidence(**NOBODY, now=1)
    return made


SHUTTING_DOWN = "the daemon is shutting down; `hcsidecar run` starts it again"
IS_STOPPED = "the application is stopped; `hcsidecar start` starts it"
IS_PARTING = "the application leaves, and serves until its balancers have drained it"
STAYS_STOPPED = "the daemon is shutting down; the application will stay stopped when it is back"
IS_STOPPING = "the application is stopping; `hcsidecar start` cancels that"


# state before, command -> accepted, sentence, state after, draining after, last word after
TABLE = [
    ("stopped", "start", True, "the application starts", TRANSIENT, False, "start"),
    ("stopped", "stop", True, "the application is stopped already", STOP, False, "stop"),
    ("stopped", "restart", True, "the application starts", TRANSIENT, False, "start"),
    ("stopped", "drain", False, IS_STOPPED, STOP, False, "stop"),
    ("stopped", "resume", False, IS_STOPPED, STOP, False, "stop"),
    ("serving", "start", True, "the application is started already: UP(Ready)", READY, False, "start"),
    ("serving", "stop", True, "the application stops", TRANSIENT, True, "stop"),
    ("serving", "restart", True, "the application restarts", TRANSIENT, True, "start"),
    ("serving", "drain", True, "the application drains, and serves on", READY, True, "drain"),
    ("serving", "resume", True, "the application is not draining: UP(Ready)", READY, False, "start"),
    ("draining", "start", True, "the drain is over", READY, False, "start"),
    ("draining", "stop", True, "the application stops", TRANSIENT, True, "stop"),
    ("draining", "restart", True, "the application restarts", TRANSIENT, True, "drain"),
    ("draining", "drain", True, "the application is draining already", READY, True, "drain"),
    ("draining", "resume", True, "the drain is over", READY, False, "start"),
    ("stopping", "start", True, "the stop is cancelled", READY, False, "start"),
    ("stopping", "stop", True, "the application stops at once", STOP, False, "stop"),
    ("stopping", "restart", True, "the application restarts", TRANSIENT, True, "start"),
    ("stopping", "drain", False, IS_STOPPING, TRANSIENT, True, "stop"),
    ("stopping", "resume", False, IS_STOPPING, TRANSIENT, True, "stop"),
    ("restarting", "start", True, "the application is restarting and will take traffic then", TRANSIENT, True, "start"),
    ("restarting", "stop", True, "the application stops", TRANSIENT, True, "stop"),
    ("restarting", "restart", True, "the application is restarting already", TRANSIENT, True, "start"),
    ("restarting", "drain", True, "the application is restarting and will drain then", TRANSIENT, True, "drain"),
    (
        "restarting",
        "resume",
        True,
        "the application is restarting and will take traffic then",
        TRANSIENT,
        True,
        "start",
    ),
    ("stopped", "leave", True, "the application is stopped already", STOP, False, "leave"),
    ("left", "start", True, "the application starts", TRANSIENT, False, "start"),
    ("left", "stop", True, "the application is stopped already", STOP, False, "leave"),
    ("left", "drain", False, IS_STOPPED, STOP, False, "leave"),
    ("serving", "leave", True, "the application stops", TRANSIENT, True, "leave"),
    ("serving", "part", True, IS_PARTING, READY, False, "leave"),
    ("draining", "part", True, "the application stops", TRANSIENT, True, "leave"),
    ("stopping", "leave", True, "the application stops at once", STOP, False, "leave"),
    ("restarting", "part", True, "the application stops", TRANSIENT, True, "leave"),
    ("exiting", "part", True, STAYS_STOPPED, TRANSIENT, True, "leave"),
    ("finished", "part", False, SHUTTING_DOWN, STOP, False, "start"),
    ("parting", "start", True, "the stop is cancelled", READY, False, "start"),
    ("parting", "stop", True, "the application stops, whatever its balancers do", TRANSIENT, True, "leave"),
    ("parting", "leave", True, "the application stops, whatever its balancers do", TRANSIENT, True, "leave"),
    ("parting", "part", True, "the application stops, whatever its balancers do", TRANSIENT, True, "leave"),
    ("parting", "restart", True, "the application restarts", TRANSIENT, True, "start"),
    ("parting", "drain", False, IS_STOPPING, READY, False, "leave"),
    ("parting", "resume", False, IS_STOPPING, READY, False, "leave"),
    ("exiting", "start", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting", "stop", True, STAYS_STOPPED, TRANSIENT, True, "stop"),
    ("exiting", "restart", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting", "drain", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting", "resume", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting after stop", "stop", True, "the application stops at once", STOP, False, "stop"),
    ("finished", "start", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "stop", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "restart", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "drain", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "resume", False, SHUTTING_DOWN, STOP, False, "start"),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[1]} while {row[0]}")
def test_every_command_has_its_outcome_in_every_state(row):
    before, command, accepted, text, state, draining, last_word = row
    made = in_state(before)
    outcome = ORDERS[command](made, now=2, by="root")
    assert (outcome.accepted, outcome.text) == (accepted, text)
    assert (made.state.name, made.state.draining, made.state.last_word) == (state, draining, last_word)
    assert all("by root" in message for message in told(outcome.events))


SHUTDOWN = [
    ("stopped", ["STOP(NotReady): shutdown by SIGTERM"], True),
    ("serving", ["UP(Transient), draining: shutdown by SIGTERM, drains for 10 s at most"], False),
    ("draining", ["UP(Transient), draining: shutdown by SIGTERM, drains for 10 s at most"], False),
    ("stopping", ["UP(Transient), draining: shutdown by SIGTERM, to follow the stop"], False),
    ("restarting", ["UP(Transient), draining: shutdown by SIGTERM, to follow the stop"], False),
    (
        "parting",
        [
            "UP(Transient), draining: shutdown by SIGTERM, no more waiting for balancers, drains for 10 s at most",
        ],
        False,
    ),
    ("exiting", ["STOP(NotReady): stopped after 2.0 s, shutdown again by SIGTERM, no more waiting"], True),
    ("finished", [], True),
]


@pytest.mark.parametrize(("before", "messages", "finished"), SHUTDOWN, ids=[row[0] for row in SHUTDOWN])
def test_a_shutdown_has_its_outcome_in_every_state(before, messages, finished):
    made = in_state(before)
    last_word = made.state.last_word
    assert told(shutdown(made, now=2, by="SIGTERM")) == messages
    assert (made.state.finished, made.state.last_word) == (finished, last_word)


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("serving", None),
        ("draining", "drained by the operator"),
        ("stopping", "stopping"),
        ("restarting", "restarting"),
        ("exiting", "shutting down"),
        ("stopped", "stopped by the operator"),
        ("left", "stopped by the operator"),
        ("parting", None),
        ("finished", "shut down"),
    ],
)
def test_every_state_says_why_it_gets_no_traffic(phase, reason):
    assert in_state(phase).state.why_not_ready() == reason


def test_commands_change_the_state_only_by_methods_of_the_lifecycle():
    source = ast.walk(ast.parse(inspect.getsource(commands)))
    assert not [
        ast.unparse(node) for node in source if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]


def test_no_state_is_left_but_as_the_table_allows():
    made = module()
    shutdown(made, now=0, by="SIGTERM")
    with pytest.raises(RuntimeError, match="cannot go from FINISHED to PREPARING"):
        made.begin(now=1)


def test_nothing_goes_from_traffic_to_stop_without_draining():
    assert not {Phase.STOPPED, Phase.FINISHED} & MOVES[Phase.SERVING]
