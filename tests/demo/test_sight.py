"""What the demo makes of the words of daemons and HAProxy."""

import pytest

from hcsidecar.core.documents import FarmStatus, NodeStatus
from hcsidecar.demo.chronicle import Chronicle, read_daemon_line
from hcsidecar.demo.sight import (
    ServerAtHaproxy,
    best_status,
    condition,
    parse_targets,
    why_not_agreed,
    why_not_ready,
    why_still_served,
)

UP = NodeStatus(name="web1", alive=True, role="UP", status="Ready")
STOPPED = NodeStatus(name="web2", alive=True, role="STOP", status="NotReady", reason="stopped by the operator")
DEAD = NodeStatus(name="web3", alive=False, reason="silent for 2 s")

STATS = """\
# pxname,svname,qcur,status,check_status,check_code,last_chk
clients,FRONTEND,,OPEN,,,
web,web1,0,UP,L7OK,200,
web,web2,0,NOLB,L7OKC,404,"a, quoted"
web,web3,0,DOWN 1/2,L4CON,,
web,web4,0,NOLB,* L7OKC,0,
web,BACKEND,0,UP,,,
stats,BACKEND,0,UP,,,

"""


def seen_by(node, *rows, view=("web1",)):
    return FarmStatus(farm="demo", node=node, view=view, nodes=rows)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (UP, "UP(Ready)"),
        (STOPPED, "STOP"),
        (DEAD, "dead"),
        (NodeStatus(name="web1", alive=True, role="UP", status="NotReady"), "UP(NotReady)"),
        (NodeStatus(name="web1", alive=True, role="UP", status="Ready", draining=True), "UP(Ready), draining"),
    ],
)
def test_a_node_is_described_in_a_word_or_two(node, words):
    assert condition(node) == words


@pytest.mark.parametrize(
    ("reason", "waits_for", "text"),
    [
        ("", (), ""),
        ("stopping", (), "stopping"),
        ("", ("a prober",), "waits for a prober"),
        (
            "stopping",
            ("2 connections to port 80", "a prober"),
            "stopping; waits for 2 connections to port 80, a prober",
        ),
    ],
)
def test_why_a_node_is_not_ready_includes_what_it_waits_for(reason, waits_for, text):
    assert why_not_ready(NodeStatus(name="web1", alive=True, reason=reason, waits_for=waits_for)) == text


def test_a_node_speaks_for_itself_and_others_for_who_is_silent():
    own = NodeStatus(name="web2", alive=True, role="UP", status="Ready")
    documents = {"web1": seen_by("web1", UP, STOPPED, DEAD), "web2": seen_by("web2", UP, own, DEAD), "web3": None}
    assert best_status("web2", documents) is own
    assert best_status("web3", documents) is DEAD
    assert best_status("web3", {"web3": None}) is None


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ({"web1": seen_by("web1", UP, STOPPED, DEAD), "web2": seen_by("web2", UP, STOPPED, DEAD, view=())}, None),
        ({"web1": None}, "web1 does not answer"),
        (
            {"web1": seen_by("web1", UP, DEAD)},
            "web1 sees web2 as dead (not in the farm file of the daemon that was asked), not STOP",
        ),
        (
            {"web1": seen_by("web1", UP, STOPPED, DEAD, view=("web1", "web3"))},
            "web1 has web1, web3 in its view, not web1",
        ),
        ({"web1": seen_by("web1", UP, STOPPED, DEAD, view=())}, "web1 has nobody in its view, not web1"),
        ({"web2": seen_by("web2", UP, STOPPED, DEAD)}, "web2 has web1 in its view, not nobody"),
    ],
)
def test_daemons_agree_when_every_one_of_them_sees_the_same(documents, why):
    assert why_not_agreed(documents, {"web1": "UP(Ready)", "web2": "STOP", "web3": "dead"}) == why


HUNG = NodeStatus(name="web1", alive=True, role="UP", status="Transient")


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ({"web1": seen_by("web1", HUNG, view=()), "web2": seen_by("web2", HUNG, view=("web2",))}, None),
        ({"web1": None}, "web1 does not answer"),
        ({"web2": seen_by("web2", UP, view=("web2",))}, "web2 sees web1 as UP(Ready)"),
        ({"web2": seen_by("web2", HUNG, view=("web1", "web2"))}, "web2 has web1 in its view"),
    ],
)
def test_a_hang_is_known_when_no_daemon_takes_the_server_as_ready(documents, why):
    assert why_still_served(documents, "web1") == why


def test_haproxys_servers_are_read_from_its_statistics():
    assert parse_targets(STATS) == {
        "web1": ServerAtHaproxy(state="UP", probe="L7OK/200"),
        "web2": ServerAtHaproxy(state="NOLB", probe="L7OKC/404"),
        "web3": ServerAtHaproxy(state="DOWN 1/2", probe="L4CON"),
        "web4": ServerAtHaproxy(state="NOLB", probe="L7OKC"),
    }


@pytest.mark.parametrize("answer", ["", "\n", "Unknown command.\n", "# pxname,svname\nweb"])
def test_no_statistics_are_no_servers(answer):
    assert parse_targets(answer) == {}


@pytest.mark.parametrize(
    ("line", "text", "grave"),
    [
        (
            '{"time":"2026-01-01T00:00:00Z","node":"web1","level":"info","origin":"application","message":"UP(Ready)"}',
            "application: UP(Ready)",
            False,
        ),
        (
            '{"time":"2026-01-01T00:00:00Z","node":"web1","level":"error","origin":"daemon","message":"oh"}',
            "daemon: oh",
            True,
        ),
        ("Traceback (most recent call last):", "Traceback (most recent call last):", True),
        ('{"level": "info"}', '{"level": "info"}', True),
    ],
)
def test_a_daemons_line_is_its_log_or_a_last_cry(line, text, grave):
    assert read_daemon_line(line) == (text, grave)


def test_a_chronicle_hands_on_what_happens_and_remembers_it():
    clock = iter([1.0, 2.0, 3.0, 4.0])
    shown = []
    chronicle = Chronicle(clock=lambda: next(clock), show=shown.append)
    chronicle.write("haproxy", "Server web/web2 is UP")
    chronicle.take_daemon_line("web2", "")
    chronicle.take_daemon_line("web2", "oh")
    chronicle.write("haproxy", "Server web/web2 is DOWN", grave=True)
    assert [happening.at for happening in shown] == [1, 2, 3]
    assert [happening.text for happening in chronicle.last(2)] == ["oh", "Server web/web2 is DOWN"]
    assert chronicle.lines("haproxy", since=2) == ["Server web/web2 is DOWN"]
