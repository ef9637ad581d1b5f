"""The tables of shares in a farm file, and the powers of nodes in them."""

import pytest
from farm_texts import TWO_NODES, WITH_SHARE, WITH_VIP, farm_of, problems_of

SHARE_MISTAKES = [
    ("ports = []", "l2.share[1].ports", "is empty"),
    ("ports = [80, 80]", "l2.share[1].ports", "twice"),
    ("ports = [0]", "l2.share[1].ports[1]", "at least 1"),
    ('vip = "192.0.2.51"', "l2.share[1].vip", "the VIPs are 192.0.2.50"),
    ("vip = 5", "l2.share[1].vip", "must be text"),
    ("power = { web3 = 1 }", "l2.share[1].power.web3", "the nodes are web1, web2"),
    ("power = { web1 = 0, web2 = 0 }", "l2.share[1].power", "no node"),
    ('by = "datagram"', "l2.share[1].by", "udp only"),
    ("ports = [443, 9010]", "l2.share[1].ports", "daemon itself listens: 9010 (web.listen[1])"),
    ('ports = [4803]\nprotocol = "udp"', "l2.share[1].ports", "daemon itself listens: 4803 (heartbeat.port)"),
    (
        'ports = [81, 80]\n[health]\nlisten = ["0.0.0.0:80"]\nagent_check = "192.0.2.50:81"',
        "l2.share[1].ports",
        "daemon itself listens: 81 (health.agent_check), 80 (health.listen[1])",
    ),
    ('[[l2.share]]\nname = "B"\nports = [443]', "l2.share[2].ports", "overlaps APACHE on the same VIP: tcp 443"),
    ('[[l2.share]]\nname = "B"\nports = [443]\nvip = "192.0.2.50"', "l2.share[2].ports", "the same VIP: tcp 443"),
    ('[[l2.share]]\nname = "APACHE"\nports = [81]', "l2.share[2].name", "name of another share"),
]


@pytest.mark.parametrize(("text", "path", "said"), SHARE_MISTAKES)
def test_a_mistake_in_a_share_is_told_with_its_path(text, path, said):
    ports = "" if text.startswith("ports") else "ports = [80, 443]"
    problems = problems_of(f'{WITH_VIP}\n[[l2.share]]\nname = "APACHE"\n{ports}\n{text}')
    assert list(problems) == [path]
    assert said in str(problems[path])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('protocol = "udp"\nports = [9010]', id="udp"),
        pytest.param('ports = [9080]\n[health]\nlisten = ["127.0.0.1:9080"]', id="another address"),
        pytest.param('ports = [9080]\n[health]\nlisten = ["[::]:9080"]', id="other family"),
        pytest.param("ports = [4803]", id="tcp on the port of the heartbeats"),
    ],
)
def test_a_share_may_have_a_port_on_which_the_daemon_does_not_get_in_its_way(text):
    assert farm_of(f'{WITH_VIP}\n[[l2.share]]\nname = "APACHE"\n{text}').share_names == ("APACHE",)


def test_the_general_listener_takes_no_port_from_shares_where_every_node_has_its_own():
    nodes = "".join(
        f'[[node]]\nname = "web{number}"\naddress = "192.0.2.{number}"\nlisten = ["192.0.2.{number}:9010"]\n'
        for number in (1, 2)
    )
    share = '[[l2.vip]]\naddress = "192.0.2.50"\n[[l2.share]]\nname = "APACHE"\nports = [9010]'
    assert farm_of(f'[farm]\nname = "apache"\n{nodes}\n{share}').l2


def test_a_farm_whose_nodes_all_have_power_0_has_no_members():
    problems = problems_of(TWO_NODES.replace("address", "power = 0\naddress"))
    assert "every node has power 0" in problems["node"].message
    one = TWO_NODES.replace("address", "power = 0\naddress", 1)
    assert [node.power for node in farm_of(one).node] == [0, 1]


def test_powers_of_shares_stand_for_those_of_the_nodes():
    nodes = WITH_SHARE.replace("[[node]]", "[[node]]\npower = 0")
    assert farm_of(f"{nodes}\npower = {{ web1 = 1 }}").l2


def test_shares_of_one_port_are_told_apart_by_protocol_and_by_vip():
    farm = farm_of(f"""
        {WITH_VIP}
        [[l2.vip]]
        address = "192.0.2.51"
        [[l2.share]]
        name = "A"
        ports = [53]
        vip = "192.0.2.50"
        [[l2.share]]
        name = "B"
        ports = [53]
        vip = "192.0.2.51"
        [[l2.share]]
        name = "C"
        protocol = "udp"
        ports = [53]
        by = "datagram"
    """)
    assert farm.share_names == ("A", "B", "C")


def shares_of_kinds(kinds: int) -> str:
    """Give shares, each on a VIP of its own, of whose ports every one is named by other shares, and so many kinds."""
    bits = range(9)
    vips = "\n".join(f'[[l2.vip]]\naddress = "192.0.2.{50 + bit}"' for bit in bits)
    named = {bit: [kind for kind in range(1, kinds + 1) if kind >> bit & 1] for bit in bits}
    shares = "\n".join(
        f'[[l2.share]]\nname = "S{bit}"\nvip = "192.0.2.{50 + bit}"\nports = {ports}'
        for bit, ports in named.items()
        if ports
    )
    return f"{TWO_NODES}\n[l2]\n{vips}\n{shares}"


def test_shares_that_make_as_many_kinds_of_ports_as_the_filter_holds_are_right():
    assert len(farm_of(shares_of_kinds(255)).share_names) == 8


def test_shares_that_make_more_kinds_of_ports_than_the_filter_holds_are_told():
    problems = problems_of(shares_of_kinds(300))
    assert list(problems) == ["l2.share[9].ports"]
    assert "the shares have 300, and the filter holds 255" in problems["l2.share[9].ports"].message
    assert "use the same ports" in problems["l2.share[9].ports"].hint


def test_powers_are_the_nodes_unless_a_share_says_otherwise():
    assert farm_of(TWO_NODES).powers_of("web1") == (1,)
    farm = farm_of(f"""
        {WITH_SHARE}
        power = {{ web1 = 3 }}
        [[l2.share]]
        name = "DNS"
        protocol = "udp"
        ports = [53]
    """)
    assert (farm.powers_of("web1"), farm.powers_of("web2")) == ((3, 1), (1, 1))


def test_a_share_is_not_compared_with_a_table_that_is_wrong_itself():
    share = '[[l2.share]]\nname = "DNS"\nprotocol = "udp"\nports = [4803]'
    assert list(problems_of(f'{WITH_VIP}\n{share}\n[heartbeat]\nport = "x"')) == ["heartbeat.port"]
