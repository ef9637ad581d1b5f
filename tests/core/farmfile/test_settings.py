import tomllib
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsidecar.core.farmfile.error_messages import problem_of
from hcsidecar.core.farmfile.problems import Problem
from hcsidecar.core.farmfile.settings import (
    PRESETS,
    AwsTarget,
    FarmFile,
    HostPort,
    HttpCheck,
    StatusRange,
    TcpCheck,
    WebTable,
    format_duration,
    parse_duration,
    read,
)
from hcsidecar.core.farmfile.target_tables import ReadTarget
from hcsidecar.core.farmfile.values import as_toml

AWS = """[[target]]
type = "aws"
group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
"""
TWO_NODES = """
[farm]
name = "apache"
[[node]]
name = "web1"
address = "192.0.2.11"
[[node]]
name = "web2"
address = "192.0.2.12"
"""
WITH_VIP = f"""
{TWO_NODES}
[l2]
[[l2.vip]]
address = "192.0.2.50"
"""
WITH_SHARE = f"""
{WITH_VIP}
[[l2.share]]
name = "APACHE"
ports = [80, 443]
"""


def farm_of(text: str) -> FarmFile:
    found = read(tomllib.loads(text))
    assert isinstance(found, FarmFile), "\n".join(map(str, found))
    return found


def problems_of(text: str) -> dict[str, Problem]:
    found = read(tomllib.loads(text))
    assert isinstance(found, tuple), "the file has been accepted"
    assert len({problem.path for problem in found}) == len(found), found
    return {problem.path: problem for problem in found}


def test_a_farm_of_names_and_addresses_has_a_default_for_all_else():
    farm = farm_of(TWO_NODES)
    assert [(node.name, node.address, node.power) for node in farm.node] == [
        ("web1", "192.0.2.11", 1),
        ("web2", "192.0.2.12", 1),
    ]
    assert (farm.farm.key_file, farm.farm.state_dir, farm.farm.partition, farm.farm.keep_ready) == (
        "farm.key",
        None,
        "serve",
        1,
    )
    assert (farm.heartbeat.port, farm.heartbeat.pulse, farm.heartbeat.lost_after) == (4803, 0.05, 0.5)
    assert farm.web.listen == (HostPort("0.0.0.0", 9010),)
    assert (farm.health.path, farm.health.lame_duck, farm.health.prober_fall) == ("/health", 10.0, 3)
    assert farm.l2 is None
    assert farm.check == ()


@pytest.mark.parametrize(("preset", "pulse", "lost_after"), [("lan", 0.05, 0.5), ("fast", 0.02, 0.2), ("wan", 1, 10)])
def test_a_preset_sets_pulse_and_lost_after(preset, pulse, lost_after):
    farm = farm_of(f'{TWO_NODES}[heartbeat]\npreset = "{preset}"')
    assert (farm.heartbeat.pulse, farm.heartbeat.lost_after) == (pulse, lost_after)
    assert PRESETS[preset].reason


def test_pulse_and_lost_after_go_over_the_preset():
    farm = farm_of(f'{TWO_NODES}[heartbeat]\npreset = "wan"\nlost_after = "20s"')
    assert (farm.heartbeat.pulse, farm.heartbeat.lost_after) == (1.0, 20.0)


def test_a_node_may_have_an_address_on_each_of_several_networks_the_first_being_the_main_one():
    farm = farm_of("""
        [farm]
        name = "apache"
        [[node]]
        name = "web1"
        addresses = { front = "2001:DB8:0::11", back = "198.51.100.11" }
    """)
    assert dict(farm.node[0].addresses) == {"front": "2001:db8::11", "back": "198.51.100.11"}
    assert farm.node[0].address == "2001:db8::11"


def test_checks_are_told_apart_by_their_type():
    farm = farm_of(f"""
        {TWO_NODES}
        [[check]]
        type = "tcp"
        name = "port"
        address = "127.0.0.1"
        port = 80
        [[check]]
        type = "http"
        name = "page"
        address = "127.0.0.1"
        port = 80
        interval = "500ms"
        status = [200, "300-399"]
        body = "Welcome"
    """)
    port, page = farm.check
    assert isinstance(port, TcpCheck)
    assert (port.interval, port.timeout, port.rise, port.fall) == (10.0, 5.0, 1, 1)
    assert isinstance(page, HttpCheck)
    assert page.interval == 0.5
    assert page.status == (StatusRange(200, 200), StatusRange(300, 399))
    assert [status for status in (199, 200, 201, 300, 399, 400) if page.accepts(status)] == [200, 300, 399]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("10s", 10), ("1.5s", 1.5), ("24h", 86400), ("2m", 120), ("1d", 86400), ("0s", 0), ("7us", 7e-6)],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**15))
def test_a_duration_is_written_so_that_it_reads_back_the_same(microseconds):
    assert parse_duration(format_duration(microseconds / 1e6)) == microseconds / 1e6


