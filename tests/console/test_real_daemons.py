"""The console as a process of its own, with real daemons."""

import base64
import contextlib
import http.client
import os
import signal
import ssl
import subprocess
import sys

import pytest
from daemons import real_farm, wait_for
from own_directories import separate_farm
from real_consoles import command, console_of

PASSWORD = "correct horse battery"  # noqa: S105 - of nobody


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    with real_farm(tmp_path_factory.mktemp("farm")) as made:
        yield made.start().all_ready()


def test_the_whole_farm_is_shown_over_tls(farm):
    with console_of(farm, "web1", "--listen", "127.0.0.1:0") as console:
        shown = {name: (node["answers"], node["status"]["status"]) for name, node in console.farm().items()}
        assert shown == dict.fromkeys(("web1", "web2", "web3"), (True, "Ready"))


@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/openapi.json"])
def test_over_tls_it_says_nothing_that_binds_the_other_ports_of_the_host(farm, path):
    with console_of(farm, "web1", "--listen", "127.0.0.1:0") as console:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", console.port, timeout=30, context=unverified)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.getheader("Strict-Transport-Security") is None


def test_each_daemon_keeps_samples_of_its_own_last_hour(farm):
    with console_of(farm, "web1") as console:

        def sampled():
            _, told = console.ask("GET", "/series")
            documents = [each["document"] for each in told["nodes"]]
            return documents if all(1 in each["ready"] for each in documents) else None

        for document, name in zip(wait_for(sampled, limit=30), farm.names, strict=True):
            assert (document["node"], document["interval"]) == (name, 10)
            assert len(document["health"]) == len(document["ready"])
            assert (document["share"], document["connections"]) == ({}, None)  # a farm without [l2]


def test_an_action_is_in_the_log_of_both_nodes_with_who_and_from_where(farm):
    with console_of(farm, "web1") as console:
        status, answer = console.ask("POST", "/actions/drain", {"nodes": ["web2"]})
        assert (status, answer["ok"]) == (200, True), answer
        wait_for(lambda: console.farm()["web2"]["status"]["draining"])
        for node, name in (("web1", "test (API token, 127.0.0.1)"), ("web2", "test@web1 (API token, 127.0.0.1)")):
            _, page = console.ask("GET", f"/events?node={node}&grep=API%20token")
            assert any(name in event["message"] for event in page["events"]), page
        assert console.ask("POST", "/actions/resume", {"nodes": ["web2"]})[1]["ok"]
        wait_for(lambda: not console.farm()["web2"]["status"]["draining"])


def test_a_person_signs_in_with_the_password_that_the_command_line_has_set(farm, tmp_path):
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    added = command(farm, "web2", "user", "add", "alice", "--role", "monitor", "--password-file", str(secret))
    assert added.returncode == 0, added.stderr
    with console_of(farm, "web1") as console:
        status, told = console.ask("POST", "/session", {"name": "alice", "password": PASSWORD})
        assert (status, told["name"], told["role"]) == (200, "alice", "monitor")
        status, _ = console.ask("POST", "/session", {"name": "alice", "password": PASSWORD + "!"})
        assert status == 401


def test_users_and_tokens_are_changed_through_the_console(farm):
    with console_of(farm, "web1") as console:
        status, told = console.ask("POST", "/access/users", {"name": "carol", "role": "control", "password": PASSWORD})
        assert (status, told["ok"]) == (200, True)
        status, made = console.ask("POST", "/access/tokens", {"name": "probe", "role": "monitor", "lasts": 600})
        assert (status, console.ask("GET", "/farm", token=made["token"])[0]) == (200, 200)
        assert console.ask("POST", "/actions/drain", {}, token=made["token"])[0] == 403
        assert console.ask("DELETE", "/access/tokens/probe")[0] == 200
        wait_for(lambda: console.ask("GET", "/farm", token=made["token"])[0] == 401)
        assert console.ask("DELETE", "/access/users/carol")[0] == 200
        assert "carol" not in str(console.ask("GET", "/access")[1]["users"])


def test_a_rolling_restart_of_the_applications_keeps_the_farm_ready(farm):
    with console_of(farm, "web1") as console:
        status, begun = console.ask("POST", "/rolling", {"action": "restart"})
        assert status == 202, begun

        def over():
            report = console.ask("GET", f"/rolling/{begun['id']}")[1]
            return report if report["state"] != "running" else None

        report = wait_for(over, limit=90)
        assert (report["state"], report["outcome"]) == ("done", "restart done: web1, web2, web3"), report


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL], ids=["frozen", "killed"])
def test_a_daemon_that_does_not_answer_is_shown_as_such_and_no_request_hangs(tmp_path, how):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        with console_of(farm, "web1") as console:
            assert console.farm()["web3"]["answers"]
            farm.daemons["web3"].send_signal(how)

            def silent():
                node = console.farm()["web3"]
                return None if node["answers"] else node

            node = wait_for(silent)
            assert node["problem"]
            assert node["status"]["name"] == "web3"
            assert node["age"] >= 0
            assert console.farm()["web2"]["answers"]
            if how == signal.SIGKILL:
                farm.daemons.pop("web3").wait(10)


