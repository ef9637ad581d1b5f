"""The plan of a change, in an operator's words."""

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.settings.differences import ChangeKind, FileChange, FileVersion
from hcsidecar.core.settings.key_effects import ChangeEffect
from hcsidecar.core.settings.plan import ChangePlan, NodeCondition, plan

WEB1, WEB2, WEB3, WEB4 = ({"name": f"web{n}", "address": f"192.0.2.1{n}"} for n in (1, 2, 3, 4))
THREE = [WEB1, WEB2, WEB3]
SCRIPTS = {"start": "bin/start", "stop": "./bin/stop", "transition": "bin/told"}
APP = {"type": "tcp", "name": "APP", "address": "127.0.0.1", "port": 80}
QUEUE = {"type": "command", "name": "QUEUE", "command": ["bin/queue", "-q"], "interval": "5s"}
WATCH = {"type": "custom", "name": "WATCH", "command": ["bin/watch"]}
APACHE = {"name": "APACHE", "ports": [80]}
L2 = {"vip": [{"address": "192.0.2.50"}], "share": [APACHE]}
TLS = {"cert": "tls/farm.crt", "key": "tls/farm.key"}
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
COMMAND_TARGET = {"type": "command", "name": "lb", "command": ["bin/register"]}
ELSEWHERE = {"type": "command", "name": "elsewhere", "command": ["/usr/bin/register"]}


def farm(**tables):
    found = read({"farm": {"name": "apache"}, "node": THREE, **tables})
    assert isinstance(found, FarmFile), found
    return found


def ready(*names, **conditions):
    return [NodeCondition(name=name, alive=True, ready=True, **conditions) for name in names]


ALL_READY = ready("web1", "web2", "web3")


def changed(name, change=ChangeKind.CHANGED, *, before="a", after="b", executable=(True, True)):
    old = FileVersion(size=1, sha256=before * 64, executable=executable[0])
    new = FileVersion(size=1, sha256=after * 64, executable=executable[1])
    return FileChange(
        name=name,
        change=change,
        before=None if change is ChangeKind.ADDED else old,
        after=None if change is ChangeKind.REMOVED else new,
    )


def texts(found):
    return [step.text for step in found.steps]


