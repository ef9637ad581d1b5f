"""What `hcsidecar apply` says of a wrong command, and when the daemon that it asks ends in the middle."""

import contextlib
import http.server
import os
import socketserver
import threading

import msgspec
import pytest
from cli_farm import CliFarm, cli_farm
from typer.testing import CliRunner

from hcsidecar.cli import app
from hcsidecar.core.settings.documents import CandidateReport, CheckOutcome
from hcsidecar.core.settings.revision import RevisionId

CHECKED = CandidateReport(revision=RevisionId(2, "ab" * 32), checks=(CheckOutcome(node="web1"),))


@pytest.fixture
def farm(tmp_path):
    return CliFarm(tmp_path)


def apply(farm, *arguments):
    return CliRunner().invoke(app, ["apply", "--config", str(farm.config), *arguments])


class EndsWhenSomethingIsProposed(http.server.BaseHTTPRequestHandler):
    """A daemon that makes a candidate, and closes the connection of whoever proposes it."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.close_connection = True
        if self.path.endswith("/candidates"):
            body = msgspec.json.encode(CHECKED)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@contextlib.contextmanager
def served(socket, handler):
    """Serve at a socket, in a thread."""
    with socketserver.ThreadingUnixStreamServer(str(socket), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_daemon_that_ends_before_it_has_answered_a_proposal_is_told_in_a_line():
    with cli_farm() as farm, served(farm.socket("web1"), EndsWhenSomethingIsProposed):
        result = apply(farm, "--yes")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "hcsidecar history shows what is in force" in result.stderr


@pytest.mark.parametrize("confirm", ["0s", "500ms", "61m", "1000d"])
def test_a_confirm_time_that_no_daemon_takes_is_refused_before_anything_is_checked(farm, confirm):
    result = apply(farm, "--confirm", confirm, "--dry-run")
    assert result.exit_code == 2
    assert f'Invalid value for --confirm: must be from 1s to 1h, and is "{confirm}"' in result.stderr


def test_a_message_that_is_too_long_is_refused_with_how_long_it_may_be(farm):
    result = apply(farm, "-m", "x" * 1001, "--dry-run")
    assert result.exit_code == 2
    assert "has 1001 characters, and 1000 are the most" in result.stderr


def test_a_pipe_is_no_farm_file_to_apply(farm):
    os.mkfifo(farm.directory / "pipe")
    result = apply(farm, str(farm.directory / "pipe"), "--dry-run")
    assert result.exit_code == 2
    assert "is no plain file: write it to a file first" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "gr\udcf6sser"], "--message: is not UTF-8"),
        (["gr\udcf6sser.toml"], "FILE: is not UTF-8"),
        (["--without", ""], "--without: '' is not the name of a node"),
        (["--take", "web2\udcf6"], "--take: 'web2\\udcf6' is not the name of a node"),
    ],
    ids=["message", "file", "without", "take"],
)
def test_text_that_no_daemon_takes_is_told_by_its_option(farm, arguments, said):
    result = apply(farm, *arguments, "--dry-run")
    assert result.exit_code == 2
    assert f"Invalid value for {said}" in result.stderr


@pytest.mark.parametrize("command", ["diff", "rollback"])
def test_a_number_that_no_revision_can_have_is_a_wrong_command(farm, command):
    result = CliRunner().invoke(app, [command, "--config", str(farm.config), "9" * 20])
    assert result.exit_code == 2
    assert "should be less than or equal to" in result.stderr
