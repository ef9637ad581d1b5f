"""What the demo writes for others to read: the readers themselves say that it is right."""

import os
import subprocess
import tempfile
import tomllib
from itertools import combinations
from pathlib import Path

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.demo.plan import (
    CANDIDATES,
    CLIENT_ADDRESSES,
    DRAIN,
    HANG,
    LOST_AFTER,
    PREFIX_LENGTH,
    PULSE,
    SHARE,
    START,
    STOP,
    STOP_PATIENCE,
    Plan,
)
from hcsidecar.demo.programs import DemoError, find_tool
from hcsidecar.demo.putting_up import write_files
from hcsidecar.demo.stage import HAPROXY
from hcsidecar.demo.texts import apache_config, farm_file, haproxy_config, nginx_config, page
from hcsidecar.demo.web import APACHE, NGINX, WebServer
from hcsidecar.farmfile.permissions import why_not_run

WEB = WebServer(tool=NGINX, path=find_tool(NGINX))
PLAN = Plan(directory=Path("/demo"), number=3)
BRIDGED = Plan(directory=Path("/demo"), number=3, bridged=True)


def test_every_server_gets_a_farm_file_that_is_right():
    for server in PLAN.servers:
        farm = read(tomllib.loads(farm_file(PLAN, server)))
        assert isinstance(farm, FarmFile), farm
        assert [node.address for node in farm.node] == ["127.77.3.11", "127.77.3.12", "127.77.3.13"]
        assert farm.node_named(server.name).address == farm.check[0].address
        assert (farm.heartbeat.pulse, farm.heartbeat.lost_after) == (PULSE, LOST_AFTER)


def test_on_the_bridge_all_servers_have_the_same_farm_file_and_it_has_a_virtual_ip():
    texts = {farm_file(BRIDGED, server) for server in BRIDGED.servers}
    assert len(texts) == 1
    farm = read(tomllib.loads(texts.pop()))
    assert isinstance(farm, FarmFile), farm
    assert [node.address for node in farm.node] == ["198.51.100.11", "198.51.100.12", "198.51.100.13"]
    assert [vip.address for vip in farm.l2.vip] == [BRIDGED.vip]
    assert [(share.name, share.ports, share.by) for share in farm.l2.share] == [(SHARE, (80,), "address")]
    assert (farm.l2.delivery, farm.l2.filter) == ("directed", "auto")


def test_without_a_bridge_there_is_no_layer_two_and_the_web_servers_run_by_themselves():
    farm = read(tomllib.loads(farm_file(PLAN, PLAN.servers[0])))
    assert (farm.l2, farm.application) == (None, None)


def test_on_the_bridge_a_stop_script_gives_up_before_its_time_is_over(tmp_path):
    plan = Plan(directory=tmp_path, number=0, bridged=True)
    write_files(plan, WEB)
    table = read(tomllib.loads(plan.farm_file(plan.servers[0]).read_text())).application
    assert (table.scripts, table.drain) == ({"start": START, "stop": STOP}, DRAIN)
    assert table.stop_timeout > STOP_PATIENCE


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_daemons_may_run_the_scripts_whatever_the_umask(tmp_path, umask):
    plan = Plan(directory=tmp_path, number=0, bridged=True)
    before = os.umask(umask)
    try:
        write_files(plan, WEB)
    finally:
        os.umask(before)
    for server in plan.servers:
        assert [why_not_run(plan.home(server) / name) for name in (START, STOP, HANG)] == [None] * 3


def test_a_directory_that_others_can_change_is_no_place_for_scripts():
    # One with a path short enough for sockets.
    with tempfile.TemporaryDirectory(prefix="demo-") as place:
        Path(place).chmod(0o777)
        with pytest.raises(DemoError, match=r"which may be written by others than its owner: .*; another TMPDIR"):
            write_files(Plan(directory=Path(place), number=0, bridged=True), WEB)


def test_both_web_servers_go_to_the_background_for_scripts_only():
    server = PLAN.servers[0]
    assert "daemon off;" in nginx_config(PLAN, server)
    assert "daemon on;" in nginx_config(BRIDGED, server)
    apache = WebServer(tool=APACHE, path="/usr/sbin/apache2")
    assert "-DFOREGROUND" in apache.command(PLAN, server)
    assert "-DFOREGROUND" not in apache.command(BRIDGED, server)


def test_every_host_at_the_bridge_has_addresses_of_its_own():
    addresses = [address for host in BRIDGED.hosts for address in host.addresses]
    assert len(addresses) == len(set(addresses)) == 3 + 1 + CLIENT_ADDRESSES
    assert f"{BRIDGED.vip}/{PREFIX_LENGTH}" not in addresses
    assert PLAN.hosts == ()


def test_web_servers_on_the_bridge_listen_at_the_virtual_ip_too():
    server = BRIDGED.servers[0]
    assert "listen 0.0.0.0:80;" in nginx_config(BRIDGED, server)
    assert "Listen 0.0.0.0:80\n" in apache_config(BRIDGED, server, user=None)


def test_the_servers_agree_on_what_farms_must_agree_on():
    digests = {read(tomllib.loads(farm_file(PLAN, server))).settings_digest() for server in PLAN.servers}
    assert len(digests) == 1


def test_haproxy_accepts_its_configuration(tmp_path):
    plan = Plan(directory=tmp_path, number=0)
    plan.balancer_config.write_text(haproxy_config(plan, front="127.0.0.1:8080", stats="127.0.0.1:8404"))
    check = subprocess.run(
        [find_tool(HAPROXY), "-c", "-f", plan.balancer_config], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr
    assert "WARNING" not in check.stderr


def test_nginx_accepts_its_configuration(tmp_path):
    plan = Plan(directory=tmp_path, number=0)
    write_files(plan, WEB)
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
    write_files(plan, WEB)
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


def test_on_the_bridge_only_the_listeners_of_haproxy_and_of_the_consoles_are_this_machines():
    assert BRIDGED.udp == ()
    assert BRIDGED.tcp == tuple(("127.77.3.10", port) for port in (8380, 8704, 9753, 9754, 9755))
