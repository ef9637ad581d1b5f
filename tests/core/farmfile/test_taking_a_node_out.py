"""Taking a node out of the text of a farm file."""

import pytest

from hcsidecar.core.farmfile.node_tables import NodeTableError, without_node

TEXT = """\
# our shop
[farm]
name = "shop"

# the old one
[[node]]
name = "web1"
address = "192.0.2.11"  # rack 1
power = 2

[[node]]
name = "web2"
address = "192.0.2.12"
# rack 2
listen = ["192.0.2.12:9010"]

# probes
[health]
path = "/up"
"""


def test_the_rest_stays_as_it_was_written():
    table = '[[node]]\nname = "web2"\naddress = "192.0.2.12"\n# rack 2\nlisten = ["192.0.2.12:9010"]\n\n'
    assert table in TEXT
    assert without_node(TEXT, "web2") == TEXT.replace(table, "")
    assert without_node(TEXT, "web1").startswith(
        '# our shop\n[farm]\nname = "shop"\n\n# the old one\n[[node]]\nname = "web2"\n'
    )


def test_the_last_table_of_the_file_may_be_the_nodes():
    text = TEXT.partition("\n# probes")[0]
    assert without_node(text, "web2").endswith("power = 2\n\n")


def test_a_table_of_a_node_goes_with_it():
    text = TEXT.replace('listen = ["192.0.2.12:9010"]\n', "")
    odd = '[farm]\nname = "shop"\nlog = """\n[[node]]\nname = \'web2\'\n"""\n' + text.partition('name = "shop"\n')[2]
    assert 'name = "web2"' not in without_node(odd, "web2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEXT.replace('"web2"', '"web9"'), "there is no node web2; there are web1, web9"),
        (
            TEXT + '[[l2.share]]\nname = "WEB"\npower = { web2 = 3 }\n',
            r"\[\[l2.share\]\] WEB: power in the farm file names web2: edit the file",
        ),
        (
            TEXT + '[[target]]\ntype = "alb"\nnodes.web2.id = "i-1"\n',
            r"\[\[target\]\] alb: nodes in the farm file names web2",
        ),
        (TEXT + '[[target]]\nname = "edge"\nservers = { web2 = "b" }\n', r"\[\[target\]\] edge: servers in the farm"),
        ('node = [{ name = "web1" }, { name = "web2" }]\n', "the farm file has its nodes not as"),
        ("node = 1\n", "there is no node web2"),
    ],
    ids=["no such node", "power", "target", "servers", "inline", "nonsense"],
)
def test_what_cannot_be_taken_out_is_refused_with_what_to_do(text, why):
    with pytest.raises(NodeTableError, match=why):
        without_node(text, "web2")