@settings(deadline=None)
@given(st.sampled_from(["0.0.0.0", "192.0.2.1", "::", "2001:db8::1"]), st.integers(min_value=1, max_value=65535))
def test_an_endpoint_is_written_so_that_it_reads_back_the_same(host, port):
    assert HostPort.parse(str(HostPort(host, port))) == HostPort(host, port)


@pytest.mark.parametrize(
    ("wanted", "taken", "overlap"),
    [
        ("0.0.0.0:9010", "192.0.2.1:9010", True),
        ("192.0.2.1:9010", "0.0.0.0:9010", True),
        ("192.0.2.1:9010", "192.0.2.1:9010", True),
        ("192.0.2.1:9010", "192.0.2.2:9010", False),
        ("192.0.2.1:9010", "192.0.2.1:9011", False),
        ("0.0.0.0:9010", "[::]:9010", False),
    ],
)
def test_two_listeners_overlap_when_they_would_take_the_same_socket(wanted, taken, overlap):
    assert HostPort.parse(wanted).overlaps(HostPort.parse(taken)) is overlap


# One mistake each: what is put behind a good file (or instead of it), where it is, and a word of what is said.
MISTAKES = [
    ('[heartbeat]\npulse = "50ms"\nlost_after = "499ms"', "heartbeat.lost_after", "less than 10 pulses of 50ms"),
    ('[heartbeat]\npreset = "lan"\npulse = "60ms"', "heartbeat.lost_after", "less than 10 pulses"),
    ("[heartbeat]\npulse = 0.05", "heartbeat.pulse", "in quotes"),
    ('[heartbeat]\npulse = "50"', "heartbeat.pulse", "is not a duration"),
    ('[heartbeat]\npulse = "-50ms"', "heartbeat.pulse", "is not a duration"),
    ('[heartbeat]\npulse = "0s"', "heartbeat.pulse", "must be between 1ms and 1m"),
    ("[heartbeat]\npulse = nan", "heartbeat.pulse", "in quotes"),
    ("[heartbeat]\npulse = true", "heartbeat.pulse", "in quotes"),
    ("[heartbeat]\npreset = []", "heartbeat.preset", "must be one of lan, fast, wan"),
    ('[heartbeat]\npreset = "lam"', "heartbeat.preset", "did you mean lan?"),
    ("[heartbeat]\nport = 65536", "heartbeat.port", "at most 65535"),
    ('[heartbeat]\nport = "4803"', "heartbeat.port", "must be a whole number"),
    (f"[heartbeat]\nport = 0x{'f' * 5000}", "heartbeat.port", "a huge number"),
    ("[heartbeat]\nrealtime = 1", "heartbeat.realtime", "must be true or false"),
    ("heartbeat = 3", "heartbeat", "must be a table"),
    ("[web]\nlisten = []", "web.listen", "is empty"),
    ('[web]\nlisten = "0.0.0.0:9010"', "web.listen", "must be a list"),
    ('[web]\nlisten = ["localhost:9010"]', "web.listen[1]", "is not an IP address"),
    ('[web]\nlisten = ["0.0.0.0:0"]', "web.listen[1]", "no port between"),
    ('[web]\nlisten = ["::1:9010"]', "web.listen[1]", "is not an address and a port"),
    ("[web]\nlisten = [9010]", "web.listen[1]", "in quotes"),
    ('[web]\nlisten = ["0.0.0.0:1", "0.0.0.0:1"]', "web.listen", "twice"),
    ('[web]\nlisten = ["[::]:9010"]', "web.listen", "no listener for the address family of web1, web2"),
    ('[web]\ntls = { cert = "a.pem" }', "web.tls.key", "is missing"),
    ('[health]\npath = "health"', "health.path", "is not the path of a URL"),
    ('[health]\npath = "/health?x"', "health.path", "is not the path of a URL"),
    ('[health]\npath = "/"', "health.path", "is used for something else"),
    ('[health]\npath = "/api/v1/status"', "health.path", "is used for something else"),
    ('[health]\npath = "/metrics"', "health.path", "is used for something else"),
    ('[health]\ntls = { cert = "a", key = "b" }', "health.tls", "needs `listen`"),
    ('[health]\nlisten = ["127.0.0.1:9010"]', "health.listen[1]", "conflicts with web.listen[1]"),
    ('[health]\nagent_check = "0.0.0.0:9010"', "health.agent_check", "conflicts with web.listen[1]"),
    ('[web]\nlisten = ["127.0.0.1:80", "0.0.0.0:80"]', "web.listen[2]", "conflicts with web.listen[1]"),
    (
        '[[node]]\nname = "web3"\naddress = "192.0.2.13"\nlisten = ["0.0.0.0:80"]\n[health]\nlisten = ["0.0.0.0:80"]',
        "node[3].listen[1]",
        "conflicts with health.listen[1]",
    ),
    ('[web]\nlisten = ["192.0.2.11:80"]', "web.listen[1]", "is the address of web1, so web2 cannot listen"),
    ('[health]\nlisten = ["192.0.2.12:80"]', "health.listen[1]", "is the address of web2, so web1 cannot listen"),
    ('[health]\nlame_duck = "2h"', "health.lame_duck", "must be between 0s and 1h"),
    ("[health]\nprober_fall = 0", "health.prober_fall", "at least 1"),
    ('[web]\n"a b" = 1', 'web."a b"', "there are listen, tls"),
    ("[healht]", "healht", "did you mean health?"),
    ('[web]\nlame_duck = "5s"', "web.lame_duck", "it belongs in [health]"),
    ('[application]\nstop = "a"', "application.start", "is missing"),
    ('[application]\nstart = "bin/run"\nstop = "bin/run"', "application.stop", "is the start script"),
    (
        '[application]\nstart = "a"\nstop = "b"\nenvironment = { "A B" = "c" }',
        'application.environment."A B"',
        "variable",
    ),
    ("[[target]]", "target[1].type", "is missing"),
    ("[[target]]\ntype = 3", "target[1].type", "must be one of aws, haproxy, command"),
    ('[[target]]\ntype = "aws"', "target[1].group", "is missing"),
    ('[[target]]\ntype = "aws"\ngroup = "web"', "target[1].group", "is not the ARN of a target group"),
    (f'{AWS}\nport = "80"', "target[1].port", "must be a whole number"),
    (f"{AWS}\nnodes = {{ web1 = {{ idd = 1 }} }}", "target[1].nodes.web1.idd", "did you mean id?"),
    (f'{AWS}\nnodes = {{ web1 = {{ id = "i-0123456789" }} }}', "target[1].nodes.web1.id", "is not an IP address"),
    (f'{AWS}\nnodes = {{ web3 = {{ id = "192.0.2.13" }} }}', "target[1].nodes.web3", "is not a node of this farm"),
    (f'{AWS}\nid = "192.0.2.11"', "target[1].id", "is for one server, but the farm has 2 nodes"),
    (
        f'{AWS}\nnodes = {{ web1 = {{ id = "192.0.2.1" }}, web2 = {{ id = "192.0.2.1" }} }}',
        "target[1].nodes.web2.id",
        "is the id of another node",
    ),
    (f'{AWS}\ntarget = "instance"\nid = "192.0.2.11"', "target[1].id", "is not the id of an instance"),
    (f'{AWS}\ntarget = "instance"\navailability_zone = "all"', "target[1].availability_zone", "for addresses only"),
    (f"{AWS}\n{AWS}", "target[2].name", "is the name of another target: web"),
    (f'{AWS}\nproxy = "192.0.2.9"', "target[1].proxy", "is not a URL"),
    ('[[target]]\ntype = "haproxy"\nbackend = "b"\nport = 80', "target[1].address", "is missing"),
    ('[[target]]\ntype = "haproxy"\nbackend = "b"\nsocket = "/s"', "target[1].port", "is missing"),
    (
        '[[target]]\ntype = "haproxy"\nbackend = "b"\nsocket = "/s"\nport = 80\noptions = "check; del server b/web2"',
        "target[1].options",
        'must not contain ";"',
    ),
    ('[[target]]\ntype = "haproxy"\nbackend = "a b"\nsocket = "/s"\nport = 80', "target[1].backend", "HAProxy"),
    (
        '[[target]]\ntype = "haproxy"\nbackend = "b"\nsocket = "/s"\nport = 80\naddress = "192.0.2.9:1"',
        "target[1].socket",
        "one of the two",
    ),
    (
        '[[target]]\ntype = "haproxy"\nbackend = "b"\nsocket = "/s"\nport = 80\nserver = "one"',
        "target[1].server",
        "is for one server",
    ),
    ('[[target]]\ntype = "command"\ncommand = []', "target[1].command", "is empty"),
    ('[[target]]\ntype = "consul"\npoll = "1"', "target[1].poll", "is not a duration"),
    ('[[check]]\nname = "x"', "check[1].type", "is missing"),
    ('[[check]]\ntype = "pong"', "check[1].type", "did you mean ping?"),
    ('[[check]]\ntype = "interface"\nname = "x"\ninterface = 3', "check[1].interface", "must be text"),
    ('[[check]]\ntype = "process"\nname = "x"', "check[1].process", "is missing"),
    ('[[check]]\ntype = "process"\nname = "x"\ncommand_line = "("', "check[1].command_line", "regular expression"),
    ('[[check]]\ntype = "process"\nname = "x"\nprocess = "y"\nat_most = 0', "check[1].at_most", "less than at_least"),
    (
        f'[[check]]\ntype = "process"\nname = "x"\ncommand_line = "{"(?:" * 20}a{"){1,9}" * 20}"',
        "check[1].command_line",
        "has more than 10000 parts",
    ),
    ('[[check]]\ntype = "command"\nname = "x"\ncommand = []', "check[1].command", "is empty"),
    ('[[check]]\ntype = "ping"\nname = "x"\naddress = "192.0.2.1"\naction = "restart"', "check[1].action", "repairs"),
    ('[[check]]\ntype = "htpp"', "check[1].type", "must be one of tcp, http"),
    ("check = 1", "check", "must be a list"),
    ("check = [1]", "check[1]", "must be a table"),
    ('[[check]]\ntype="tcp"\nname="x"\naddress="127.0.0.1"', "check[1].port", "for example port = 80"),
    ('[[check]]\ntype="tcp"\nname="x"\naddress="0.0.0.0"\nport=80', "check[1].address", "stands for every address"),
    ('[[check]]\ntype="tcp"\nname="x"\naddress="127.0.0.1"\nport=80\npath="/"', "check[1].path", "not a known key"),
    (
        '[[check]]\ntype="tcp"\nname="x"\naddress="127.0.0.1"\nport=80\naction="restart"',
        "check[1].action",
        "no scripts",
    ),
    ('[[check]]\ntype="tcp"\nname="x"\naddress="127.0.0.1"\nport=80\naction="wait"', "check[1].action", "is wait"),
    (
        '[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\nstatus=[99]',
        "check[1].status[1]",
        "not an HTTP status code",
    ),
    (
        '[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\nstatus=["399-200"]',
        "check[1].status[1]",
        "ends before",
    ),
    ('[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\nhost="a b"', "check[1].host", "web server"),
    ('[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\nhost=".a"', "check[1].host", "web server"),
    ('[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\npath="x"', "check[1].path", "of a page"),
    ('[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\npath="/?a b"', "check[1].path", "of a page"),
    ('[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\npattern="("', "check[1].pattern", "expression"),
    (
        '[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\nmethod="HEAD"\nbody="x"',
        "check[1].method",
        "no body to search",
    ),
    ('[[check]]\ntype="custom"\nname="x"\ncommand=["y"]\nfall=2', "check[1].fall", "must be 1"),
    ('[[check]]\ntype="http"\nname="x"\naddress="127.0.0.1"\nport=80\nbody=""', "check[1].body", "printable text"),
    ('[[node]]\nname = "web1"\naddress = "192.0.2.13"', "node[3].name", "name of another node: web1"),
    ('[[node]]\nname = "WEB1"\naddress = "192.0.2.13"', "node[3].name", "name of another node: WEB1"),
    ('[[node]]\nname = "web3"\naddress = "192.0.2.11"', "node[3].address", "node[1].address has it already"),
    ('[[node]]\nname = "../x"\naddress = "192.0.2.13"', "node[3].name", "is not a usable name"),
    ('[[node]]\nname = "web3"', "node[3].address", "is missing"),
    ('[[node]]\nname = "web3"\naddress = "web3"', "node[3].address", "is not an IP address"),
    ('[[node]]\nname = "web3"\naddress = "fe80::1%eth0"', "node[3].address", "name of an interface"),
    ('[[node]]\nname = "web3"\naddress = "::ffff:192.0.2.13"', "node[3].address", "write 192.0.2.13"),
    ('[[node]]\nname = "web3"\naddress = "224.0.0.1"', "node[3].address", "multicast"),
    ('[[node]]\nname = "web3"\naddress = "0.0.0.0"', "node[3].address", "stands for every address"),
    ('[[node]]\nname = "web3"\naddress = "255.255.255.255"', "node[3].address", "is the broadcast address"),
    ('[[node]]\nname = "web3"\naddress = "0.0.0.1"', "node[3].address", "0.0.0.0/8, which no machine can use"),
    ('[[node]]\nname = "web3"\naddress = "fe80::1"', "node[3].address", "is a link-local address"),
    ('[[node]]\nname = "web3"\naddress = "::"', "node[3].address", "stands for every address"),
    ('[[node]]\nname = "web3"\naddress = "ff02::1"', "node[3].address", "multicast"),
    ('[l2]\nvip = [{ address = "255.255.255.255" }]', "l2.vip[1].address", "is the broadcast address"),
    ('[health]\nlisten = ["255.255.255.255:9080"]', "health.listen[1]", "is the broadcast address"),
    ('[health]\nagent_check = "224.0.0.1:9011"', "health.agent_check", "multicast"),
    ('[[check]]\ntype = "command"\nname = "x"\ncommand = ["y", "a\\u0000b"]', "check[1].command[2]", "printable text"),
    ('[[check]]\ntype = "command"\nname = "x"\ncommand = [3]', "check[1].command[1]", "must be text"),
    ('[[check]]\ntype = "command"\nname = "x"\ncommand = "y"', "check[1].command", "must be a list"),
    ('[[check]]\ntype = "custom"\nname = "x"\ncommand = ["\\u0000"]', "check[1].command[1]", "printable text"),
    ('[[target]]\ntype = "command"\ncommand = ["y", 3]', "target[1].command[2]", "must be text"),
    (
        '[application]\nstart = "a"\nstop = "b"\nenvironment = { X = "\\u0000" }',
        "application.environment.X",
        "zero byte",
    ),
    ("[[target]]\ntype = 3", "target[1].type", "must be"),
    ("target = [3]", "target[1]", "must be a table"),
    (
        '[[target]]\ntype = "haproxy"\nbackend = "b"\nport = 80',
        "target[1].address",
        "is missing",
    ),
    (
        '[[check]]\ntype = "interface"\nname = "x"\ninterface = "averyveryverylongname1"',
        "check[1].interface",
        "at most 15",
    ),
    ('[[check]]\ntype = "interface"\nname = "x"\ninterface = "eth0:1"', "check[1].interface", "network interface"),
    ('[l2]\ninterface = "averyveryverylongname1"\nvip = [{ address = "192.0.2.50" }]', "l2.interface", "at most 15"),
    ('[[check]]\ntype = "process"\nname = "x"\nprocess = "y"\nat_least = 0', "check[1].at_least", "could never fail"),
    ('[[check]]\ntype="ping"\nname="x"\naddress="255.255.255.255"', "check[1].address", "is the broadcast address"),
    ('[[check]]\ntype="interface"\nname="x"\naddress="ff02::1"', "check[1].address", "multicast"),
    (f'{AWS}\nnodes = {{ web1 = {{ id = "0.0.0.0" }} }}', "target[1].nodes.web1.id", "stands for every address"),
    (
        '[[target]]\ntype = "haproxy"\nbackend = "b"\naddress = "0.0.0.0:9999"\nport = 80',
        "target[1].address",
        "stands for every address",
    ),
    ('[[node]]\nname = "web3"\naddress = 3', "node[3].address", "must be text"),
    ('[[node]]\nname = "web3"\naddress = "192.0.2.13"\naddresses = {}', "node[3].addresses", "stands beside"),
    ('[[node]]\nname = "web3"\naddresses = {}', "node[3].addresses", "is empty"),
    ('[[node]]\nname = "web3"\naddresses = []', "node[3].addresses", "must be a table"),
    ('[[node]]\nname = "web3"\naddresses = { lan = "192.0.2.13" }', "node[3].addresses", "has the networks lan"),
    ('[[node]]\nname = "web3"\naddress = "192.0.2.13"\npower = -1', "node[3].power", "at least 0"),
    ('[[node]]\nname = "web3"\naddress = "192.0.2.13"\nlisten = ["[::]:1"]', "node[3].listen", "no listener"),
    ("[l2]", "l2.vip", "at least one table [[l2.vip]]"),
    ('[l2]\nshare = []\nvip = [{ address = "192.0.2.50" }]', "l2.share", "is empty"),
    ('[l2]\nvip = [{ address = "192.0.2.11" }]', "l2.vip[1].address", "is the address of web1"),
    ('[l2]\nvip = [{ address = "2001:db8::50" }]', "l2.vip[1].address", "no IPv6 address: web1, web2"),
    ('[l2]\nvip = [{ address = "127.0.0.5" }]', "l2.vip[1].address", "loopback"),
    (
        '[l2]\nvip = [{ address = "192.0.2.50" }, { address = "192.0.2.50" }]',
        "l2.vip[2].address",
        "given twice",
    ),
]