def test_a_console_whose_own_daemon_is_frozen_shows_what_it_knew(tmp_path):
    with real_farm(tmp_path) as farm:
        farm.start().all_ready()
        with console_of(farm, "web1") as console:
            assert console.farm()["web1"]["answers"]
            farm.daemons["web1"].send_signal(signal.SIGSTOP)
            nodes = wait_for(lambda: (found := console.farm()) and not found["web1"]["answers"] and found)
            assert all("the console's own node does not answer" in node["problem"] for node in nodes.values())
            assert nodes["web2"]["status"]["status"] == "Ready"
            status, refusal = console.ask("POST", "/actions/drain", {"nodes": ["web2"]})
            assert status in (200, 503), refusal
            farm.daemons["web1"].send_signal(signal.SIGCONT)
            wait_for(lambda: console.farm()["web1"]["answers"])


def test_a_console_that_is_frozen_or_killed_delays_no_heartbeat(farm):
    with console_of(farm, "web1") as console:
        console.ask("GET", "/farm")
        before = {name: farm.status(name) for name in farm.names}
        console.process.send_signal(signal.SIGSTOP)
        # Changes of a node go round the farm meanwhile, by heartbeats.
        for _ in range(3):
            for action in ("drain", "resume"):
                assert farm.act("web3", action)["ok"]
                wait_for(lambda action=action: farm.status("web1")["nodes"][2]["draining"] == (action == "drain"))
        console.process.send_signal(signal.SIGCONT)
        console.process.kill()
        console.process.wait(10)
        farm.all_ready()
        after = {name: farm.status(name) for name in farm.names}
        assert [status["view"] for status in after.values()] == [status["view"] for status in before.values()]
        logs = "".join(farm.log(name) for name in farm.names)
        assert "is dead" not in logs
        assert "woke" not in logs


def test_settings_are_planned_applied_and_rolled_back_through_the_console(tmp_path):
    with separate_farm(tmp_path, extra='[health]\nlame_duck = "1s"\n') as farm:
        farm.start().all_ready()
        with console_of(farm, "web1") as console:
            for number, value in ((1, "2s"), (2, "3s")):
                text = farm.farm_file("web1").read_text()
                changed = text.replace('lame_duck = "1s"', f'lame_duck = "{value}"').replace(
                    'lame_duck = "2s"', f'lame_duck = "{value}"'
                )
                apply(console, {"files": [file("farm.toml", changed)], "message": f"to {value}"}, number)
                wait_for(lambda value=value: all(value in farm.farm_file(name).read_text() for name in farm.names))
            apply(console, {"number": 1, "message": "back"}, 3)
            wait_for(lambda: all('"2s"' in farm.farm_file(name).read_text() for name in farm.names))
            newest = farm.history("web2")[0]
            assert (newest["author"], newest["message"]) == ("test (API token, 127.0.0.1) on web1", "back")


def test_an_upload_that_cannot_be_settings_is_told_with_every_problem(farm):
    with console_of(farm, "web1") as console:
        files = [file("../evil", "x"), file("bin/a", "x"), file("bin/a", "y")]
        status, report = console.ask("POST", "/settings/candidates", {"files": files})
        assert (status, report["revision"]) == (200, None)
        told = "; ".join(report["problems"])
        assert "there is no farm.toml" in told
        assert "bin/a is there twice" in told
        assert "'../evil' is not a plain path" in told


def file(name, text):
    return {"name": name, "content": base64.b64encode(text.encode()).decode()}


def apply(console, body, number):
    status, report = console.ask("POST", "/settings/candidates", body)
    assert (status, report["problems"]) == (200, []), report
    assert report["plan"]["steps"] is not None
    digest = report["revision"][1]
    status, answer = console.ask("POST", "/settings/proposals", {"digest": digest, "confirm": 10})
    assert (status, answer["ok"]) == (200, True), answer

    def settled():
        answers = console.ask("GET", "/settings")[1]["nodes"]
        return all(each["answers"] and (each["document"]["settled"] or [0])[0] == number for each in answers)

    wait_for(settled, limit=40)


def test_the_command_finds_the_socket_by_the_farm_file(farm):
    environment = {**os.environ}
    process = subprocess.Popen(
        [
            *[sys.executable, "-m", "hcsidecar", "console", "--config", farm.config, "--node", "web2"],
            *["--http", "--listen", "127.0.0.1:0"],
        ],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        lines = [process.stderr.readline() for _ in range(2)]
        assert "listens on http://127.0.0.1:" in lines[0]
        assert str(farm.socket("web2").with_name("console.sock")) in lines[1]
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--http", "--listen", ":0"], "--http is for loopback only"),
        (["--listen", "nowhere"], "is not ADDRESS:PORT"),
        (
            ["--socket", "x", "--listen", ":0", "--certificate", "/none", "--key", "/none"],
            "no certificate with its key",
        ),
    ],
)
def test_a_wrong_option_is_told_and_nothing_is_served(arguments, told):
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hcsidecar.console.start", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert told in done.stderr
