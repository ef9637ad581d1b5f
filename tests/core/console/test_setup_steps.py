"""The way from a new server to a served page."""

import tomllib

import pytest

from hcsidecar.core.console.documents import FarmOverview, JoinLine, NodeOverview
from hcsidecar.core.console.setup_steps import SetupProgress, SetupStep
from hcsidecar.core.farmfile.farm_file import read

NODES = '[farm]\nname = "a"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'
APPLICATION = '[application]\nstart = "bin/start"\nstop = "bin/stop"\n'
CHECK = '[[check]]\ntype = "tcp"\nname = "A"\naddress = "127.0.0.1"\nport = 80\n'


def progress(text="", *, nodes=(("web1", True),), **more):
    overview = FarmOverview(
        farm="a",
        node="web1",
        version="1",
        keep_ready=1,
        lame_duck=10,
        nodes=tuple(NodeOverview(name=name, answers=answers) for name, answers in nodes),
    )
    farm = read(tomllib.loads(NODES + text)) if text is not None else None
    return SetupProgress(overview=overview, farm=farm, **{"has_revision": True, "has_draft": True, **more})


@pytest.mark.parametrize(
    ("made", "done", "following"),
    [
        (progress(None, has_revision=False, has_draft=False), [], "nodes"),
        (progress(None, nodes=(("web1", True), ("web2", False)), has_revision=False), [], "nodes"),
        (progress(None, nodes=(("web1", True), ("web2", True)), has_revision=False), ["nodes"], "revision"),
        (progress(has_draft=False), ["revision"], "nodes"),
        (progress(APPLICATION), ["revision", "application", "clients"], "nodes"),
        (progress(CHECK), ["revision", "application", "clients", "checks", "scripts"], "nodes"),
        (
            progress(
                APPLICATION + CHECK,
                nodes=(("web1", True), ("web2", True)),
                files=("farm.toml", "bin/start", "bin/stop"),
            ),
            ["nodes", "revision", "application", "clients", "checks", "scripts"],
            "apply",
        ),
        (progress(CHECK, nodes=(("web1", True), ("web2", True)), has_draft=False), list(SetupStep), None),
        (
            progress(CHECK, nodes=(("web1", True), ("web2", True)), has_draft=False, waiting=("application",)),
            [step for step in SetupStep if step != "restart"],
            "restart",
        ),
    ],
)
def test_each_step_is_done_next_or_later(made, done, following):
    states = made.states()
    assert list(states) == list(SetupStep)
    assert [step for step, state in states.items() if state == "done"] == done
    assert next((step for step, state in states.items() if state == "next"), None) == following
    assert set(states.values()) <= {"done", "next", "later"}


def test_scripts_that_are_not_there_are_named():
    assert progress(APPLICATION, files=("bin/stop",)).missing_scripts == ("bin/start",)
    assert progress(None).missing_scripts == ()


def test_the_line_for_a_new_server_does_not_show_in_a_log():
    assert "secret" not in repr(JoinLine(command="hcsidecar join 192.0.2.11 --token secret", valid=900))