@pytest.mark.parametrize(("text", "path", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_path(text, path, said):
    top = "" if text.startswith("[") else text
    problems = problems_of(f"{top}\n{TWO_NODES}\n{text if not top else ''}")
    if path != "l2.share" and text.startswith("[l2]"):
        problems.pop("l2.share")  # left out for brevity in each of them
    assert list(problems) == [path]
    assert said in str(problems[path])


def test_what_a_node_is_to_aws_follows_from_the_table_the_node_and_its_address():
    farm = farm_of(f"""{TWO_NODES}
    {AWS}
    availability_zone = "all"
    nodes = {{ web2 = {{ id = "198.51.100.2", availability_zone = "eu-west-1b" }} }}
    """)
    (target,) = farm.target
    assert isinstance(target, AwsTarget)
    assert [target.id_of("web1", "192.0.2.11"), target.zone_of("web1")] == ["192.0.2.11", "all"]
    assert [target.id_of("web2", "192.0.2.12"), target.zone_of("web2")] == ["198.51.100.2", "eu-west-1b"]
    assert [target.label, target.api_region, target.deregisters_first] == ["web", "eu-west-1", False]


def test_an_instance_is_asked_for_its_id_unless_the_file_has_it():
    farm = farm_of(f'{TWO_NODES}\n{AWS}\ntarget = "instance"\nbalancer = "nlb"\nname = "shop"')
    (target,) = farm.target
    assert isinstance(target, AwsTarget)
    assert target.id_of("web1", "192.0.2.11") == "metadata"
    assert [target.label, target.deregisters_first] == ["shop", True]


def test_an_interface_may_have_to_have_the_address_of_a_link():
    (check,) = farm_of(f'{TWO_NODES}[[check]]\ntype = "interface"\nname = "x"\naddress = "FE80::1"').check
    assert check.subject == "fe80::1"


def test_a_target_of_a_kind_that_is_not_ours_keeps_what_its_package_will_read():
    (target,) = farm_of(f'{TWO_NODES}\n[[target]]\ntype = "consul"\nservice = "web"').target
    assert [target.type, target.label, target.model_extra] == ["consul", "consul", {"service": "web"}]


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


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        pytest.param(
            f"[web]\nlisten = {[f'127.0.0.1:{port}' for port in range(1, 3001)]}",
            "web.listen",
            "at most 64",
            id="listen",
        ),
        pytest.param(
            f"[health]\nlisten = {[f'127.0.0.1:{port}' for port in range(1, 3001)]}",
            "health.listen",
            "at most 64",
            id="health",
        ),
        pytest.param(
            '[[node]]\nname = "n"\naddresses = {'
            + ", ".join(f'n{number} = "198.51.100.{number}"' for number in range(17))
            + "}",
            "node[3].addresses",
            "at most 16",
            id="networks",
        ),
    ],
)
def test_a_list_that_no_farm_needs_is_refused_by_its_length(text, path, said):
    problems = problems_of(f"{TWO_NODES}\n{text}")
    assert list(problems) == [path]
    assert said in str(problems[path])


