import json

import msgspec
from small_farm import Farm, heartbeat, membership

from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.rolling import why_not_drain
from hcsidecar.core.status import ModuleState, status_document

ADDRESSES = {"web1": "192.0.2.11", "web2": "192.0.2.12", "web3": "192.0.2.13"}
FILE_POWERS = dict.fromkeys(ADDRESSES, (1,))
READY = ModuleState(role="UP", status="Ready", draining=False, reason="", waits_for=())


def document(node, module=READY, groups=(), fractions=lambda _view, _name: (), now=1.0):
    return status_document(
        membership=node,
        module=module,
        addresses=ADDRESSES,
        file_powers=FILE_POWERS,
        shares=("apache",),
        groups=groups,
        fractions=fractions,
        now=now,
    )


def test_the_document_has_the_keys_that_scripts_rely_on():
    farm = Farm("web1", "web2", "web3").run(until=1)
    status = document(farm.nodes["web1"].membership)
    assert (status.farm, status.node, status.view) == ("apache", "web1", ("web1", "web2", "web3"))
    assert json.loads(msgspec.json.encode(status.nodes[0])) == {
        "name": "web1",
        "address": "192.0.2.11",
        "alive": True,
        "role": "UP",
        "status": "Ready",
        "draining": False,
        "parting": False,
        "power": 1,
        "powers": {"apache": 1},
        "file_powers": {"apache": 1},
        "share": {},
        "reason": "",
        "waits_for": [],
        "restarts": None,
    }


def test_other_nodes_are_shown_as_they_last_said():
    farm = Farm("web1", "web2").run(until=1)
    output = farm.nodes["web2"].set_application(
        role="UP", status="Transient", draining=True, reason="drained by the operator", now=1
    )
    farm.deliver("web2", output)
    farm.run(until=1.1)
    about = document_of_two(farm).nodes[1]
    assert (about.role, about.status, about.draining) == ("UP", "Transient", True)
    assert about.reason == "drained by the operator"


def document_of_two(farm, now=1.1):
    return status_document(
        membership=farm.nodes["web1"].membership,
        module=READY,
        addresses={"web1": "192.0.2.11", "web2": "192.0.2.12"},
        file_powers=FILE_POWERS,
        shares=("APACHE",),
        groups=("APACHE",),
        fractions=lambda view, name: (1 / len(view) if name in dict(view) else 0.0,),
        now=now,
    )


def test_a_recording_of_a_ready_node_counts_for_nothing():
    node = membership()
    node.receive(heartbeat("web2", role="UP", status="Ready", wants=True), now=0.01)
    about = document(node, now=0.02).nodes[1]
    assert (about.alive, about.role, about.status) == (False, None, None)
    assert about.reason == "heard, but it does not hear this node, or what is heard is a recording"
    assert "no node would be Ready" in why_not_drain(document(node, now=0.02), "web1", keep_ready=1)


def test_a_node_whose_boot_number_went_back_is_shown_as_refused():
    node = membership(known={"web2": KnownPeer(9)})
    node.receive(heartbeat("web2", boot=3, heard=[("web1", 7, 1)]), now=0.01)
    assert document(node, now=0.02).nodes[1].reason == "refused: its boot number went back (boot 9 was heard before)"


def test_shares_are_those_of_each_node_s_view():
    farm = Farm("web1", "web2").run(until=1)
    assert [node.share for node in document_of_two(farm).nodes] == [{"APACHE": 0.5}, {"APACHE": 0.5}]


def test_a_node_never_heard_a_dead_one_and_one_that_left_differ_in_their_reason():
    assert document(membership()).nodes[1].reason == "not heard since this node's daemon started"
    farm = Farm("web1", "web2").run(until=1)
    del farm.nodes["web2"]
    farm.run(until=4)
    about = document_of_two(farm, now=4).nodes[1]
    assert (about.alive, about.role, about.share) == (False, None, {"APACHE": 0.0})
    assert about.reason == "silent for 3 s"
    farm = Farm("web1", "web2").run(until=1)
    farm.deliver("web2", farm.nodes["web2"].leave(now=1))
    assert document_of_two(farm).nodes[1].reason == "has left"


def test_a_ready_node_that_is_out_of_the_view_says_why():
    farm = Farm("web1", "web2", "web3").run(until=1)
    farm.deliver("web1", farm.nodes["web1"].set_powers((0,), now=1))
    assert document(farm.nodes["web1"].membership).nodes[0].reason == "the power of this node is 0"


def test_a_power_that_differs_from_the_farm_file_s_stands_beside_it():
    farm = Farm("web1", "web2").run(until=1)
    farm.deliver("web1", farm.nodes["web1"].set_powers((3,), now=1))
    farm.deliver("web2", farm.nodes["web2"].set_powers((0,), now=1))
    farm.run(until=1.1)
    told = [(node.power, node.powers, node.file_powers) for node in document_of_two(farm).nodes]
    assert told == [(3, {"APACHE": 3}, {"APACHE": 1}), (0, {"APACHE": 0}, {"APACHE": 1})]


def test_the_powers_of_a_node_never_heard_are_not_known():
    about = document(membership()).nodes[1]
    assert (about.power, about.powers, about.file_powers) == (0, {}, {"apache": 1})


def test_what_a_drain_waits_for_is_shown():
    module = ModuleState(role="UP", status="Ready", draining=True, reason="stopping", waits_for=("2 connections",))
    assert document(membership(), module).nodes[0].waits_for == ("2 connections",)
