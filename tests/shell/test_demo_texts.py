"""What the demo writes for others to read: the readers themselves say that it is right."""

import subprocess
import tomllib
from itertools import combinations
from pathlib import Path

from hcsidecar.core.settings import FarmFile, read
from hcsidecar.demo.plan import CANDIDATES, LOST_AFTER, PULSE, Plan
from hcsidecar.demo.programs import find_tool
from hcsidecar.demo.stage import HAPROXY, NGINX, write_files
from hcsidecar.demo.texts import apache_config, farm_file, haproxy_config, page

PLAN = Plan(directory=Path("/demo"), number=3)


def test_every_server_gets_a_farm_file_that_is_right():
    for server in PLAN.servers:
        farm = read(tomllib.loads(farm_file(PLAN, server)))
        assert isinstance(farm, FarmFile), farm
        assert [node.address for node in farm.node] == ["127.77.3.11", "127.77.3.12", "127.77.3.13"]
        assert farm.node_named(server.name).address == farm.check[0].address
        assert (farm.heartbeat.pulse, farm.heartbeat.lost_after) == (PULSE, LOST_AFTER)


def test_the_servers_agree_on_what_farms_must_agree_on():
    digests = {read(tomllib.loads(farm_file(PLAN, server))).settings_digest() for server in PLAN.servers}
    assert len(digests) == 1


def test_haproxy_accepts_its_configuration(tmp_path):
    plan = Plan(directory=tmp_path, number=0)
    plan.balancer_config.write_text(haproxy_config(plan))
    check = subprocess.run(
        [find_tool(HAPROXY), "-c", "-f", plan.balancer_config], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr
    assert "WARNING" not in check.stderr


def test_nginx_accepts_its_configuration(tmp_path):
    plan = Plan(directory=tmp_path, number=0)
    write_files(plan, apache=False)
    for server in plan.servers:
        check = subprocess.run(
            [find_tool(NGINX), "-t", "-p", plan.home(server), "-c", plan.web_config(server), "-e", "stderr"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert check.returncode == 0, check.stderr


def test_apache_serves_the_page_too_and_becomes_another_user_only_for_root():
    server = PLAN.servers[1]
    for_root = apache_config(PLAN, server, user="www-data")
    assert f'ErrorDocument 200 "{page(server)}"' in for_root
    assert "User www-data\nGroup www-data\nListen 127.77.3.12:8380\n" in for_root
    assert "User" not in apache_config(PLAN, server, user=None)


def test_the_key_file_of_every_server_is_the_same_and_private(tmp_path):
    plan = Plan(directory=tmp_path, number=0)
    write_files(plan, apache=False)
    keys = [plan.home(server) / "farm.key" for server in plan.servers]
    assert len({key.read_bytes() for key in keys}) == 1
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


def test_no_two_plans_share_an_address_or_a_port():
    plans = [Plan(directory=Path("/demo"), number=number) for number in range(CANDIDATES)]
    for one, other in combinations(plans, 2):
        assert not set(one.tcp) & set(other.tcp)
        assert not {port for _, port in one.tcp} & {port for _, port in other.tcp}
        assert not {port for _, port in one.udp} & {port for _, port in other.udp}
    assert all(port < 32768 for plan in plans for _, port in plan.tcp), "where the kernel takes ports for clients"


def test_everything_stays_on_loopback():
    addresses = {address for address, _ in (*PLAN.tcp, *PLAN.udp)} | {PLAN.balancer}
    assert all(address.startswith("127.77.3.") for address in addresses)