def test_of_too_many_shares_only_the_first_are_compared_with_each_other():
    shares = "".join('[[l2.share]]\nname = "S"\nports = [80]\npower = { web9 = 1 }\n' for _ in range(1000))
    problems = problems_of(f"{WITH_VIP}\n{shares}")
    assert problems["l2.share"].message == "has 1000 entries"
    assert "at most 64" in problems["l2.share"].hint
    assert {path.partition("]")[0] for path in problems} - {"l2.share"} == {f"l2.share[{at}" for at in range(1, 65)}


def test_of_too_many_nodes_nothing_is_said_to_be_no_node():
    nodes = "".join(f'[[node]]\nname = "n{number}"\naddress = "198.51.100.{number}"\n' for number in range(1, 201))
    share = '[[l2.share]]\nname = "S"\nports = [80]\npower = { n199 = 2 }\n'
    assert list(problems_of(f"{WITH_VIP}\n{nodes}\n{share}")) == ["node"]


def test_a_key_of_many_characters_is_told_by_its_beginning():
    (path,) = problems_of(f"{TWO_NODES}\n[web]\n{'k' * 10_000} = 1")
    assert path == f"web.{'k' * 100}…"


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


def test_all_mistakes_are_told_at_once_those_within_tables_and_those_between_them():
    problems = problems_of("""
        [farm]
        nam = "apache"
        [[node]]
        name = "web1"
        address = "192.0.2.11"
        [[node]]
        name = "web 2"
        address = "192.0.2.12"
        [[node]]
        name = "web3"
        address = "192.0.2.11"
        [heartbeat]
        lost_after = "100ms"
        [health]
        path = "/api"
        [[l2.vip]]
        address = "192.0.2.11"
    """)
    assert set(problems) == {
        "farm.name",
        "farm.nam",
        "node[2].name",
        "node[3].address",
        "heartbeat.lost_after",
        "health.path",
        "l2.share",
        "l2.vip[1].address",
    }
    assert problems["farm.nam"].hint == "did you mean name?"