def each(sentence):
    return [sentence.format(n) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({}, {"health": {"lame_duck": "20s"}}, ["health.lame_duck becomes 20s: used by the next drain"]),
        ({}, {"log": {"keep": "2d"}}, ["log.keep becomes 2d: nothing is disturbed"]),
        ({}, {"health": {"path": "/alive"}}, ["health.path becomes /alive: nothing is disturbed"]),
        (
            {},
            {"check": [APP]},
            ["check APP is new: it begins in `init`, and nothing is disturbed until it has found something"],
        ),
        ({"check": [APP]}, {}, ["check APP is removed: nothing is disturbed"]),
        (
            {"check": [APP]},
            {"check": [APP | {"interval": "5s"}]},
            ["check APP: interval becomes 5s: nothing is disturbed"],
        ),
        (
            {"application": SCRIPTS},
            {"application": SCRIPTS | {"start_timeout": "5m", "environment": {"API_KEY": "x"}}},
            [
                "application.environment.API_KEY is changed: used at the next run of the script",
                "application.start_timeout becomes 5m: used at the next run of the script",
            ],
        ),
        (
            {},
            {"heartbeat": {"preset": "wan"}},
            each("web{}: restarts its daemon: heartbeat.preset becomes wan; drains up to 10 s first"),
        ),
        (
            {"health": {"lame_duck": "1.5m"}},
            {"health": {"lame_duck": "5s"}, "web": {"tls": TLS}, "heartbeat": {"realtime": False}},
            [
                "health.lame_duck becomes 5s: used by the next drain",
                *each(
                    "web{}: restarts its daemon: heartbeat.realtime becomes false, [web.tls] is new;"
                    " drains up to 90 s first"
                ),
            ],
        ),
        (
            {"health": {"lame_duck": "0s"}},
            {"health": {"lame_duck": "0s"}, "node": [WEB1, WEB2 | {"listen": ["192.0.2.12:9010"]}, WEB3]},
            ['web2: restarts its daemon: listen becomes ["192.0.2.12:9010"]; without a drain'],
        ),
        (
            {"node": [WEB1, WEB2 | {"listen": ["192.0.2.12:9010"]}, WEB3]},
            {"node": [WEB1, WEB2 | {"listen": ["192.0.2.12:9010"]}, WEB3], "web": {"listen": ["0.0.0.0:9009"]}},
            [
                f'web{n}: restarts its daemon: web.listen becomes ["0.0.0.0:9009"]; drains up to 10 s first'
                for n in (1, 3)
            ],
        ),
        (
            {"application": SCRIPTS | {"drain": "3s"}},
            {"application": SCRIPTS | {"drain": "3s", "safekit": True}},
            each("web{}: restarts its application: application.safekit becomes true; drains up to 3 s first"),
        ),
        (
            {},
            {"application": SCRIPTS},
            each("web{}: restarts its daemon: [application] is new; drains up to 10 s first"),
        ),
        ({}, {"node": [*THREE, WEB4]}, ["web4 joins"]),
        (
            {},
            {"node": [WEB1, WEB2]},
            ["web3 leaves: drains up to 10 s first; then its application stops, and its daemon ends"],
        ),
        (
            {},
            {"node": [WEB1, WEB2 | {"address": "192.0.2.22"}, WEB3]},
            ["web2 leaves and joins at its new address 192.0.2.22: drains up to 10 s first"],
        ),
        (
            {"node": [WEB1]},
            {"node": [{"name": "web1", "addresses": {"default": "192.0.2.11", "back": "198.51.100.11"}}]},
            [
                (
                    "web1: restarts its daemon: address is unset, addresses.default becomes 192.0.2.11,"
                    " addresses.back becomes 198.51.100.11; drains up to 10 s first"
                )
            ],
        ),
        ({}, {"node": [WEB1 | {"power": 2}, WEB2, WEB3]}, ["node web1: power becomes 2: nothing is disturbed"]),
        (
            {"l2": L2},
            {"l2": L2, "node": [WEB1 | {"power": 2}, WEB2, WEB3]},
            [
                "node web1: power becomes 2: clients move where shares change",
                "web1: takes 50 % of APACHE instead of 33 %",
                "web2: takes 25 % of APACHE instead of 33 %",
                "web3: takes 25 % of APACHE instead of 33 %",
            ],
        ),
        (
            {"l2": L2},
            {"l2": L2 | {"share": [APACHE | {"power": {"web3": 0}}]}},
            [
                "share APACHE: power.web3 becomes 0: clients move where shares change",
                "web1: takes 50 % of APACHE instead of 33 %",
                "web2: takes 50 % of APACHE instead of 33 %",
                "web3: takes 0 % of APACHE instead of 33 %",
            ],
        ),
        (
            {"l2": L2},
            {"l2": L2, "node": [WEB1, WEB2, WEB4]},
            [
                "web4 joins",
                "web3 leaves: drains up to 10 s first; then its application stops, and its daemon ends",
                "web4: takes 33 % of APACHE instead of 0 %",
                "web3: takes 0 % of APACHE instead of 33 %",
            ],
        ),
        (
            {"target": [{"type": "aws", "group": GROUP}]},
            {"target": [{"type": "aws", "group": GROUP, "nodes": {"web2": {"id": "192.0.2.99"}}}]},
            ['web2: target web: nodes.web2 becomes { id = "192.0.2.99" }: nothing is disturbed'],
        ),
    ],
)
def test_a_change_is_planned_in_sentences(before, after, told):
    assert texts(plan(farm(**before), farm(**after), nodes=ALL_READY)) == told


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (
            {},
            {"heartbeat": {"port": 4804}},
            (
                "heartbeat.port becomes 4804: a node that listens on another port is not heard;"
                " stop all nodes, put the file on each, and start each once with `hcsidecar run --take-file`"
            ),
        ),
        (
            {},
            {"l2": L2},
            (
                "[l2] is new: nodes with and without virtual IPs take no shares together;"
                " stop all nodes, put the file on each, and start each once with `hcsidecar run --take-file`"
            ),
        ),
        (
            {"l2": L2},
            {"l2": L2 | {"delivery": "flooded"}},
            (
                "l2.delivery becomes flooded: nodes that differ in [l2] take no shares together;"
                " stop all nodes, put the file on each, and start each once with `hcsidecar run --take-file`"
            ),
        ),
        (
            {},
            {"node": [WEB1, WEB2 | {"address": "192.0.2.22"}, WEB3 | {"address": "192.0.2.23"}]},
            (
                "web2, web3 change every address at once, and would not be heard at the new ones until all have started"
                " again; change one node with each apply, or first give the nodes a second network"
            ),
        ),
        (
            {},
            {"node": [WEB4]},
            "no node of the farm stays in it; keep one at least, and remove it with another apply",
        ),
    ],
)
def test_what_would_take_the_farm_apart_is_refused_with_what_to_do_instead(before, after, why):
    found = plan(farm(**before), farm(**after), nodes=ALL_READY)
    assert found.refusals == (why,)
    assert not found.is_possible
    assert found.worst is ChangeEffect.REFUSED


