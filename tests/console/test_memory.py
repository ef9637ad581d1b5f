"""What the console's memory grows to, in a process of its own."""

import re
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

from daemons import wait_for

from hcsidecar.console.listening import MOST, MOST_EACH

ROOT = Path(__file__).parents[2]


class ConsoleAlone:
    """A console whose daemon is not there, over TLS."""

    def __init__(self, process, log):
        self.process = process
        line = wait_for(lambda: re.search(r"listens on https://127\.0\.0\.1:(\d+)", log.read_text()), limit=60)
        self.port = int(line[1])

    def memory(self):
        """Give its resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    def begin_request(self, source):
        """Open a connection, and send half of a request."""
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20, source_address=(source, 0))
        connection = unverified.wrap_socket(plain)
        connection.sendall(b"GET /sign-in HTTP/1.1\r\nHost: x\r\n")
        return connection


@contextmanager
def console_alone(directory):
    log = directory / "log"
    command = [sys.executable, "-P", "-m", "hcsidecar.console.start", "--socket", directory / "none.sock"]
    with log.open("w") as output, subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stderr=output) as process:
        try:
            yield ConsoleAlone(process, log)
        finally:
            process.terminate()


def test_as_many_connections_as_strangers_may_open_leave_the_console_half_of_its_memory_limit(tmp_path):
    unit = (ROOT / "hcsidecar/hcsidecar-console.service").read_text()
    limit = int(re.search(r"^MemoryMax=(\d+)M$", unit, re.MULTILINE)[1])
    with console_alone(tmp_path) as console, ExitStack() as held:
        for number in range(MOST):
            held.enter_context(console.begin_request(f"127.0.0.{1 + number // MOST_EACH}"))
        assert console.memory() < limit / 2


def test_the_memory_for_verifying_a_password_is_given_back():
    # In a process of its own, which has threads as the console has for it.
    script = """if True:
        import re, sys
        from concurrent.futures import ThreadPoolExecutor
        from hcsidecar.access.password_hashes import hash_password, is_right_password
        from hcsidecar.system.memory import give_large_blocks_back
        def memory():
            return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
        give_large_blocks_back()
        before = memory()
        with ThreadPoolExecutor(3) as pool:
            hashed = hash_password("correct horse battery")
            assert all(pool.map(lambda _: is_right_password("correct horse battery", hashed), range(12)))
            print(memory() - before)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert float(done.stdout) < 10


def test_memory_that_is_free_between_blocks_in_use_is_given_back():
    script = """if True:
        import re
        from hcsidecar.system.memory import give_free_memory_back
        def memory():
            return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
        before = memory()
        blocks = [bytearray(b"x" * 60_000) for _ in range(500)]
        blocks = blocks[-1:]
        GIVE
        print(memory() - before)
    """

    def kept(script):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
        return float(done.stdout)

    assert kept(script.replace("GIVE", "give_free_memory_back()")) < kept(script.replace("GIVE", "")) / 2