def test_names_of_nodes_are_not_looked_up_while_a_node_is_wrong_itself():
    problems = problems_of(f"""
        {WITH_SHARE}
        power = {{ web3 = 1 }}
        [[node]]
        name = "web3"
    """)
    assert set(problems) == {"node[3].address"}


def test_an_empty_file_misses_farm_and_nodes():
    problems = problems_of("")
    assert set(problems) == {"farm", "node"}
    assert problems["node"].hint == "at least one table [[node]]"


def test_a_state_directory_is_the_same_wherever_it_is_named():
    problems = problems_of(TWO_NODES.replace("[farm]", '[farm]\nstate_dir = "state"'))
    assert "is not an absolute path" in problems["farm.state_dir"].message


@pytest.mark.parametrize(("count", "refused"), [(1, False), (64, False), (65, True)])
def test_a_farm_has_1_to_64_nodes(count, refused):
    text = '[farm]\nname = "apache"\n' + "".join(
        f'[[node]]\nname = "web{n}"\naddress = "192.0.2.{n}"\n' for n in range(1, count + 1)
    )
    if refused:
        assert problems_of(text)["node"].hint == "at most 64"
    else:
        assert len(farm_of(text).node) == count


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (None, None),
        ("www.example.com", "www.example.com"),
        ("www.example.com:8443", "www.example.com"),
        ("192.0.2.1:8443", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:8443", "2001:db8::1"),
    ],
)
def test_the_name_on_the_certificate_is_the_host_without_its_port(host, name):
    check = HttpCheck(type="http", name="x", address="127.0.0.1", port=80, host=host)
    assert check.server_name == name


