"""What connections with TLS cost a daemon in memory."""

import re
import socket
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path

from daemons import real_farm, wait_for

CONNECTIONS = 400


def test_hundreds_of_tls_connections_cost_a_daemon_less_than_what_it_has_at_rest(tmp_path):
    certificate, key = tmp_path / "web.pem", tmp_path / "web.key"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            *["-subj", "/CN=web1", "-days", "2", "-keyout", key, "-out", certificate],
        ],
        check=True,
        capture_output=True,
    )
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE

    def connect():
        plain = socket.create_connection((farm.addresses["web1"], 9010), timeout=20)
        return unverified.wrap_socket(plain)

    def is_there():
        try:
            connect().close()
        except OSError:
            return False
        return True

    def memory():
        """Give the daemon's resident memory in MiB."""
        status = Path(f"/proc/{farm.daemons['web1'].pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    extra = f'[web.tls]\ncert = "{certificate}"\nkey = "{key}"\n'
    with real_farm(tmp_path, names=("web1",), extra=extra) as farm, ExitStack() as held:
        farm.start()
        wait_for(is_there, limit=60)
        before = memory()
        for _ in range(CONNECTIONS):
            connection = held.enter_context(connect())
            # An answer says that the daemon has the connection.
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: web1\r\n\r\n")
            assert connection.recv(8).startswith(b"HTTP/1.1")
        assert memory() < 2 * before
