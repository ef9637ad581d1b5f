"""Who can be a new node of a farm, and what a greeting of another version is answered."""

from hcsidecar.core.joining.messages import Handout, JoinTokenAnswer, why_not_this_version
from hcsidecar.core.joining.newcomer import why_not_this_node
from hcsidecar.core.membership.heartbeat import PROTOCOL_VERSION

NODES = {"web1": ["192.0.2.11"], "web2": ["192.0.2.12", "198.51.100.12"]}


def why(name, *addresses, alive=("web1",), named=False):
    return why_not_this_node(NODES, name, addresses, alive=alive, named=named)


def test_a_new_name_with_new_addresses_is_welcome():
    assert why("web3", "192.0.2.13") == ()


def test_each_address_that_is_taken_is_told():
    assert why("web3", "192.0.2.11", "192.0.2.13", "198.51.100.12") == (
        "192.0.2.11 is the address of web1: choose another one with --address",
        "198.51.100.12 is the address of web2: choose another one with --address",
    )


def test_the_name_of_a_node_that_runs_is_taken_whatever_the_token():
    for named in (False, True):
        assert why("web1", "192.0.2.11", named=named) == (
            "the farm has a node web1, and it runs: choose another name with --name",
        )


def test_a_server_takes_the_place_of_a_node_only_by_a_token_for_it_and_with_its_addresses():
    (without,) = why("web2", "192.0.2.12", "198.51.100.12")
    assert "make a token for that node if this server is to take its place: hcsidecar token web2" in without
    assert why("web2", "198.51.100.12", "192.0.2.12", named=True) == ()
    assert why("web2", "192.0.2.12", named=True) == (
        "web2 has the address 192.0.2.12, 198.51.100.12 in the farm file, not 192.0.2.12",
    )


def test_versions_that_speak_alike_may_differ():
    theirs = {"theirs": "9", "ours": "1", "who": "web3", "we": "web1"}
    assert why_not_this_version(their_protocol=PROTOCOL_VERSION, **theirs) is None
    refusal = why_not_this_version(their_protocol=99, **theirs)
    assert refusal == (
        "web3 has hcsidecar 9, and web1 1, which speaks otherwise with other nodes: install the same version on both"
    )


def test_what_is_secret_is_not_in_the_text_of_an_answer():
    assert "secret" not in repr(Handout(key_file=b"secret", authority_key=b"secret"))
    assert "hcj1." not in repr(JoinTokenAnswer(token="hcj1.abc"))  # noqa: S106 - none