@pytest.mark.parametrize(("keep", "refused"), [(0, False), (2, False), (3, True)])
def test_a_farm_keeps_no_more_nodes_ready_than_it_has(keep, refused):
    text = TWO_NODES.replace("[farm]", f"[farm]\nkeep_ready = {keep}")
    if refused:
        assert set(problems_of(text)) == {"farm.keep_ready"}
    else:
        assert farm_of(text).farm.keep_ready == keep


def test_the_first_network_is_the_same_for_all_and_so_is_the_family_of_each():
    problems = problems_of("""
        [farm]
        name = "apache"
        [[node]]
        name = "web1"
        addresses = { a = "192.0.2.11", b = "198.51.100.11" }
        [[node]]
        name = "web2"
        addresses = { a = "192.0.2.12", b = "198.51.100.12" }
        [[node]]
        name = "web3"
        addresses = { b = "198.51.100.13", a = "192.0.2.13" }
        [[node]]
        name = "web4"
        addresses = { a = "192.0.2.14", b = "2001:db8::14" }
    """)
    assert set(problems) == {"node[3].addresses", "node[4].addresses.b"}


def test_a_farm_file_built_in_python_holds_the_relations_too():
    with pytest.raises(ValueError, match="is given twice"):
        FarmFile.model_validate(
            {
                "farm": {"name": "apache"},
                "node": [{"name": "a", "address": "192.0.2.1"}, {"name": "b", "address": "192.0.2.1"}],
            }
        )


