"""moto as a stand-in for AWS, in a process of its own: it takes 200 MB, and warns of what is not ours.

As a program it serves on a port of loopback, which it prints, until its standard input ends.
"""

import contextlib
import logging
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Serve; gives the endpoint's URL."""
    command = [sys.executable, "-W", "ignore", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.stdin.close()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()


def _serve() -> None:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - only in that process

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)  # noqa: T201 - it is for who started this
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    _serve()
