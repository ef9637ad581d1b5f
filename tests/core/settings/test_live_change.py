"""Which settings a running daemon takes from a changed farm file, and which wait for its restart."""

import tomllib

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.settings.live_change import farm_in_force, waiting_changes

FARM = """
[farm]
name = "apache"
[[node]]
name = "web1"
address = "192.0.2.11"
[[node]]
name = "web2"
address = "192.0.2.12"
[heartbeat]
preset = "lan"
[health]
path = "/health"
lame_duck = "10s"
listen = ["0.0.0.0:9011"]
[application]
start = "bin/start"
stop = "bin/stop"
drain = "10s"
[[check]]
type = "tcp"
name = "HTTP"
address = "127.0.0.1"
port = 80
[[target]]
type = "haproxy"
name = "edge"
socket = "/run/haproxy.sock"
backend = "web"
port = 80
"""


def farm(text=FARM, **edits):
    for old, new in edits.values():
        assert old in text
        text = text.replace(old, new)
    found = read(tomllib.loads(text))
    assert isinstance(found, FarmFile), found
    return found


def taken(old, new, *, text=FARM, me="web1"):
    """Give what is in force after an edit, and what waits for a restart."""
    former, present = farm(text), farm(text, edit=(old, new))
    in_force = farm_in_force(former, present, me=me)
    return in_force, [str(change) for change in waiting_changes(in_force, present)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "apache"', 'name = "apache"\npartition = "majority"\nkeep_ready = 2\nlast_stays = true'),
        ('address = "192.0.2.12"', 'address = "192.0.2.12"\npower = 3'),
        ('address = "192.0.2.12"', 'address = "192.0.2.13"'),
        ('address = "192.0.2.12"', 'address = "192.0.2.12"\n[[node]]\nname = "web3"\naddress = "192.0.2.13"'),
        ('[[node]]\nname = "web2"\naddress = "192.0.2.12"', ""),
        ('path = "/health"', 'path = "/up"'),
        ('lame_duck = "10s"', 'lame_duck = "3s"\nprober_fall = 1'),
        ("[heartbeat]", '[log]\nkeep = "2d"\nmost = 5000\n[heartbeat]'),
        ("bin/start", "bin/begin"),
        ('drain = "10s"', 'directory = "/srv"\nenvironment = { A = "b" }\nmax_restarts = 9\nlog_kb = 64'),
        ('address = "127.0.0.1"', 'address = "127.0.0.2"\ninterval = "3s"'),
        ('[[check]]\ntype = "tcp"\nname = "HTTP"\naddress = "127.0.0.1"\nport = 80', ""),
        ('backend = "web"', 'backend = "other"\npolicy = "observe"'),
        ('[[target]]\ntype = "haproxy"\nname = "edge"\nsocket = "/run/haproxy.sock"\nbackend = "web"\nport = 80', ""),
    ],
)
def test_a_live_key_is_taken_as_it_is(old, new):
    in_force, waiting = taken(old, new)
    assert in_force == farm(edit=(old, new))
    assert waiting == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('preset = "lan"', 'preset = "wan"', "[heartbeat] preset: lan -> wan"),
        ("9011", "9012", '[health] listen: ["0.0.0.0:9011"] -> ["0.0.0.0:9012"]'),
        ('drain = "10s"', 'drain = "10s"\nsafekit = true', "[application] safekit: false -> true"),
        ('name = "apache"', 'name = "nginx"', "[farm] name: apache -> nginx"),
        ('address = "192.0.2.11"', 'address = "192.0.2.9"', "[[node]] web1 address: 192.0.2.11 -> 192.0.2.9"),
        ('[application]\nstart = "bin/start"\nstop = "bin/stop"\ndrain = "10s"', "", "[application]: removed"),
    ],
)
def test_a_key_that_is_not_live_stays_as_it_was_and_waits(old, new, told):
    in_force, waiting = taken(old, new)
    assert in_force == farm()
    assert waiting == [told]


def test_what_is_live_is_taken_beside_what_waits():
    in_force, waiting = taken('preset = "lan"\n[health]\npath = "/health"', 'preset = "wan"\n[health]\npath = "/up"')
    assert (in_force.heartbeat.preset, in_force.health.path) == ("lan", "/up")
    assert waiting == ["[heartbeat] preset: lan -> wan"]


def test_going_back_restores_everything_and_nothing_waits():
    former = farm()
    present = farm(edit=('preset = "lan"\n[health]\npath = "/health"', 'preset = "wan"\n[health]\npath = "/up"'))
    back = farm_in_force(farm_in_force(former, present, me="web1"), former, me="web1")
    assert back == former
    assert waiting_changes(back, former) == ()


L2 = (
    FARM.partition("[[target]]")[0].replace('listen = ["0.0.0.0:9011"]', "")
    + """
[l2]
delivery = "flooded"
[[l2.vip]]
address = "192.0.2.100"
[[l2.share]]
name = "http"
ports = [80]
"""
)


def test_shares_and_virtual_ips_are_taken_and_the_interface_waits():
    in_force, waiting = taken("ports = [80]", "ports = [80, 443]\npower = { web1 = 3 }", text=L2)
    assert in_force.l2.share[0].power == {"web1": 3}
    assert in_force.l2.share[0].ports == (80, 443)
    assert waiting == []
    in_force, waiting = taken("[l2]", '[l2]\ninterface = "eth1"', text=L2)
    assert in_force == farm(L2)
    assert waiting == ["[l2] interface: unset -> eth1"]