def test_in_python_durations_are_seconds_and_values_may_be_parsed_already():
    assert TcpCheck(type="tcp", name="x", address="127.0.0.1", port=80, interval=0.1).interval == 0.1
    assert WebTable(listen=(HostPort("::1", 80),)).listen == (HostPort("::1", 80),)
    page = HttpCheck(type="http", name="x", address="127.0.0.1", port=80, status=(StatusRange(200, 204),))
    assert page.accepts(204)


def test_an_error_of_pydantics_that_has_no_words_of_ours_is_told_in_its_own():
    error = {"type": "new_in_pydantic", "loc": ("farm", "name"), "msg": "is odd", "input": 1}
    assert problem_of(error, {"farm": {}}, FarmFile) == Problem(path="farm.name", message="is odd", hint="")


def test_a_farm_that_is_written_down_and_read_again_is_the_same():
    farm = farm_of(f"""
        {WITH_SHARE}
        [[check]]
        type = "http"
        name = "page"
        address = "127.0.0.1"
        port = 80
    """)
    assert read(farm.model_dump(mode="json", exclude_none=True)) == farm


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


def test_a_node_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError, match="web1, web2"):
        farm_of(TWO_NODES).node_named("web3")


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        (WITH_SHARE, True),
        (WITH_SHARE.replace('"apache"', '"other"'), True),
        (f'{WITH_SHARE}\n[health]\npath = "/up"', True),
        (f"{WITH_SHARE}\npower = {{ web1 = 3 }}", True),
        (WITH_SHARE.replace("[80, 443]", "[443, 80]"), True),
        (WITH_SHARE.replace("192.0.2.50", "192.0.2.51"), False),
        (WITH_SHARE.replace("[80, 443]", "[80]"), False),
        (f'{WITH_SHARE}\nby = "port"', False),
        (WITH_SHARE.replace("[l2]", '[l2]\ndelivery = "flooded"'), False),
        (WITH_SHARE.replace("[l2]", '[l2]\nfilter = "tc"'), True),
        (f'{WITH_SHARE}\nvip = "192.0.2.50"', False),
        (f'{WITH_SHARE}\n[heartbeat]\nlost_after = "1s"', True),
        (f'{WITH_SHARE}\n[heartbeat]\npulse = "20ms"', True),
        (TWO_NODES, False),
    ],
)
def test_the_digest_is_of_what_must_be_equal_to_share_buckets_and_of_nothing_else(changed, same):
    assert len(farm_of(changed).settings_digest()) == 16
    assert (farm_of(changed).settings_digest() == farm_of(WITH_SHARE).settings_digest()) is same


@pytest.mark.parametrize(
    ("web", "node", "found"),
    [
        ('["0.0.0.0:9010"]', "", "192.0.2.11:9010"),
        ('["0.0.0.0:9010"]', 'listen = ["192.0.2.11:9011"]', "192.0.2.11:9011"),
        ('["127.0.0.1:9010", "0.0.0.0:9012"]', "", "192.0.2.11:9012"),
        ('["[::]:9010", "0.0.0.0:9013"]', "", "192.0.2.11:9013"),
        ('["10.0.0.1:9010"]', "", "10.0.0.1:9010"),
    ],
)
def test_the_api_is_reached_at_the_main_address_where_somebody_listens_there(web, node, found):
    farm = farm_of(f"""
        [farm]
        name = "apache"
        [[node]]
        name = "web1"
        address = "192.0.2.11"
        {node}
        [web]
        listen = {web}
    """)
    assert str(farm.api_address(farm.node[0])) == found