def test_all_that_is_refused_is_told_at_once():
    after = farm(farm={"name": "shop", "key_file": "x", "state_dir": "/s"}, heartbeat={"port": 4804}, l2=L2)
    assert len(plan(farm(), after, nodes=ALL_READY).refusals) == 5


@pytest.mark.parametrize(
    ("after", "worst"),
    [
        ({}, None),
        ({"log": {"keep": "2d"}}, "live"),
        ({"log": {"keep": "2d"}, "node": [*THREE, WEB4]}, "membership"),
        ({"log": {"keep": "2d"}, "heartbeat": {"preset": "fast"}}, "restarts daemon"),
    ],
)
def test_the_worst_effect_is_named(after, worst):
    found = plan(farm(), farm(**after), nodes=ALL_READY)
    assert found.worst == worst
    assert found.is_possible


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (changed("bin/start"), "bin/start is changed: used at its next run"),
        (changed("bin/stop"), "bin/stop is changed: used at its next run"),
        (
            changed("bin/new", ChangeKind.ADDED),
            "bin/new is added: it goes along; the farm file does not name it",
        ),
        (changed("bin/old", ChangeKind.REMOVED), "bin/old is removed: nothing is disturbed"),
        (changed("bin/queue"), "bin/queue is changed: used at its next run, every 5 s"),
        (changed("bin/watch"), "bin/watch is changed: used when it is started again"),
        (changed("bin/register"), "bin/register is changed: used at its next run"),
        (
            changed("bin/start", after="a", executable=(True, False)),
            "bin/start may not be executed any more: used at its next run",
        ),
        (
            changed("bin/start", after="a", executable=(False, True)),
            "bin/start may be executed now: used at its next run",
        ),
    ],
)
def test_a_changed_file_is_used_at_its_next_run(file, told):
    same = farm(application=SCRIPTS, check=[QUEUE, WATCH, APP], target=[ELSEWHERE, COMMAND_TARGET])
    found = plan(same, same, files=[file], nodes=ALL_READY)
    assert texts(found) == [told]
    assert found.worst is ChangeEffect.LIVE


def test_the_farm_file_itself_is_planned_by_its_keys():
    assert plan(farm(), farm(), files=[changed("farm.toml")], nodes=ALL_READY) == ChangePlan()


