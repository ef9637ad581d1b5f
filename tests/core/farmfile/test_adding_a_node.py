"""A node is added to the text of a farm file; the rest stays as it was written."""

import tomllib

import pytest

from hcsidecar.core.farmfile.node_tables import NodeTableError, with_node
from hcsidecar.core.farmfile.reference import farm_file

NEW = {"default": "192.0.2.14"}
TABLE = '[[node]]\nname = "web4"\naddress = "192.0.2.14"\n'


def added(text, addresses=NEW):
    return with_node(text, "web4", addresses, default="default")


def test_the_node_comes_after_the_last_one_and_comments_stay_with_their_tables():
    before = (
        '# Ours.\n[farm]\nname = "apache" # as ever\n\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n# power = 2\n\n'
    )
    after = '# Slow network.\n[heartbeat]\npreset = "wan"\n'
    assert added(before + after) == before + TABLE + "\n" + after


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_the_node_comes_at_the_end_if_nothing_follows_the_nodes(end):
    text = '[farm]\nname = "apache"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"'
    assert added(text + end) == f"{text}\n\n{TABLE}"


def test_the_tables_of_a_node_stay_with_it():
    text = '[[node]]\nname = "web1"\n[node.addresses]\ndefault = "192.0.2.11"\n\n[farm]\nname = "apache"\n'
    assert tomllib.loads(added(text))["node"][1] == {"name": "web4", "address": "192.0.2.14"}


def test_several_networks_are_written_in_one_table():
    addresses = {"default": "192.0.2.14", "back up": "198.51.100.14"}
    found = tomllib.loads(added('[farm]\nname = "a"\n', addresses))
    assert found["node"] == [{"name": "web4", "addresses": addresses}]


def test_lines_end_as_in_the_file():
    assert added('[farm]\r\nname = "a"\r\n') == '[farm]\r\nname = "a"\r\n\r\n' + TABLE.replace("\n", "\r\n")


def test_a_file_as_init_makes_it_keeps_its_reference():
    nodes = [{"name": "web1", "address": "192.0.2.11"}, {"name": "web2", "address": "192.0.2.12"}]
    text = farm_file({"farm": [{"name": "apache"}], "node": nodes, "web": [{}]}, mark=lambda _key: "")
    new = added(text)
    assert new.replace("\n" + TABLE, "", 1) == text
    assert [node["name"] for node in tomllib.loads(new)["node"]] == ["web1", "web2", "web4"]


def test_what_only_looks_like_a_table_is_seen_through():
    text = '[farm]\nname = "a"\n[[node]]\nname = "web1"\nnote = """\n[[node]]\n[web]\n"""\n'
    assert added(text).endswith('"""\n\n' + TABLE)


@pytest.mark.parametrize("nodes", ['node = [{ name = "web1", address = "192.0.2.11" }]', "node = 3"])
def test_nodes_that_are_not_tables_are_left_to_the_operator(nodes):
    with pytest.raises(NodeTableError, match=r"add it by hand, run hcsidecar apply, .* hcsidecar token web4"):
        added(f'{nodes}\n[farm]\nname = "a"\n')
