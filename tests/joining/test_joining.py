"""`hcsidecar token` and `hcsidecar join` on servers of their own, with a real daemon: who is let in, and who is not."""

import json
import shlex
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from daemons import wait_for
from health_node import tls_contexts
from joining.machines import machines
from namespaces import needs_namespaces

from hcsidecar.core.joining.token import JoinToken, decode_token

pytestmark = needs_namespaces

NOTHING = "not joined: nothing has changed"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A farm of web1 alone, which runs, and a server that is to join."""
    with machines(tmp_path_factory.mktemp("site"), "web1", "web2") as found:
        found[0].init().start().certified()
        yield found


@pytest.fixture
def web1(site):
    return site[0]


@pytest.fixture
def new(site):
    yield site[1]
    assert site[1].left() == []


def refused(done, *reasons):
    """Tell that a server was not let in for these reasons, and that it was told so."""
    assert done.returncode == 1, done.stdout
    for reason in reasons:
        assert reason in done.stderr
    return done


def token_in(line):
    words = shlex.split(line)
    return words[words.index("--token") + 1]


def test_a_dry_run_shows_the_plan_and_leaves_the_token_good(web1, new):
    line = web1.token("web2")
    for _ in range(2):
        done = new.paste(line, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert "web1 of farm apache answers" in done.stdout
        assert "this server joins as web2 with 192.0.2.12" in done.stdout
        assert "web2" in done.stdout.partition("node by node")[2] + done.stdout.partition("every node")[2]
    assert "web2" not in web1.config.read_text()


def test_nobody_is_added_without_a_yes(web1, new):
    refused(new.paste(web1.token("web2")), "nobody is there to be asked")


def test_a_token_is_read_from_standard_input_so_that_no_process_list_shows_it(web1, new):
    token = token_in(web1.token())
    words = ["--token", "-", "--dry-run", "--name", "web2", "--config", new.config]
    done = new.run("join", web1.address, *words, text=token)
    assert done.returncode == 0, done.stderr


def test_a_wrong_token_is_refused_and_log_and_metrics_say_so(web1, new):
    good = decode_token(token_in(web1.token()))
    wrong = JoinToken(fingerprint=good.fingerprint, secret=b"0123456789abcdef", expires=good.expires)
    done = new.run("join", web1.address, "--token", wrong.encode(), "--name", "web2", "--config", new.config)
    refused(done, "192.0.2.11:9010 refuses: this token is not known here")
    wait_for(lambda: "refused a request from 192.0.2.12: somebody may not join: this token is not known" in web1.log())
    metrics = web1.run("metrics", "--config", web1.config).stdout
    assert 'hcsidecar_join_refused_total{farm="apache",node="web1",reason="wrong token"} 1' in metrics


def test_a_late_token_says_that_it_is_late(web1, new):
    line = web1.token("web2", "--valid", "1s")
    wait_for(lambda: "this token ended" in new.paste(line, "--dry-run").stderr)


@pytest.mark.parametrize("text", ["", "hcj1.abc", "hca1.abc.def"])
def test_what_is_no_token_is_told_before_anybody_is_asked(web1, new, text):
    done = new.run("join", web1.address, "--token", text, "--config", new.config)
    assert done.returncode == 2
    assert "token" in done.stderr


def test_a_token_for_another_name_or_address_is_refused(web1, new):
    refused(new.paste(web1.token("web9").replace("web9", "web2")), "was made for a node of the name web9, not web2")
    line = web1.token("--address", "192.0.2.99") + " --name web2"
    refused(new.paste(line), "was made for a server with the address 192.0.2.99, not 192.0.2.12")


def test_a_name_that_runs_and_an_address_that_is_taken_are_refused(web1, new):
    line = web1.token()
    refused(new.paste(line, "--name", "web1"), "the farm has a node web1, and it runs", NOTHING)
    refused(new.paste(line, "--name", "web2", "--address", "192.0.2.11"), "192.0.2.11 is the address of web1", NOTHING)


def test_an_address_that_this_server_does_not_have_is_refused_here(web1, new):
    done = new.paste(web1.token("web2"), "--address", "192.0.2.77", "--yes")
    refused(done, "is not an address of this machine: 192.0.2.77", NOTHING)
    assert "web2" not in web1.config.read_text()


def test_an_address_that_is_wrong_is_refused_with_the_place_in_the_farm_file(web1, new):
    refused(new.paste(web1.token("web2"), "--address", "2001:db8::12"), "is of another family", NOTHING)


def test_the_address_of_an_interface_is_taken(web1, new):
    done = new.paste(web1.token("web2"), "--interface", "eth0", "--dry-run")
    assert "joins as web2 with 192.0.2.12" in done.stdout
    done = new.paste(web1.token("web2"), "--interface", "eth7", "--dry-run")
    assert done.returncode == 2
    assert "there is no such interface" in done.stderr


def test_files_of_another_farm_are_not_overwritten(web1, new):
    new.config.parent.mkdir()
    for name in ("farm.toml", "farm.key"):
        (new.config.parent / name).write_text("precious")
    refused(
        new.paste(web1.token("web2"), "--yes"),
        f"{new.config} is there already, and is not that of farm apache",
        f"{new.config.parent}/farm.key is there already",
        NOTHING,
    )
    assert new.left() == ["farm.key", "farm.toml"]
    for name in ("farm.toml", "farm.key"):
        (new.config.parent / name).unlink()
    new.config.parent.rmdir()
    assert "web2" not in web1.config.read_text()


def test_a_server_of_another_farm_is_not_told_the_token(web1, new):
    token = decode_token(token_in(web1.token()))
    other = JoinToken(fingerprint=bytes(32), secret=token.secret, expires=token.expires)
    done = new.run("join", web1.address, "--token", other.encode(), "--name", "web2", "--config", new.config)
    refused(done, "192.0.2.11:9010 is not of the farm that this token was made for", "The token has not been sent")


def test_nothing_but_the_first_question_is_sent_to_somebody_with_another_certificate(web1, new, tmp_path):
    """He knows the authority's certificate, which is public, and has no key of it."""
    with impostor(new, web1, tmp_path) as heard:
        line = web1.token("web2").replace("192.0.2.11", "127.0.0.1:9443")
        refused(new.paste(line), "has no certificate of the farm that this token was made for", "has not been sent")
    assert heard == ["GET /api/v1/joining"]


