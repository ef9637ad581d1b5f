"""The image's health check, as its engine runs it, in a mount namespace of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import needs_namespaces

pytestmark = needs_namespaces

ALIVE = Path(__file__).parents[2] / "config" / "container" / "alive"
PROGRAM = """
import os, socket, subprocess, sys, threading
path, answer, check = sys.argv[1:]
os.makedirs(os.path.dirname(path))
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
def serve():
    while True:
        connection = listener.accept()[0]
        if path.endswith("control.sock"):
            connection.recv(4096)
        connection.sendall(answer.encode())
        connection.close()
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run([sys.executable, check], timeout=30).returncode)
"""


def checked(path, answer):
    inside = 'mount -t tmpfs none /run && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", inside, "sh", sys.executable, "-c", PROGRAM, path, answer, ALIVE]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/run/hcsidecar/apache/web1/control.sock", "HTTP/1.0 200 OK\r\n\r\n{}"),
        ("/run/hcsidecar/apache/starting.sock", "a daemon runs here for a node that is removed: by revision 3"),
    ],
)
def test_a_container_whose_daemon_answers_is_healthy_whatever_the_state_of_its_node(path, answer):
    done = checked(path, answer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "answer", "why"),
    [
        ("/run/hcsidecar/apache/web1/control.sock", "HTTP/1.0 500 Internal Server Error\r\n\r\n", "answers b'HTTP"),
        ("/run/hcsidecar/apache/starting.sock", "", "answers nothing"),
        ("/run/hcsidecar/apache/other.sock", "", "no daemon: "),
    ],
)
def test_a_container_whose_daemon_does_not_answer_is_not_healthy(path, answer, why):
    done = checked(path, answer)
    assert done.returncode == 1
    assert why in done.stderr
