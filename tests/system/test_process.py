import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import hcsidecar
from hcsidecar.daemon.launch import daemon_options
from hcsidecar.system.process import START_LIMIT, ServiceManager

LINUX_ONLY = ("pyroute2", "netfilterqueue", "fcntl", "termios", "grp", "pwd", "resource", "syslog")
UNUSED = (
    *["_bz2", "_lzma", "_pickle", "aiohttp._websocket.reader_c", "argon2", "argparse", "attr.validators"],
    *["cryptography.x509", "cryptography.hazmat.primitives.asymmetric", "difflib", "email.headerregistry", "gettext"],
    *["html.entities", "http.client", "idna", "importlib.metadata", "locale", "pickle", "tarfile", "urllib.request"],
    *["zipfile", "hcsidecar.cli", "hcsidecar.console", "hcsidecar.demo", "hcsidecar.safekit"],
)
"Modules that libraries of the daemon would load, or that commands need. It has a limit of 62 MiB."
ELSEWHERE = ("boto3", "typer", "rich", "prometheus_client")


def test_the_daemon_imports_nothing_that_only_linux_has_and_no_command_line():
    script = textwrap.dedent(
        f"""
        import sys
        for name in {LINUX_ONLY + ELSEWHERE!r}:
            sys.modules[name] = None  # importing it raises
        import hcsidecar.daemon.start
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_daemon_does_not_load_what_takes_memory_and_is_not_used():
    script = textwrap.dedent(
        f"""
        import sys
        import hcsidecar.daemon.start
        print([name for name in {UNUSED!r} if name in sys.modules])
        import calendar, difflib, html, idna, locale, lzma, pickle, urllib.request, zoneinfo
        from aiohttp.helpers import parse_content_type
        print(pickle.loads(pickle.dumps(1)), idna.encode("ä.example"), parse_content_type("text/plain; charset=x")[0])
        print(zoneinfo.ZoneInfo("UTC"), lzma.decompress(lzma.compress(b"x")), urllib.request.Request("http://x").host)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "1 b'xn--4ca.example' text/plain", "UTC b'x' x"]


def test_the_daemon_keeps_no_certificates_of_authorities_that_it_does_not_need(tmp_path):
    script = textwrap.dedent(
        """
        import hcsidecar.daemon.start
        import os, ssl
        from aiohttp import connector
        from frozenlist import FrozenList, PyFrozenList
        print(connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"], FrozenList is PyFrozenList)
        print(ssl.create_default_context().cert_store_stats()["x509"], os.environ["SSL_CERT_FILE"])
        print(os.environ.get("FROZENLIST_NO_EXTENSIONS"))
        """
    )
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = tmp_path / "authority.pem"
    names = ["-subj", "/CN=authority", "-keyout", tmp_path / "key.pem", "-out", authority]
    subprocess.run([*made, *names], check=True, capture_output=True, timeout=30)

    environment = os.environ | {"SSL_CERT_FILE": os.fspath(authority)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment
    )

    # What a check reads for itself is what the operator's environment says.
    assert (done.stdout.splitlines(), done.stderr) == (["0 True", f"1 {authority}", "None"], "")