@pytest.mark.parametrize(
    ("before", "after", "nodes", "without", "warned"),
    [
        ({}, {"log": {"keep": "2d"}}, ALL_READY, (), []),
        (
            {},
            {"log": {"keep": "2d"}},
            ready("web1", "web2"),
            (),
            ["web3 is not alive: start it, or leave it out with --without web3"],
        ),
        (
            {},
            {"log": {"keep": "2d"}},
            ready("web1", "web2"),
            ("web3",),
            ["web3 is not alive, and takes the change when it returns"],
        ),
        ({}, {"log": {"keep": "2d"}}, ALL_READY, ("web9",), ["--without names web9, which is no node of the farm"]),
        (
            {},
            {"node": [*THREE, WEB4]},
            ALL_READY,
            (),
            ["web4 is not heard yet: it joins when its daemon runs with the same farm file and key file"],
        ),
        ({}, {"node": [WEB1, WEB2]}, ready("web1", "web2"), (), []),
        (
            {"farm": {"name": "apache", "keep_ready": 3}},
            {"farm": {"name": "apache", "keep_ready": 3}, "heartbeat": {"preset": "fast"}},
            ALL_READY,
            (),
            [
                (
                    "only 2 of 3 Ready nodes would stay so while one of web1, web2, web3 restarts,"
                    " and [farm] keep_ready is 3"
                )
            ],
        ),
        (
            {"farm": {"name": "apache", "keep_ready": 3}},
            {
                "farm": {"name": "apache", "keep_ready": 3},
                "node": [WEB1, WEB2 | {"listen": ["192.0.2.12:9010"]}, WEB3],
            },
            ALL_READY,
            (),
            ["only web1, web3 would be Ready while web2 restarts, and [farm] keep_ready is 3"],
        ),
        (
            {"node": [WEB1], "farm": {"name": "apache", "keep_ready": 0}},
            {"node": [WEB1], "farm": {"name": "apache", "keep_ready": 0}, "heartbeat": {"preset": "fast"}},
            ready("web1"),
            (),
            ["no node would be Ready while web1 restarts"],
        ),
        (
            {},
            {"farm": {"name": "apache", "partition": "majority"}},
            ready("web1"),
            ("web2", "web3"),
            [
                "web2 is not alive, and takes the change when it returns",
                "web3 is not alive, and takes the change when it returns",
                '1 of 3 nodes are alive, which is no majority: with [farm] partition = "majority" no node serves',
            ],
        ),
        (
            {},
            {"health": {"path": "/alive"}},
            ALL_READY,
            (),
            [
                (
                    "balancers that ask /health get 404 from then on: let them ask /var/modules/apache/ready.txt"
                    " before, and /alive afterwards"
                )
            ],
        ),
        (
            {"application": SCRIPTS},
            {"application": SCRIPTS, "check": [APP, APP | {"name": "B", "port": 81, "action": "none"}]},
            ALL_READY,
            (),
            ["check APP is new: where it fails, its action is restart"],
        ),
        (
            {"l2": L2},
            {"l2": L2, "node": [WEB1 | {"power": 2}, WEB2, WEB3]},
            [*ready("web1", powers={"APACHE": 5}), *ready("web2", "web3")],
            (),
            ["web1 keeps the power set by `hcsidecar power`, over the farm file: 5 in APACHE"],
        ),
    ],
)
def test_the_operator_is_warned(before, after, nodes, without, warned):
    assert list(plan(farm(**before), farm(**after), nodes=nodes, without=without).warnings) == warned


@pytest.mark.parametrize(
    ("name", "after", "warned"),
    [
        ("bin/queue", {}, ["bin/queue is used at once by check QUEUE: what it finds counts"]),
        ("bin/stop", {}, []),
        (
            "bin/stop",
            {"heartbeat": {"preset": "fast"}},
            ["bin/stop is used at once where a restart runs the script stop"],
        ),
        ("bin/told", {"heartbeat": {"preset": "fast"}}, []),
    ],
)
def test_a_program_that_is_used_at_once_is_warned_of(name, after, warned):
    tables = {"application": SCRIPTS, "check": [QUEUE]}
    found = plan(farm(**tables), farm(**tables, **after), files=[changed(name)], nodes=ALL_READY)
    assert list(found.warnings) == warned


