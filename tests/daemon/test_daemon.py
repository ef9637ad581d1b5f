"""The daemon as a whole: real processes, sockets and signals."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemons import fetch, network_namespace, real_farm, wait_for

from hcsidecar.net.keyring import Keyring


def test_three_daemons_agree_answer_probes_and_show_the_farm(tmp_path):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        status, headers, body = fetch(farm.url("web2"))
        assert (status, body) == (200, "OK\n")
        assert headers["x-farm-node"] == "web2"
        assert headers["x-farm-state"] == "UP(Ready)"
        assert fetch(farm.url("web1", "/var/modules/apache/ready.txt"))[0] == 200
        done = farm.cli("status", node="web1")
        assert done.returncode == 0
        for name, address in farm.addresses.items():
            assert name in done.stdout
            assert address in done.stdout


def test_a_killed_node_is_dead_for_the_others_within_seconds_and_comes_back(tmp_path):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        farm.kill("web3")
        wait_for(lambda: farm.view("web1") == ["web1", "web2"])
        wait_for(lambda: "web3 is dead: silent for" in farm.log("web1"))
        farm.start("web3").all_ready()
        wait_for(lambda: "web3 is heard" in farm.log("web1").split("is dead")[1])


def test_drain_answers_not_found_at_once_and_resume_ends_it(tmp_path):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        assert farm.cli("drain", node="web1").returncode == 0
        status, headers, body = fetch(farm.url("web1"))
        assert (status, body) == (404, "NOT FOUND\n")
        assert headers["x-envoy-immediate-health-check-fail"]
        assert "drained by the operator" in headers["x-farm-reason"]
        wait_for(lambda: farm.view("web2") == ["web2", "web3"])
        about = next(node for node in farm.status("web2")["nodes"] if node["name"] == "web1")
        assert (about["draining"], about["alive"]) == (True, True)
        assert farm.cli("resume", node="web1").returncode == 0
        assert farm.health("web1") == 200


def test_the_last_ready_node_is_not_drained_unless_forced(tmp_path):
    with real_farm(tmp_path, names=("web1", "web2")) as farm:
        farm.start().all_ready()
        assert farm.cli("drain", node="web1").returncode == 0
        wait_for(lambda: farm.view("web2") == ["web2"])
        refused = farm.cli("drain", node="web2")
        assert refused.returncode == 1
        assert "keep_ready" in refused.stderr
        assert farm.health("web2") == 200
        assert farm.cli("drain", "--force", node="web2").returncode == 0
        assert farm.health("web2") == 404


def test_stop_stops_the_module_and_a_restarted_daemon_remembers_it(tmp_path):
    with real_farm(tmp_path, names=("web1", "web2"), extra='[health]\nlame_duck = "1s"') as farm:
        farm.start().all_ready()
        assert farm.cli("stop", node="web1").returncode == 0
        assert farm.cli("status", node="web1").returncode == 3
        farm.kill("web1")
        farm.start("web1")
        wait_for(lambda: fetch(farm.url("web1"))[0] == 404)
        assert farm.cli("status", node="web1").returncode == 3
        assert farm.cli("start", node="web1").returncode == 0
        wait_for(lambda: farm.health("web1") == 200)


def test_commands_reach_other_nodes_through_the_local_one(tmp_path):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        assert farm.cli_beside("web1", "drain", node="web3").returncode == 0
        assert farm.health("web3") == 404


def test_a_running_node_obeys_and_goes_on_when_its_files_are_out_of_order(tmp_path):
    with real_farm(tmp_path, names=("web1", "web2")) as farm:
        farm.start().all_ready()
        right, key_file = farm.config.read_text(), tmp_path / "farm.key"
        key_file.chmod(0o644)
        shown = farm.cli("status", node="web1")
        assert shown.returncode == 0
        assert "may be read or written by others" in shown.stderr
        farm.config.write_text(right.replace("[heartbeat]", "[heartbeat"))
        drained = farm.cli("drain", node="web1")
        assert (drained.returncode, farm.health("web1")) == (0, 404)
        assert "is not TOML" in drained.stderr
        assert "is heard" in farm.cli("logs", node="web1").stdout
        key_file.unlink()
        Keyring.create(key_file, now=datetime.now(UTC)).write(replace=False)
        for name in farm.names:
            wait_for(lambda name=name: "has another hash seed than the one in use" in farm.log(name))
        assert farm.cli("resume", node="web1").returncode == 0
        farm.all_ready()
        assert "loaded the keys" not in farm.log("web1") + farm.log("web2")


def test_a_start_with_another_farms_key_file_is_told_and_an_alarm_while_the_farm_has_the_former_one(tmp_path):
    with real_farm(tmp_path, names=("web1", "web2")) as farm:
        farm.start().all_ready()
        wait_for(lambda: '"keys"' in (farm.socket("web2").parent / "state.json").read_text(), what="the fingerprints")
        farm.kill("web2")
        key_file = tmp_path / "farm.key"
        ours = key_file.read_bytes()
        key_file.unlink()
        Keyring.create(key_file, now=datetime.now(UTC)).write(replace=False)
        farm.start("web2")
        wait_for(lambda: "web1: heard with keys that are not in" in farm.log("web2"), what="the alarm")
        [told] = [line for line in farm.log("web2").splitlines() if "is not the one that this node had before" in line]
        assert " warning " in told
        assert f"{key_file} is not" in told
        wait_for(lambda: farm.health("web2") == 200)
        assert f"web1: heard with keys that are not in {key_file}" in json.dumps(farm.status("web2"))
        farm.kill("web2")
        farm.start("web2")
        wait_for(lambda: farm.log("web2").count(" heard with keys") == 2, what="the alarm of the next start")
        farm.kill("web2")
        key_file.write_bytes(ours)
        farm.start("web2").all_ready()
        assert farm.log("web2").count("is not the one that this node had before") == 2


def test_a_farm_whose_keys_were_all_replaced_comes_up_and_knows_the_new_ones_from_then_on(tmp_path):
    with real_farm(tmp_path, names=("web1", "web2")) as farm:
        farm.start().all_ready()
        homes = [farm.socket(name).parent for name in farm.names]
        wait_for(lambda: all('"keys"' in (home / "state.json").read_text() for home in homes), what="the fingerprints")
        farm.end()
        (tmp_path / "farm.key").unlink()
        Keyring.create(tmp_path / "farm.key", now=datetime.now(UTC)).write(replace=False)
        farm.start().all_ready()
        wait_for(lambda: all("are the farm's: heard from" in farm.log(name) for name in farm.names), what="the news")
        new = Keyring.load(tmp_path / "farm.key").active_id
        wait_for(lambda: all(f"{new}" in (home / "state.json").read_text() for home in homes), what="the new ones kept")
        farm.end()
        farm.start().all_ready()
        assert [farm.log(name).count("is not the one that this node had before") for name in farm.names] == [1, 1]
        assert all(" heard with keys" not in farm.log(name) for name in farm.names)


def test_a_node_whose_state_is_removed_says_so_in_a_line_and_keeps_the_operators_last_word(tmp_path):
    with real_farm(tmp_path, names=("web1", "web2")) as farm:
        farm.start().all_ready()
        assert farm.act("web1", "drain")["ok"]
        home = farm.socket("web1").parent
        wait_for(lambda: '"drain"' in (home / "state.json").read_text(), what="the word on the disk")
        shutil.rmtree(home)
        lines = wait_for(lambda: [line for line in farm.log("web1").splitlines() if " warning " in line])
        [line] = [line for line in lines if "somebody has changed files of this running node" in line]
        told = [each.split(" (")[0] for each in line.partition(f" in {home}, ")[2].split("), ")]
        own = ("console.sock", "control.sock", "events.db", "running.json", "state.json")
        assert told == [f"{name} was removed" for name in own]
        assert farm.act("web1", "drain")["ok"]
        wait_for(
            lambda: b"control.sock was removed" in (home / "events.db-wal").read_bytes(), what="the event on the disk"
        )
        farm.kill("web1")
        assert "control.sock was removed" in farm.cli("logs", node="web1").stdout
        farm.start("web1")
        wait_for(lambda: "drained by the operator" in fetch(farm.url("web1"))[1].get("x-farm-reason", ""))


def test_sigterm_drains_while_probes_go_on_and_ends_with_0(tmp_path):
    with real_farm(tmp_path, extra='[health]\nlame_duck = "30s"') as farm:
        farm.start().all_ready()
        leaver = farm.daemons["web1"]
        leaver.send_signal(signal.SIGTERM)
        wait_for(lambda: farm.health("web1") == 404)
        # The drain ends once this prober has had its fill of NOT FOUND, long before the limit.
        wait_for(lambda: farm.health("web1") == 0 and leaver.poll() is not None)
        assert leaver.returncode == 0
        wait_for(lambda: farm.view("web2") == ["web2", "web3"])
        assert "web1 has left" in farm.log("web2")
        assert "web1 is dead" not in farm.log("web2")


def test_a_second_sigterm_ends_the_drain_at_once(tmp_path):
    with real_farm(tmp_path, names=("web1",), extra='[health]\nlame_duck = "10m"') as farm:
        farm.start()
        wait_for(lambda: farm.health("web1") == 200)
        daemon = farm.daemons["web1"]
        daemon.send_signal(signal.SIGTERM)
        wait_for(lambda: farm.health("web1") == 404)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0


def test_a_check_that_fails_takes_the_node_out_and_back(tmp_path):
    check = '[[check]]\ntype = "tcp"\nname = "APP"\naddress = "@1"\nport = 8099\ninterval = "200ms"\ntimeout = "1s"'
    with real_farm(tmp_path, names=("web1", "web2"), extra=check) as farm:
        application = socket.create_server((f"{farm.prefix}1", 8099))
        farm.start().all_ready()
        application.close()
        wait_for(lambda: farm.health("web1") == 404)
        reason = fetch(farm.url("web1"))[1]["x-farm-reason"]
        assert "APP" in reason
        assert farm.cli("status", node="web1").returncode == 1
        with socket.create_server((f"{farm.prefix}1", 8099)):
            wait_for(lambda: farm.health("web1") == 200)


def test_a_frozen_daemon_starts_again_when_it_thaws(tmp_path):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        frozen = farm.daemons["web3"]
        frozen.send_signal(signal.SIGSTOP)
        wait_for(lambda: farm.view("web1") == ["web1", "web2"])
        frozen.send_signal(signal.SIGCONT)
        farm.all_ready()
        assert "stood still" in farm.log("web3")


def test_nothing_but_health_is_answered_without_a_signature(tmp_path):
    with real_farm(tmp_path, names=("web1",)) as farm:
        farm.start()
        wait_for(lambda: farm.health("web1") == 200)
        for method, path in [("GET", "/api/v1/status"), ("POST", "/api/v1/actions/stop"), ("GET", "/"), ("GET", "/x")]:
            status, headers, body = fetch(farm.url("web1", path), method=method)
            assert status == 401, path
            assert "aiohttp" not in str(headers).lower()
            assert body == ""
        connection = http.client.HTTPConnection(farm.addresses["web1"], 9010, timeout=5)
        answers = []
        for path in ("/health", "/api/v1/status", "/health"):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            answers.append(response.status)
        connection.close()
        assert answers == [200, 401, 200]


def test_a_second_daemon_of_the_same_node_says_what_is_in_its_way(tmp_path):
    with real_farm(tmp_path, names=("web1",)) as farm:
        farm.start()
        wait_for(lambda: farm.health("web1") == 200)
        first = farm.daemons.pop("web1")
        farm.start("web1")
        assert farm.daemons["web1"].wait(15) == 1
        assert "another daemon answers on" in farm.log("web1")
        farm.daemons["web1"] = first
        assert farm.health("web1") == 200


def test_a_wrong_farm_file_does_not_start(tmp_path):
    with real_farm(tmp_path, names=("web1",), extra="[web]\nlisen = 3\n[health]\nlame_duck = 10") as farm:
        farm.start()
        assert farm.daemons["web1"].wait(15) == 2
        assert "web.lisen" in farm.log("web1")
        assert "health.lame_duck" in farm.log("web1")


def test_nothing_is_left_after_the_end(tmp_path):
    with real_farm(tmp_path, names=("web1",), extra='[health]\nlame_duck = "0s"') as farm:
        farm.start()
        wait_for(lambda: farm.health("web1") == 200)
        farm.daemons["web1"].send_signal(signal.SIGTERM)
        assert farm.daemons["web1"].wait(10) == 0
        assert sorted(path.name for path in (tmp_path / "s").rglob("*") if not path.is_dir()) == [
            "events.db",
            "running.json",
            "state.json",
        ]


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_a_farm_of_ipv6_agrees_and_reaches_its_other_nodes(tmp_path):
    addresses = [f"2001:db8::{number}/128" for number in (1, 2, 3)]
    with (
        network_namespace(*addresses) as netns,
        real_farm(tmp_path, prefix="2001:db8::", netns=netns) as farm,
    ):
        farm.start()
        wait_for(lambda: all(farm.view(name) == ["web1", "web2", "web3"] for name in farm.names))
        assert farm.cli_beside("web1", "drain", node="web3").returncode == 0
        wait_for(lambda: farm.view("web1") == ["web1", "web2"])
        curl = ["ip", "netns", "exec", netns, "curl", "-s", "-g", "-w", "%{http_code}", farm.url("web3")]
        assert subprocess.run(curl, capture_output=True, text=True, check=True).stdout == "NOT FOUND\n404"


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_a_node_whose_address_is_gone_says_so_once_and_that_it_is_back(tmp_path):
    addresses = [f"2001:db8::{number}/128" for number in (1, 2)]
    with (
        network_namespace(*addresses) as netns,
        real_farm(tmp_path, names=("web1", "web2"), prefix="2001:db8::", netns=netns) as farm,
    ):
        farm.start()
        wait_for(lambda: all(farm.view(name) == ["web1", "web2"] for name in farm.names))
        subprocess.run(["ip", "-n", netns, "addr", "del", addresses[0], "dev", "lo"], check=True)
        wait_for(lambda: "has lost its addresses" in farm.status("web1")["nodes"][0]["reason"])
        subprocess.run(["ip", "-n", netns, "addr", "add", addresses[0], "dev", "lo", "nodad"], check=True)
        wait_for(lambda: farm.status("web1")["nodes"][0]["reason"] == "")
        wait_for(lambda: all(farm.view(name) == ["web1", "web2"] for name in farm.names))
        log = farm.log("web1")
        assert log.count("error   daemon: 2001:db8::1 is no address of this machine any more") == 1
        assert log.count("2001:db8::1 is an address of this machine again") == 1
        assert "no address of this machine" not in farm.log("web2")


def test_tls_a_health_listener_of_its_own_and_the_agent_check_say_the_same(tmp_path):
    extra = (
        '[web]\ntls = { cert = "farm.crt", key = "farm.pem" }\n'
        '[health]\nlisten = ["@1:9080"]\nagent_check = "@1:9011"\npath = "/alive"\nlame_duck = "0s"\n'
    )
    make_certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=apache", "-keyout", tmp_path / "farm.pem", "-out", tmp_path / "farm.crt"]
    subprocess.run([*make_certificate, *names], check=True, capture_output=True)
    with real_farm(tmp_path, names=("web1",), extra=extra) as farm:
        farm.start()
        plain = f"http://{farm.prefix}1:9080/alive"
        secret = f"https://{farm.prefix}1:9010/alive"
        curl = [
            "curl",
            "-s",
            "--cacert",
            tmp_path / "farm.crt",
            "--connect-to",
            "apache:9010:" + f"{farm.prefix}1:9010",
        ]
        wait_for(lambda: fetch(plain)[0] == 200)
        over_tls = subprocess.run([*curl, "https://apache:9010/alive"], capture_output=True, text=True, check=True)
        assert over_tls.stdout == "OK\n"
        assert agent_word(farm) == "ready up 100%\n"
        assert farm.cli("drain", "--force", node="web1").returncode == 0
        assert agent_word(farm) == "drain up\n"
        assert fetch(plain)[0] == 404
        assert fetch(secret)[0] == 0, "a certificate of our own making is not trusted by everybody"


def agent_word(farm):
    with socket.create_connection((f"{farm.prefix}1", 9011), timeout=5) as connection:
        return connection.makefile().read()


def test_a_node_that_cannot_hold_the_virtual_ips_says_why_and_ends(tmp_path):
    extra = '[l2]\n[[l2.vip]]\naddress = "192.0.2.50"\n[[l2.share]]\nname = "APACHE"\nports = [80]\n'
    with real_farm(tmp_path, extra=extra) as farm:
        farm.start("web1")
        assert farm.daemons["web1"].wait(timeout=20) == 1
        assert "layer-2 mode: no interface holds this node's address" in farm.log("web1")


def test_signals_that_mean_nothing_end_nothing_and_are_told_once(tmp_path):
    with real_farm(tmp_path, names=("web1",)) as farm:
        farm.start().all_ready()
        daemon = farm.daemons["web1"]
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXCPU, signal.SIGRTMIN + 3):
            for _ in range(2):
                daemon.send_signal(number)
                wait_for(lambda: f"{name_of(number)} has no meaning here" in farm.log("web1"))  # noqa: B023
        assert farm.health("web1") == 200
        assert farm.log("web1").count("has no meaning here") == 5


def name_of(number):
    return "SIGRTMIN+3" if number == signal.SIGRTMIN + 3 else signal.Signals(number).name


def test_a_daemon_that_starts_again_in_its_place_stays_the_main_process_for_systemd(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener, tempfile.TemporaryDirectory() as short:
        listener.bind(f"{short}/notify")
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{short}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        with real_farm(tmp_path, names=("web1",)) as farm:
            farm.start().all_ready()
            assert farm.act("web1", "restart-daemon")["ok"]
            told = []
            while sum("READY=1" in each for each in told) < 2:
                told.append(listener.recv(4096).decode())
            pid = farm.daemons["web1"].pid
            ready = f"READY=1\nMAINPID={pid}\nWATCHDOG_USEC=60000000"
            assert [each for each in told if "READY=1" in each] == [ready, ready]
            assert not any("STOPPING=1" in each for each in told)
            again = told.index("STATUS=starts again\nWATCHDOG=1\nWATCHDOG_USEC=900000000")
            assert sum("READY=1" in each for each in told[:again]) == 1
            assert farm.daemons["web1"].poll() is None


def test_sigquit_drains_as_sigterm_does(tmp_path):
    with real_farm(tmp_path, names=("web1",), extra='[health]\nlame_duck = "10m"') as farm:
        farm.start().all_ready()
        farm.daemons["web1"].send_signal(signal.SIGQUIT)
        wait_for(lambda: farm.health("web1") == 404)
        farm.daemons["web1"].send_signal(signal.SIGQUIT)
        assert farm.daemons["web1"].wait(10) == 0


def test_sighup_says_what_of_the_farm_file_is_not_taken_and_the_node_serves_on(tmp_path):
    with real_farm(tmp_path, names=("web1",)) as farm:
        farm.start().all_ready()
        daemon, right = farm.daemons["web1"], farm.config.read_text()
        daemon.send_signal(signal.SIGHUP)
        wait_for(lambda: "SIGHUP: the farm file says what is in force" in farm.log("web1"))
        assert "loaded the keys of the key file" in farm.log("web1")
        farm.config.write_text(f'{right}[health]\nlame_duck = "50s"\n')
        daemon.send_signal(signal.SIGHUP)
        wait_for(lambda: "not in force: health.lame_duck" in farm.log("web1"))
        farm.config.write_text(f"{right}[helth]\n")
        daemon.send_signal(signal.SIGHUP)
        wait_for(lambda: "keeps using the former one: helth" in farm.log("web1"))
        assert farm.health("web1") == 200


def certificate(directory, name):
    subprocess.run(
        [
            *[
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
            ],
            f"/CN={name}",
            "-keyout",
            directory / "farm.pem",
            "-out",
            directory / "farm.crt",
        ],
        check=True,
        capture_output=True,
    )


def test_sighup_takes_a_new_certificate_and_keeps_the_former_one_when_it_is_wrong(tmp_path):
    def subject():
        asked = ["openssl", "s_client", "-connect", f"{farm.addresses['web1']}:9010"]
        shown = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return shown.stdout

    certificate(tmp_path, "first")
    with real_farm(tmp_path, names=("web1",), extra='[web]\ntls = { cert = "farm.crt", key = "farm.pem" }') as farm:
        farm.start()
        wait_for(lambda: "CN = first" in subject() or "CN=first" in subject())
        certificate(tmp_path, "second")
        farm.daemons["web1"].send_signal(signal.SIGHUP)
        wait_for(lambda: "CN = second" in subject() or "CN=second" in subject())
        (tmp_path / "farm.pem").write_text("no key")
        farm.daemons["web1"].send_signal(signal.SIGHUP)
        wait_for(lambda: "the former certificates stay in use" in farm.log("web1"))
        assert "second" in subject()


WAITS = "the start waits, as this may pass by itself: "


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
@pytest.mark.parametrize("named", [True, False], ids=["named", "by its address"])
def test_an_address_that_comes_late_is_waited_for_and_the_line_says_for_what(tmp_path, named):
    with (
        network_namespace() as netns,
        real_farm(tmp_path, names=("web1",), prefix="192.0.2.", netns=netns) as farm,
    ):
        farm.start("web1", named=named)
        why = "heartbeats cannot use UDP 192.0.2.1 port 4803" if named else "node: has no address of this machine"
        wait_for(lambda: f"{WAITS}{why}" in farm.log("web1"))
        assert farm.daemons["web1"].poll() is None
        for command in ("status", "drain", "stop", "metrics"):
            told = farm.cli(command)
            assert (told.returncode, told.stdout) == (1, "")
            assert (
                f"runs{'' if named else ' here'}, and its start waits, as this may pass by itself: {why}" in told.stderr
            )
        if named:
            assert f"{WAITS}{why}" in farm.cli("logs", node="web1").stdout
        subprocess.run(["ip", "-n", netns, "addr", "add", "192.0.2.1/32", "dev", "lo"], check=True)
        wait_for(lambda: farm.view("web1") == ["web1"])
        assert farm.log("web1").count(WAITS) == 1
        assert "the start goes on, " in farm.log("web1")
        assert farm.cli("status").returncode == 0
        assert [path.name for path in (tmp_path / "s" / "apache").iterdir()] == ["web1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_an_ipv6_address_whose_duplicates_are_looked_for_is_waited_for(tmp_path):
    with (
        network_namespace() as netns,
        real_farm(tmp_path, names=("web1",), prefix="2001:db8::", netns=netns) as farm,
    ):
        for command in (
            "link add eth0 type veth peer name eth1",
            "link set eth1 up",
            "link set eth0 up",
            "addr add 2001:db8::1/64 dev eth0",
        ):
            subprocess.run(["ip", "-n", netns, *command.split()], check=True)
        farm.start("web1")
        wait_for(lambda: farm.view("web1") == ["web1"])


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["heartbeats", "web listener"])
def test_a_port_that_is_still_in_use_is_waited_for(tmp_path, kind):
    with real_farm(tmp_path, names=("web1",)) as farm:
        with socket.socket(socket.AF_INET, kind) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind((farm.addresses["web1"], 4803 if kind == socket.SOCK_DGRAM else 9010))
            if kind == socket.SOCK_STREAM:
                other.listen()
            farm.start("web1")
            wait_for(lambda: "another process has the port" in farm.log("web1"))
        wait_for(lambda: farm.health("web1") == 200)
        assert farm.log("web1").count(WAITS) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_the_interface_of_the_virtual_ips_is_waited_for_with_its_address(tmp_path):
    extra = '[l2]\ninterface = "eth0"\n[[l2.vip]]\naddress = "192.0.2.50"\n'
    extra += '[[l2.share]]\nname = "APACHE"\nports = [80]\n'
    with (
        network_namespace() as netns,
        real_farm(tmp_path, names=("web1",), prefix="192.0.2.", netns=netns, extra=extra) as farm,
    ):
        farm.start("web1")
        for command, what in (
            ("link add eth0 type veth peer name eth1", "there is no interface eth0"),
            ("link set eth0 up", "eth0 is down"),
            ("addr add 192.0.2.1/24 dev eth0", "eth0 has no IPv4 address of its own"),
        ):
            wait_for(lambda: f"{WAITS}layer-2 mode: {what}" in farm.log("web1"))  # noqa: B023
            subprocess.run(["ip", "-n", netns, *command.split()], check=True)
        # The other end of the cable.
        subprocess.run(["ip", "-n", netns, "link", "set", "eth1", "arp", "off", "up"], check=True)
        wait_for(lambda: farm.view("web1") == ["web1"], limit=30)


def test_a_daemon_that_waits_ends_with_0_when_it_is_told_to(tmp_path):
    with real_farm(tmp_path, names=("web1",), prefix="192.0.2.") as farm:
        farm.start("web1")
        wait_for(lambda: WAITS in farm.log("web1"))
        farm.daemons["web1"].send_signal(signal.SIGTERM)
        assert farm.daemons["web1"].wait(10) == 0
        assert "ended while it waited" in farm.log("web1")


def test_no_thread_of_a_daemon_can_hold_up_its_heartbeats_for_want_of_a_processor(tmp_path):
    kinds = (
        'type = "command"\ncommand = ["/bin/sleep", "60"]\ntimeout = "70s"',
        'type = "interface"\ninterface = "lo"',
        'type = "process"\nprocess = "sleep"',
        'type = "http"\naddress = "127.0.0.1"\nport = 1\npattern = "x"',
    )
    checks = "".join(f'[[check]]\n{kind}\nname = "C{index}"\naction = "none"\n' for index, kind in enumerate(kinds))
    with real_farm(tmp_path, names=("web1",), extra=checks) as farm:
        farm.start()
        wait_for(lambda: farm.status("web1"), what="an answer")
        if "no real-time priority" in farm.log("web1"):
            pytest.skip("no real-time priority here")

        def policies():
            found = []
            for thread in Path(f"/proc/{farm.daemons['web1'].pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    found.append(os.sched_getscheduler(int(thread.name)) & ~os.SCHED_RESET_ON_FORK)
            return found

        # Log, events, state, interface and the program that sleeps, beside the main thread.
        wait_for(lambda: len(policies()) >= 6, what="all threads")
        # One that has just begun is about to say it.
        wait_for(lambda: set(policies()) == {os.SCHED_RR}, what="all of them at real-time priority")
        started = [
            int(child)
            for children in Path(f"/proc/{farm.daemons['web1'].pid}/task").glob("*/children")
            for child in children.read_text().split()
        ]
        assert [os.sched_getscheduler(child) for child in started] == [os.SCHED_OTHER], "the program that sleeps"