WHOLE = tomllib.loads(f"""
    {WITH_SHARE}
    power = {{ web1 = 3 }}
    [heartbeat]
    preset = "wan"
    lost_after = "20s"
    [web]
    listen = ["0.0.0.0:9010"]
    tls = {{ cert = "a", key = "b" }}
    [health]
    path = "/health"
    listen = ["0.0.0.0:9011"]
    agent_check = "0.0.0.0:9012"
    [[check]]
    type = "http"
    name = "page"
    address = "127.0.0.1"
    port = 80
    status = [200, "300-399"]
""")
JUNK = st.one_of(
    st.sampled_from([None, True, -1, 2**70, float("nan"), "", "x", "\0", "9" * 300, "tcp", "::1", "1s", [], {}]),
    st.sampled_from(
        [[[]], [{}], {"": ""}, {"type": "tcp"}, {"address": []}, ["a", 1], datetime(2026, 1, 1, tzinfo=UTC)]
    ),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
)


def places_of(table: object, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List every place in a document."""
    inside = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [place for key, value in inside for place in [(*here, key), *places_of(value, (*here, key))]]


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(places_of(WHOLE)), JUNK, st.sampled_from(["put", "drop", "add"])), max_size=3),
    st.text(max_size=5),
)
def test_whatever_stands_wherever_in_a_file_is_a_farm_or_a_list_of_problems(changes, new_key):
    document = deepcopy(WHOLE)
    for place, junk, change in changes:
        *way, last = place
        table = document
        with suppress(KeyError, IndexError, TypeError):  # an earlier change may have taken the place away
            for part in way:
                table = table[part]
            if change == "drop":
                del table[last]
            else:
                table[new_key if change == "add" and isinstance(table, dict) else last] = junk
    found = read(document)
    assert isinstance(found, FarmFile) or all(problem.path and problem.message for problem in found)


@pytest.mark.parametrize(
    ("table", "subject"),
    [
        ('type = "tcp"\naddress = "2001:db8::1"\nport = 80', "[2001:db8::1]:80"),
        ('type = "ping"\naddress = "192.0.2.1"', "192.0.2.1"),
        ('type = "command"\ncommand = ["bin/look", "-q"]', "bin/look -q"),
        ('type = "custom"\ncommand = ["bin/watch"]', "bin/watch"),
    ],
)
def test_a_check_says_what_it_looks_at(table, subject):
    (check,) = farm_of(f'{TWO_NODES}\n[[check]]\nname = "x"\n{table}').check
    assert check.subject == subject


@pytest.mark.parametrize(
    ("application", "more", "action"),
    [
        ("", "", "none"),
        ('[application]\nstart = "a"\nstop = "b"', "", "restart"),
        ('[application]\nstart = "a"\nstop = "b"', 'action = "stop"', "stop"),
        ('[application]\nstart = "a"\nstop = "b"', 'when = "pre"', "wait"),
    ],
)
def test_what_a_failure_leads_to_follows_from_the_check_and_whether_there_is_an_application(application, more, action):
    check = f'[[check]]\ntype = "tcp"\nname = "x"\naddress = "127.0.0.1"\nport = 80\n{more}'
    farm = farm_of(f"{TWO_NODES}\n{application}\n{check}")
    assert farm.action_of(farm.check[0]) == action


def test_each_kind_of_target_has_its_name_and_its_limits_there():
    kinds = (
        'type = "haproxy"\nbackend = "web"\naddress = "127.0.0.1:9999"\nport = 80\npoll = "7s"',
        ('type = "command"\ncommand = ["bin/register"]\ntimeout = "3s"'),
        'type = "consul"',
    )
    tables = "\n".join(f"[[target]]\n{kind}" for kind in kinds)
    haproxy, command, other = farm_of(f"{TWO_NODES}\n{tables}").target
    assert [(one.own_name, one.call_limit, one.longest_pause) for one in (haproxy, command, other)] == [
        ("web", 6.0, 7.0),
        ("command", 3.0, 60.0),
        ("consul", 6.0, 60.0),
    ]
    assert not any(one.deregisters_first for one in (haproxy, command, other))
    read = ReadTarget(type="consul", first=True, limit=1.5, pause=9.0)
    assert (read.deregisters_first, read.call_limit, read.longest_pause) == (True, 1.5, 9.0)


def test_a_value_of_many_levels_is_told_without_the_deepest():
    assert as_toml([[[[1]]], {"a": [[1]]}]) == "[[[…]], { a = […] }]"
    assert as_toml([[[{"a": 1}]]]) == "[[[…]]]"


def test_a_share_is_not_compared_with_a_table_that_is_wrong_itself():
    share = '[[l2.share]]\nname = "DNS"\nprotocol = "udp"\nports = [4803]'
    assert list(problems_of(f'{WITH_VIP}\n{share}\n[heartbeat]\nport = "x"')) == ["heartbeat.port"]


def test_true_and_false_are_told_as_they_stand_in_the_file():
    assert as_toml([True, False]) == "[true, false]"
