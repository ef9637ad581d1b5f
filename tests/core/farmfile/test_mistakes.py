"""Every mistake in a farm file is told with its path and a hint; all of them at once."""

import tomllib
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime

import pytest
from farm_texts import AWS, TWO_NODES, WITH_SHARE, WITH_VIP, problems_of
from hypothesis import given, settings
from hypothesis import strategies as st

from hcsidecar.core.farmfile.error_messages import problem_of
from hcsidecar.core.farmfile.farm_file import (
    FarmFile,
    read,
)
from hcsidecar.core.farmfile.problems import Problem

# One mistake each: what is put behind a good file (or instead of it), where it is, and a word of what is said.
MISTAKES = [
    ('[[notify]]\nurl = "https://alerts.example.com"', "notify[1].type", "is missing"),
    ('[[notify]]\ntype = "mial"', "notify[1].type", "did you mean mail?"),
    ('[[notify]]\ntype = "webhook"', "notify[1].url", "is missing"),
    (
        '[[notify]]\ntype = "webhook"\nurl = "https://a.example"\nurl_file = "u"',
        "notify[1].url_file",
        "cannot be combined",
    ),
    ('[[notify]]\ntype = "webhook"\nurl = "https://a.example:99999"', "notify[1].url", "is not a URL of http or https"),
    ('[[notify]]\ntype = "webhook"\nurl = "alerts.example.com"', "notify[1].url", "is not a URL of http or https"),
    ('[[notify]]\ntype = "webhook"\nurl = "https://a:b@a.example"', "notify[1].url", "has a password in it"),
    (
        '[[notify]]\ntype = "webhook"\nurl = "http://a.example"\ntoken_file = "t"',
        "notify[1].url",
        "would send the token without TLS",
    ),
    (
        '[[notify]]\ntype = "webhook"\nurl = "https://a.example"\nheader = "Authorization: Bearer s3cret"',
        "notify[1].header",
        "is not a header with {token} in it",
    ),
    (
        """[[notify]]\ntype = "webhook"\nurl = "https://a.example"\ntemplate = '{"text": {text}}'""",
        "notify[1].template",
        "is not JSON",
    ),
    (
        """[[notify]]\ntype = "webhook"\nurl = "https://a.example"\ntemplate = '{"text": "alarm"}'""",
        "notify[1].template",
        "has neither {text} nor {subject} in it",
    ),
    (
        '[[notify]]\ntype = "mail"\nserver = "mail.example.com"\nsender = "a@b.example"\nto = ["a@b.example"]',
        "notify[1].server",
        "is not a mail server and its port",
    ),
    (
        '[[notify]]\ntype = "mail"\nserver = "a.example:25"\nsender = "a b@c.example"\nto = ["a@b.example"]',
        "notify[1].sender",
        "is not a mail address",
    ),
    (
        '[[notify]]\ntype = "mail"\nserver = "a.example:25"\nsender = "a@b.example"\nto = ["a@b.example, c@d.example"]',
        "notify[1].to[1]",
        "is not a mail address",
    ),
    (
        '[[notify]]\ntype = "mail"\nserver = "a.example:25"\ntls = "none"\nsender = "a@b.example"\nto = ["a@b.org"]',
        "notify[1].tls",
        "is only for a mail server on the machine itself",
    ),
    (
        '[[notify]]\ntype = "webhook"\nurl = "https://a.example"\n[[notify]]\ntype = "webhook"\nurl = "https://b.example"',
        "notify[2].name",
        "is the name of another receiver: webhook",
    ),
    (
        '[[notify]]\ntype = "webhook"\nurl = "https://a.example"\npassword = "x"',
        "notify[1].password",
        "is not a known key",
    ),
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


def test_an_error_of_pydantics_that_has_no_words_of_ours_is_told_in_its_own():
    error = {"type": "new_in_pydantic", "loc": ("farm", "name"), "msg": "is odd", "input": 1}
    assert problem_of(error, {"farm": {}}, FarmFile) == Problem(path="farm.name", message="is odd", hint="")


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
