"""On which addresses and ports a node listens, and which of them a change would add."""

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.farmfile.listeners import listeners_of, new_listeners

NODES = [{"name": "web1", "address": "192.0.2.11"}, {"name": "web2", "address": "192.0.2.12"}]


def farm(nodes=NODES, **tables):
    found = read({"farm": {"name": "apache"}, "node": nodes, **tables})
    assert isinstance(found, FarmFile), found
    return found


def told(listeners):
    return [f"{each.path} {each.transport} {each.endpoint}" for each in listeners]


def test_a_node_listens_for_the_web_health_the_agent_check_and_heartbeats_on_each_network():
    nodes = [
        NODES[0],
        {"name": "web2", "addresses": {"a": "192.0.2.12", "b": "2001:db8::12"}, "listen": ["192.0.2.12:80"]},
    ]
    nodes[0] = {"name": "web1", "addresses": {"a": "192.0.2.11", "b": "2001:db8::11"}}
    health = {"listen": ["0.0.0.0:9011"], "agent_check": "0.0.0.0:9012"}
    whole = farm(nodes, health=health, heartbeat={"port": 4900})
    assert told(listeners_of(whole, whole.node[1])) == [
        "node[2].listen TCP 192.0.2.12:80",
        "health.listen TCP 0.0.0.0:9011",
        "health.agent_check TCP 0.0.0.0:9012",
        "heartbeat.port UDP 192.0.2.12:4900",
        "heartbeat.port UDP [2001:db8::12]:4900",
    ]
    assert told(listeners_of(whole, whole.node[0]))[0] == "web.listen TCP 0.0.0.0:9010"


def test_what_the_running_daemon_has_itself_is_not_new():
    running = farm([NODES[0] | {"listen": ["192.0.2.11:9010"]}, NODES[1]])
    pending = farm(web={"listen": ["0.0.0.0:9020"]})
    assert new_listeners(running, "web1", [running]) == ()
    wildcard = farm(web={"listen": ["0.0.0.0:9010"]})
    assert new_listeners(wildcard, "web1", [running]) == ()
    assert told(new_listeners(pending, "web1", [running])) == ["web.listen TCP 0.0.0.0:9020"]
    assert told(new_listeners(running, "web1", [pending])) == ["node[1].listen TCP 192.0.2.11:9010"]
    assert new_listeners(running, "web1", [pending, running]) == ()
    # TCP and UDP have ports of their own.
    both = farm(heartbeat={"port": 9010})
    assert told(new_listeners(both, "web1", [farm()])) == ["heartbeat.port UDP 192.0.2.11:9010"]
