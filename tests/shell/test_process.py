import os
import socket
import subprocess
import sys
import textwrap

from hcsidecar.process import ServiceManager

LINUX_ONLY = ("pyroute2", "netfilterqueue", "fcntl", "termios", "grp", "pwd", "resource", "syslog")
ELSEWHERE = ("boto3", "typer", "rich")


def test_the_daemon_imports_nothing_that_only_linux_has_and_no_command_line():
    script = textwrap.dedent(
        f"""
        import sys
        for name in {LINUX_ONLY + ELSEWHERE!r}:
            sys.modules[name] = None  # importing it raises
        import hcsidecar.start
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_manager_hears_what_is_told(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(os.fspath(path))
        ServiceManager({"NOTIFY_SOCKET": os.fspath(path)}).tell(READY=1, STATUS="UP(Ready)")
        assert listener.recv(100) == b"READY=1\nSTATUS=UP(Ready)"


def test_without_a_service_manager_or_with_a_deaf_one_nothing_happens(tmp_path):
    ServiceManager({}).tell(READY=1)
    ServiceManager({"NOTIFY_SOCKET": os.fspath(tmp_path / "nobody")}).tell(READY=1)
    ServiceManager({"NOTIFY_SOCKET": "@nobody-of-this-name"}).tell(READY=1)


def test_the_watchdog_is_fed_twice_as_often_as_it_must_be():
    assert ServiceManager({"WATCHDOG_USEC": "3000000"}).watchdog_interval == 1.5
    assert ServiceManager({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog_interval is None
    assert ServiceManager({"WATCHDOG_USEC": "soon"}).watchdog_interval is None
    assert ServiceManager({}).watchdog_interval is None