def test_the_service_manager_hears_what_is_told(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(os.fspath(path))
        manager = ServiceManager({"NOTIFY_SOCKET": os.fspath(path)})
        manager.tell(READY=1, STATUS="UP(Ready)")
        manager.close()
        assert listener.recv(100) == b"READY=1\nSTATUS=UP(Ready)"


def test_a_process_that_starts_again_has_time_for_it_and_is_watched_as_before_after_it(tmp_path):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(os.fspath(path))
        manager = ServiceManager({"NOTIFY_SOCKET": os.fspath(path), "WATCHDOG_USEC": "60000000"})
        manager.tell_restart()
        manager.tell_ready()
        assert listener.recv(200) == b"STATUS=starts again\nWATCHDOG=1\nWATCHDOG_USEC=900000000"
        assert listener.recv(200) == b"READY=1\nMAINPID=%d\nWATCHDOG_USEC=60000000" % os.getpid()
        manager.close()
        unwatched = ServiceManager({"NOTIFY_SOCKET": os.fspath(path)})
        unwatched.tell_restart()
        unwatched.tell_ready()
        assert listener.recv(200) == b"STATUS=starts again"
        assert listener.recv(200) == b"READY=1\nMAINPID=%d" % os.getpid()
        unwatched.close()


def test_the_time_for_a_start_is_that_of_the_unit():
    unit = (Path(hcsidecar.__file__).parent / "hcsidecar.service").read_text()
    assert f"TimeoutStartSec={START_LIMIT / 60:g}min" in unit


def test_without_a_service_manager_or_with_a_deaf_one_nothing_happens(tmp_path):
    for address in ("", os.fspath(tmp_path / "nobody"), "@nobody-of-this-name"):
        environment = {"NOTIFY_SOCKET": address}
        manager = ServiceManager(environment)
        manager.tell(READY=1)
        manager.close()
        manager.tell(STOPPING=1)


def test_the_watchdog_is_fed_twice_as_often_as_it_must_be():
    assert ServiceManager({"WATCHDOG_USEC": "3000000"}).watchdog_interval == 1.5
    assert ServiceManager({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog_interval is None
    assert ServiceManager({"WATCHDOG_USEC": "soon"}).watchdog_interval is None
    assert ServiceManager({}).watchdog_interval is None


_PRIORITIES = """
import os, subprocess, sys, threading
from hcsidecar.system.process import keep_pace, take_realtime_priority

def mine():
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK, os.sched_getparam(0).sched_priority

def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]

def keeping_pace():
    keep_pace()
    program = "import os; print(os.sched_getscheduler(0))"
    started = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    return mine(), int(started)

assert in_thread(keeping_pace) == ((os.SCHED_OTHER, 0), os.SCHED_OTHER)
go, gone = threading.Event(), threading.Event()
old = []
thread = threading.Thread(target=lambda: (go.wait(), old.append(mine())))
thread.start()
why_not = take_realtime_priority()
if why_not is not None:
    sys.exit(why_not)
go.set()
thread.join()
print(mine()[1] >= old[0][1], [mine()[0], old[0]], in_thread(mine) == mine(), in_thread(keeping_pace))
"""


def test_all_threads_of_a_daemon_run_before_ordinary_ones_and_what_they_start_does_not():
    done = subprocess.run([sys.executable, "-c", _PRIORITIES], capture_output=True, text=True, check=False, timeout=60)
    if "sched_setscheduler" in done.stderr:
        pytest.skip(f"no real-time priority here: {done.stderr}")
    before_others = (os.SCHED_RR, 1)
    expected = f"True {[os.SCHED_RR, before_others]} True {(before_others, os.SCHED_OTHER)}\n"
    assert (done.stdout, done.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], (None, None, False, False, False)),
        (["--config", "farm.toml", "--node=web1"], ("farm.toml", "web1", False, False, False)),
        (["-c", "farm.toml", "--log-json", "--take-file"], ("farm.toml", None, True, True, False)),
        (["--stay-removed"], (None, None, False, False, True)),
        (["--config=a.toml", "--config", "b.toml"], ("b.toml", None, False, False, False)),
        (["--help"], None),
        (["--config"], None),
        (["--config", "--node"], None),
        (["--nod", "web1"], None),
        (["farm.toml"], None),
        (["--log-json=yes"], None),
    ],
)
def test_only_what_is_in_order_goes_past_the_command_line(words, options):
    assert daemon_options(words) == options


def test_the_way_to_the_daemon_imports_neither_the_command_line_nor_anything_big():
    script = textwrap.dedent("""
        import os, sys
        os.execv = lambda *_: sys.exit(0 if not {"typer", "rich", "pydantic", "asyncio"} & sys.modules.keys() else 3)
        sys.argv = ["hcsidecar", "run", "--config", "farm.toml"]
        from hcsidecar.__main__ import main
        main()
    """)
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


IN_OTHER_PROCESSES = {"cli", "demo"}
BEFORE_IT_HURRIES = {"log_output.py", "store.py"}
"Their threads are there when the daemon takes its priority, and get theirs with it."


def test_every_thread_that_begins_while_the_daemon_runs_keeps_pace():
    package = Path(__file__).parents[2] / "hcsidecar"
    modules = [path for path in package.rglob("*.py") if IN_OTHER_PROCESSES.isdisjoint(path.relative_to(package).parts)]
    beginning = {path.name for path in modules if "threading.Thread(" in path.read_text()}
    beginning |= {path.name for path in modules if "ThreadPoolExecutor(" in path.read_text()}
    # `threads.py` lets all keep pace.
    assert beginning <= BEFORE_IT_HURRIES | {"threads.py"}