def test_half_of_the_nodes_is_no_majority():
    majority = {"farm": {"name": "apache", "partition": "majority"}}
    before, after = farm(**majority, node=[WEB1, WEB2]), farm(**majority, node=[*THREE, WEB4])
    warned = plan(before, after, nodes=ready("web1", "web2")).warnings
    assert any(warning.startswith("2 of 4 nodes are alive, which is no majority") for warning in warned)


def test_the_parts_of_a_share_are_by_the_powers_that_the_operator_has_set():
    nodes = [*ready("web1", powers={"APACHE": 2}), *ready("web2", "web3")]
    found = plan(farm(l2=L2), farm(l2=L2, node=[WEB1, WEB2]), nodes=nodes)
    assert "web1: takes 67 % of APACHE instead of 50 %" in texts(found)


def test_a_node_that_is_not_alive_restarts_when_it_returns():
    found = plan(farm(), farm(heartbeat={"preset": "fast"}), nodes=ready("web1", "web2"))
    assert texts(found)[2] == (
        "web3: restarts its daemon: heartbeat.preset becomes fast; it is not alive: when it returns"
    )


def test_a_node_may_not_leave_if_too_few_others_are_ready():
    keep = {"farm": {"name": "apache", "keep_ready": 2}}
    before, after = farm(**keep), farm(**keep, node=[WEB1, WEB2])
    nodes = [*ready("web1", "web3"), NodeCondition(name="web2", alive=True, ready=False)]
    (why,) = plan(before, after, nodes=nodes).refusals
    assert why == (
        "web3 cannot leave now: only web1 would be Ready, and [farm] keep_ready is 2; let more nodes become Ready"
        " first, or stop the application there"
    )
    stopped = [*ready("web1"), *(NodeCondition(name=name, alive=True, ready=False) for name in ("web2", "web3"))]
    assert plan(before, after, nodes=stopped).is_possible


def test_a_removed_node_that_is_not_alive_only_leaves():
    assert texts(plan(farm(), farm(node=[WEB1, WEB2]), nodes=ready("web1", "web2"))) == ["web3 leaves: it is not alive"]


LARGE_BEFORE = {
    "farm": {"name": "apache", "keep_ready": 2},
    "node": THREE,
    "l2": L2,
    "application": SCRIPTS,
    "check": [APP, QUEUE],
}
LARGE_AFTER = {
    "farm": {"name": "apache", "keep_ready": 2},
    "node": [WEB1 | {"power": 2}, WEB2, WEB4],
    "heartbeat": {"preset": "wan", "port": 4804},
    "health": {"lame_duck": "20s"},
    "l2": L2 | {"filter": "xdp"},
    "application": SCRIPTS | {"max_restarts": 5},
    "check": [APP | {"port": 8080}, WATCH],
}
GOLDEN = """\
not possible while the farm runs:
  heartbeat.port becomes 4804: a node that listens on another port is not heard; \
stop all nodes, put the file on each, and start each once with `hcsidecar run --take-file`
every node:
  health.lame_duck becomes 20s: used by the next drain
  application.max_restarts becomes 5: nothing is disturbed
  check APP: port becomes 8080: nothing is disturbed
  check QUEUE is removed: nothing is disturbed
  check WATCH is new: it begins in `init`, and nothing is disturbed until it has found something
  bin/stop is changed: used at its next run
  node web1: power becomes 2: clients move where shares change
node by node:
  web4 joins
  web3 leaves: drains up to 10 s first; then its application stops, and its daemon ends
  web1: restarts its daemon: heartbeat.preset becomes wan, l2.filter becomes xdp; drains up to 10 s first
  web2: restarts its daemon: heartbeat.preset becomes wan, l2.filter becomes xdp; drains up to 10 s first
  web1: takes 50 % of APACHE instead of 33 %
  web2: takes 25 % of APACHE instead of 33 %
  web4: takes 25 % of APACHE instead of 0 %
  web3: takes 0 % of APACHE instead of 33 %
mind:
  web4 is not heard yet: it joins when its daemon runs with the same farm file and key file
  only 1 of 2 Ready nodes would stay so while one of web1, web2 restarts, and [farm] keep_ready is 2
  bin/stop is used at once where a restart runs the script stop
  check WATCH is new: where it fails, its action is restart
"""