IMPOSTOR = """
import http.server, json, ssl, sys
greeting = open(sys.argv[2], "rb").read()
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        print(self.command, self.path, flush=True)
        self.send_response(200)
        self.send_header("Content-Length", str(len(greeting)))
        self.end_headers()
        self.wfile.write(greeting)
    do_POST = do_GET
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 9443), Answer)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1])
server.socket = tls.wrap_socket(server.socket, server_side=True)
print("listens", flush=True)
server.serve_forever()
"""


@contextmanager
def impostor(new, web1, directory):
    """Run somebody in the middle on the new server's loopback; gives what he is asked."""
    tls_contexts(directory)
    authority = (web1.config.parent / "ca.pem").read_text()
    greeting = {"authority": authority, "nonce": "0" * 32, "version": "0", "protocol": 2}
    (directory / "greeting").write_text(json.dumps(greeting))
    command = [sys.executable, "-c", IMPOSTOR, directory / "web1.pem", directory / "greeting"]
    process = subprocess.Popen(["ip", "netns", "exec", new.namespace, *command], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "listens\n"
    heard = []
    reader = threading.Thread(target=lambda: heard.extend(line.strip() for line in process.stdout))
    reader.start()
    try:
        yield heard
    finally:
        process.terminate()
        process.wait(10)
        reader.join(10)
        process.stdout.close()


def test_an_address_where_nobody_answers_is_told(web1, new):
    line = web1.token("web2").replace("192.0.2.11", "192.0.2.11:9")
    refused(new.paste(line), "192.0.2.11:9 cannot be reached: Connection refused")


def asked(web1, method, path, body=None, *, tls=True, headers=None):
    """Ask the web port from the new server's network, as anybody may; gives status and body."""
    program = (
        "import http.client, json, ssl, sys\n"
        "method, path, body, tls, headers = json.loads(sys.argv[1])\n"
        "context = ssl._create_unverified_context()\n"
        "connection = http.client.HTTPSConnection('192.0.2.11', 9010, context=context) if tls"
        " else http.client.HTTPConnection('192.0.2.11', 9010)\n"
        "connection.request(method, path, body, headers or {})\n"
        "answer = connection.getresponse()\n"
        "print(answer.status, answer.read().decode())\n"
    )
    words = json.dumps([method, path, body, tls, headers])
    done = subprocess.run(
        ["ip", "netns", "exec", web1.namespace, sys.executable, "-c", program, words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    status, _, answer = done.stdout.strip().partition(" ")
    return int(status), answer


@pytest.mark.parametrize("path", ["", "/plan", "/apply", "/done", "/tokens"])
def test_without_tls_nobody_learns_that_there_is_a_way_to_join(web1, path):
    for method in ("GET", "POST"):
        assert asked(web1, method, f"/api/v1/joining{path}", "{}", tls=False) == (401, "")


def test_a_token_cannot_be_made_from_afar(web1):
    assert asked(web1, "POST", "/api/v1/joining/tokens", "{}") == (401, "")


@pytest.mark.parametrize("body", ["", "{}", "[" * 5000, '{"token": 3}', "x" * 70_000])
def test_a_body_that_is_wrong_is_refused_in_words_and_changes_nothing(web1, body):
    status, answer = asked(web1, "POST", "/api/v1/joining/apply", body)
    assert status in (400, 413)
    assert json.loads(answer)["reason"]


def test_another_version_is_refused_on_either_side(web1):
    body = {"token": "0" * 16, "nonce": "0" * 32, "version": "9", "protocol": 99, "node": "a", "addresses": {"a": "b0"}}
    assert "too late" in asked(web1, "POST", "/api/v1/joining/plan", json.dumps(body))[1]


def test_a_token_for_a_node_that_runs_is_not_made(web1):
    done = web1.run("token", "web1", "--config", web1.config)
    assert done.returncode == 1
    assert "web1 is alive" in done.stderr


@pytest.mark.parametrize("words", [["--valid", "2d"], ["--valid", "soon"], ["a/b"]])
def test_a_token_that_cannot_be_is_a_wrong_command(web1, words):
    assert web1.run("token", *words, "--config", web1.config).returncode == 2


def test_a_token_comes_as_json_too(web1):
    answer = json.loads(web1.run("token", "--json", "--config", web1.config).stdout)
    assert answer["command"] == f"hcsidecar join 192.0.2.11 --token {answer['token']}"
    assert answer["host"] == "192.0.2.11"


def test_the_secret_of_a_token_is_in_no_log(web1):
    token = token_in(web1.token())
    assert token not in web1.log()
    assert "a token for a new server was made by root: good once, for 15 min" in web1.log()


def test_it_speaks_tls_with_its_own_certificate_and_plain_http_beside(web1):
    assert asked(web1, "GET", "/health", tls=False)[0] in (200, 404)
    assert asked(web1, "GET", "/health")[0] in (200, 404)
    assert asked(web1, "GET", "/api/v1/status") == (401, "")
