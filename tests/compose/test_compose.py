"""docker-compose.yml, built and run for real: what its pages in the manual promise."""

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections import Counter
from time import monotonic

import pytest
from compose.engine import NoEngineError, base_image, compose_command, engine
from compose.site import FARM, HAPROXY, NODES, VIP, site, until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]

FALL_TIME = 2.0
"Seconds until HAProxy has noticed a dead server: two probes, every 0.5 s, each with a limit of 0.5 s."


@pytest.fixture(scope="session")
def farm():
    try:
        with engine() as environment:
            words, base = compose_command(environment), base_image(environment)
            with site(words, environment, base) as put_up:
                yield put_up
    except NoEngineError as error:
        pytest.skip(str(error))


def health_url(port):
    """Give the status and the reason of a node's health URL, from this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status, answer.headers["X-Farm-Reason"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["X-Farm-Reason"]


def test_all_six_containers_are_healthy(farm):
    assert {name: farm.health(name) for name in FARM} == dict.fromkeys(FARM, "healthy")


def test_haproxy_on_this_machines_port_8080_spreads_requests_over_all_three(farm):
    answered = Counter()
    for _ in range(30):
        with urllib.request.urlopen("http://127.0.0.1:8080/", timeout=5) as answer:
            answered[answer.read().decode().strip()] += 1

    # The client of the compose file asks the same HAProxy meanwhile, and takes turns of its own.
    assert set(answered) == set(NODES)
    assert max(answered.values()) - min(answered.values()) <= 4, answered


def test_the_virtual_ip_is_served_by_all_three_to_one_client(farm):
    with farm.probing(seconds=2, interval=0.05) as answers:
        pass

    at_vip = [answer.by for answer in answers if answer.target == VIP]
    assert set(at_vip) == set(NODES)
    assert len(at_vip) >= 10


def test_the_client_shows_who_answered(farm):
    def last_line():
        return farm.docker("logs", "--tail", "1", farm.container("client")).split()

    until(lambda: "-" not in last_line(), what="the client is answered by both")
    _time, _the, vip, by_vip, haproxy, by_haproxy = last_line()
    assert (vip, haproxy) == ("VIP:", "HAProxy:")
    assert {by_vip, by_haproxy} <= set(NODES)


def test_the_sidecars_are_root_with_two_capabilities_and_the_others_have_none(farm):
    given = {}
    for service in (*FARM, "balancer", "client", "aws"):
        told = farm.inspect(service)
        host = told["HostConfig"]
        assert not host["Privileged"]
        assert host["CapDrop"] == ["ALL"]
        given[service] = (told["Config"]["User"], [name.removeprefix("CAP_") for name in host["CapAdd"] or []])

    assert {given.pop(f"sidecar{number}")[0] for number in "123"} == {"root"}
    assert all(user != "root" and user and not added for user, added in given.values()), given
    for number in "123":
        host = farm.inspect(f"sidecar{number}")["HostConfig"]
        assert sorted(name.removeprefix("CAP_") for name in host["CapAdd"]) == ["NET_ADMIN", "NET_RAW"]
        assert host["ReadonlyRootfs"]


def test_the_console_shows_the_whole_farm_on_this_machines_port_9453(farm):
    token = json.loads(farm.inside("sidecar1", "hcsidecar", "api-token", "add", "test", "--role", "monitor", "--json"))
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE

    def shown():
        headers = {"Authorization": f"Bearer {token['token']}"}
        request = urllib.request.Request("https://127.0.0.1:9453/api/v1/farm", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5, context=unverified) as answer:  # noqa: S310 - our own
                return {node["name"]: node["answers"] for node in json.loads(answer.read())["nodes"]}
        except (OSError, http.client.HTTPException):
            return {}

    until(lambda: shown() == dict.fromkeys(NODES, True), what="the console shows that all nodes answer")
    host = farm.inspect("console")["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["ReadonlyRootfs"]


def test_settings_that_are_right_already_are_left_alone_by_a_daemon_that_may_not_write_them(farm):
    for number in "123":
        assert farm.inside(f"web{number}", "cat", "/proc/sys/net/ipv4/conf/all/arp_ignore") == "1\n"
        assert farm.inside(f"sidecar{number}", "cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore") == "0\n"
        log = farm.docker("logs", farm.container(f"sidecar{number}"))
        assert "arp_ignore" not in log
        assert "arp_announce" not in log


def test_l2_check_finds_no_problem(farm):
    told = farm.inside("sidecar1", "hcsidecar", "l2-check")

    assert "198.51.100.50: answered by" in told


def test_the_key_is_made_once_and_is_the_same_for_all_and_in_no_image(farm):
    keys = {farm.inside(f"sidecar{number}", "hcsidecar", "key", "list") for number in "123"}
    assert len(keys) == 1
    image = farm.inspect("sidecar1")["Image"]
    found = farm.docker("run", "--rm", "--user", "root", "--entrypoint", "find", image, "/", "-xdev", "-name", "*.key")
    assert found == ""


def test_a_drained_node_is_no_broken_container(farm):
    farm.inside("sidecar1", "hcsidecar", "drain")
    try:
        until(lambda: health_url(9011)[0] == 404, what="the health URL of web1 is 404")
        farm.inside("sidecar1", "alive")
        assert health_url(9012)[0] == 200
    finally:
        farm.inside("sidecar1", "hcsidecar", "resume")
    until(lambda: health_url(9011)[0] == 200, what="the health URL of web1 is 200")


def test_the_target_group_shows_who_is_there_and_who_has_left(farm):
    all_three = dict.fromkeys(("198.51.100.11", "198.51.100.12", "198.51.100.13"), "healthy")
    until(lambda: farm.targets() == all_three, what="all three are registered")

    farm.inside("sidecar3", "hcsidecar", "leave")
    left = farm.targets()
    farm.inside("sidecar3", "hcsidecar", "start")

    assert left.keys() == {"198.51.100.11", "198.51.100.12"}
    until(lambda: farm.targets() == all_three, what="web3 is registered again")
    farm.be_whole()


def test_a_killed_web_server_costs_haproxy_nothing_after_its_fall_time_and_the_virtual_ip_a_moment(farm, capsys):
    with farm.probing(seconds=12) as answers:
        killed = monotonic()
        farm.docker("kill", farm.container("web2"))

    at_vip = [answer for answer in answers if answer.target == VIP]
    at_haproxy = [answer for answer in answers if answer.target == HAPROXY]
    # Who meets a dead server asks again after a second: its connection has waited for another server.
    waited = [answer.began - killed for answer in at_vip if answer.by is None or answer.took > 0.9]
    with capsys.disabled():
        print(  # noqa: T201 - the figures of the manual
            f"\nafter `docker kill`, connections to the virtual IP that had to wait: {len(waited)} of {len(at_vip)},"
            f" begun after {min(waited, default=0):.3f} to {max(waited, default=0):.3f} s;"
            f" failed: {sum(answer.by is None for answer in at_vip)};"
            f" through HAProxy: {sum(answer.took > 0.9 for answer in at_haproxy)} of {len(at_haproxy)} waited,"
            f" failed: {sum(answer.by is None for answer in at_haproxy)}"
        )
    assert [answer for answer in at_haproxy if answer.by is None and answer.began > killed + FALL_TIME] == []
    # 0.7 s is what it takes; the rest is for a machine that has something else to do.
    assert [late for late in waited if late > 5] == []
    assert {answer.by for answer in at_vip if answer.began > killed + 5} == {"web1", "web3"}
    until(lambda: farm.health("sidecar2") == "exited", what="sidecar2 ends, whose network is gone")
    farm.be_whole()


def test_a_web_server_that_crashes_comes_back_with_its_sidecar_by_itself(farm):
    first = farm.inspect("sidecar3")["State"]["StartedAt"]
    # The first process is docker-init, which ends with its child, and takes the shell with it.
    command = ("sh", "-c", "kill -KILL $(cat /tmp/nginx.pid)")
    farm.docker("exec", "--detach", farm.container("web3"), *command)

    until(lambda: farm.inspect("sidecar3")["State"]["StartedAt"] != first, what="sidecar3 is started anew")
    until(lambda: farm.health("sidecar3") == "healthy", what="sidecar3 is healthy")
    until(lambda: farm.view() == list(NODES), what="web3 is in the view again")


def test_without_a_virtual_ip_the_image_needs_neither_root_nor_capabilities(farm, tmp_path):
    tmp_path.chmod(0o755)
    file = tmp_path / "farm.toml"
    file.write_text(
        '[farm]\nname = "apache"\nkey_file = "key/farm.key"\n[[node]]\nname = "web1"\naddress = "127.0.0.1"\n'
    )
    file.chmod(0o644)
    image = farm.inspect("sidecar1")["Image"]
    mounted = [
        "--volume",
        f"{file}:/etc/hcsidecar/farm.toml:ro",
        "--env",
        "HCSIDECAR_NEW_KEY=/etc/hcsidecar/key/farm.key",
    ]
    limits = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--network", "none", "--init"]
    container = farm.docker("run", "--detach", *limits, *mounted, image).strip()
    try:
        until(
            lambda: "UP(Ready)" in farm.docker("exec", container, "sh", "-c", "hcsidecar status || true"),
            what="the node is Ready",
        )
        farm.docker("exec", container, "alive")
        assert farm.docker("exec", container, "id", "-un") == "hcsidecar\n"
    finally:
        farm.docker("rm", "--force", "--volumes", container)