def test_a_large_change_reads_well():
    found = plan(farm(**LARGE_BEFORE), farm(**LARGE_AFTER), files=[changed("bin/stop")], nodes=ALL_READY)
    assert "\n".join(found.lines()) + "\n" == GOLDEN


def test_a_plan_is_a_json_document():
    found = plan(farm(**LARGE_BEFORE), farm(**LARGE_AFTER), nodes=ALL_READY)
    assert msgspec.json.decode(msgspec.json.encode(found), type=ChangePlan) == found


def test_an_empty_plan_says_so():
    assert plan(farm(), farm()).lines() == ["nothing changes"]


OPTIONAL = {
    "farm": [{"name": "shop"}, {"name": "apache", "keep_ready": 0, "partition": "majority"}],
    "node": [[WEB1], [WEB2, WEB1], [WEB1 | {"power": 3}, WEB4], [WEB1 | {"address": "192.0.2.77"}, WEB2]],
    "heartbeat": [{"preset": "fast"}, {"pulse": "10ms"}, {"port": 5000, "realtime": False}],
    "web": [{"tls": TLS}, {"tls": TLS | {"key": "k"}}, {"listen": ["0.0.0.0:80", "[::]:80"]}],
    "health": [{"listen": ["0.0.0.0:9080"], "tls": TLS}, {"path": "/x"}, {"agent_check": "0.0.0.0:9011"}],
    "log": [{"most": 1000}],
    "l2": [L2, L2 | {"share": [APACHE, {"name": "DNS", "protocol": "udp", "ports": [53]}]}, L2 | {"interface": "e0"}],
    "application": [SCRIPTS, SCRIPTS | {"environment": {"A": "b\u202e\n"}, "drain": "0s"}, {"start": "a", "stop": "b"}],
    "check": [[APP], [APP | {"type": "http"}, QUEUE], [WATCH, QUEUE | {"interval": "1s"}]],
    "target": [
        [COMMAND_TARGET],
        [{"type": "aws", "group": GROUP}],
        [{"type": "odd", "name": "lb", "x": [1, {"y": 2}]}],
    ],
}
documents = st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in OPTIONAL.items()})


@st.composite
def farms(draw):
    found = read({"farm": {"name": "apache"}, "node": THREE, **draw(documents)})
    assume(isinstance(found, FarmFile))
    return found


conditions = st.lists(
    st.builds(
        NodeCondition,
        name=st.sampled_from(["web1", "web2", "web3", "web4", "web9"]),
        alive=st.booleans(),
        ready=st.booleans(),
        powers=st.sampled_from([{}, {"APACHE": 0}, {"apache": 7}]),
    ),
    unique_by=lambda condition: condition.name,
)


@settings(max_examples=200)
@given(farms(), farms(), conditions, st.lists(st.sampled_from(["web1", "web3", "web9"])))
def test_any_two_farm_files_have_a_plan(former, present, nodes, without):
    found = plan(former, present, nodes=nodes, without=without)
    assert found.lines()
    assert all(step.text.isprintable() and step.keys for step in found.steps)
    assert found.is_possible == (found.worst is not ChangeEffect.REFUSED)
    if not found.steps:
        assert sorted(former.node, key=str) == sorted(present.node, key=str)


@given(farms(), conditions)
def test_a_farm_file_that_does_not_change_has_an_empty_plan(same, nodes):
    assert plan(same, same, nodes=nodes) == ChangePlan()


def test_a_plan_says_whether_daemons_restart():
    assert plan(farm(), farm(heartbeat={"preset": "fast"}), nodes=ALL_READY).restarts_daemons
    assert not plan(farm(), farm(health={"path": "/alive"}), nodes=ALL_READY).restarts_daemons
