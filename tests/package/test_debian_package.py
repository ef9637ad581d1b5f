"""The Debian packages on clean machines of their releases: installed, used, upgraded, removed, and all of it gone."""

import subprocess
from pathlib import Path

import pytest
from daemons import wait_for
from namespaces import needs_namespaces
from package.clean_machine import CleanMachine, needs_cgroup2
from package.little_farm import HEALTH, INIT, VIRTUAL_IP

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.soak, needs_namespaces]

APPLICATION = """\
[Service]
ExecStartPost=/bin/sh -c "systemctl is-active -q application || systemd-run -q --unit=application sleep 86400"
ExecStartPost=-/bin/sh -c "touch /etc/written /usr/written; mount -t tmpfs tmpfs /mnt && touch /etc/mounted"
"""
"From inside of the daemon's sandbox: start something that lives on outside, and try what may not be."

SIGN_IN_PAGE = """
import ssl, urllib.request
unknown = ssl._create_unverified_context()
try: print(urllib.request.urlopen("https://127.0.0.1:9453/sign-in", context=unknown, timeout=5).status)
except OSError: pass
"""
"Prints the status of the answer, nothing if there is none."


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def release(request):
    return request.param


@pytest.fixture(scope="module")
def package(release, tmp_path_factory):
    directory = tmp_path_factory.mktemp("package")
    make = ["make", "--directory", ROOT, "deb", f"RELEASE={release}", f"DIST={directory}"]
    subprocess.run(make, check=True, capture_output=True, timeout=900)
    [built] = directory.glob("*.deb")
    return built


@pytest.fixture(scope="module")
def newer(package, tmp_path_factory):
    """Make the same package in a version that comes after it."""
    content = tmp_path_factory.mktemp("newer") / "content"
    subprocess.run(["dpkg-deb", "-R", package, content], check=True, timeout=60)
    control = content / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:", 1))
    built = content.with_name("newer.deb")
    subprocess.run(
        ["dpkg-deb", "-Zgzip", "-z1", "--build", content, built], check=True, stdout=subprocess.DEVNULL, timeout=300
    )
    return built


@pytest.fixture(scope="module")
def debian(release, tmp_path_factory):
    directory = tmp_path_factory.mktemp("debian")
    machine = CleanMachine.make(directory / "root", release, "python3", "systemd-sysv", "dbus", "iproute2", "libbpf1")
    yield machine
    subprocess.run(["rm", "-rf", directory], check=True, timeout=300)


@pytest.fixture
def machine(debian, tmp_path):
    yield debian.copy(tmp_path / "root")
    subprocess.run(["rm", "-rf", tmp_path / "root"], check=True, timeout=300)


def install(machine, package):
    machine.bring(package)
    machine.sh("apt-get update -qq")
    return machine.sh(f"apt-get install -y -qq --no-install-recommends /root/{package.name}")


def test_on_a_clean_machine_it_installs_serves_and_leaves_nothing_behind(machine, package):
    before = machine.files()
    assert "not started, since there is no farm file yet" in install(machine, package)
    assert machine.sh("hcsidecar --version").startswith("hcsidecar ")
    tab = "COMP_WORDS=(hcsidecar sta); COMP_CWORD=1; _hcsidecar_completion hcsidecar; echo ${COMPREPLY[@]}"
    offered = machine.sh(f"bash -c 'source /usr/share/bash-completion/completions/hcsidecar; {tab}'")
    assert offered.split() == ["status", "start"]
    machine.sh(INIT)
    assert "farm apache, 1 node: /etc/hcsidecar/farm.toml is right" in machine.sh("hcsidecar check-config")

    told = machine.alone(f"hcsidecar run >/root/log 2>&1 & python3 -c '{HEALTH}'; hcsidecar status; kill $!; wait $!")
    assert told.startswith("OK\n")
    assert "UP(Ready)" in told
    assert "UP(Ready): started with the daemon" in (machine.root / "root/log").read_text()
    for module in ("netfilterqueue", "boto3", "pyroute2"):
        machine.sh(f"/usr/lib/hcsidecar/bin/python -c 'import {module}'")

    assert (machine.root / "var/lib/hcsidecar/apache/web1/state.json").exists()
    machine.sh("apt-get remove -y -qq hcsidecar")
    assert (machine.root / "var/lib/hcsidecar/apache/web1/state.json").exists()
    assert "/etc/hcsidecar stays" in machine.sh("dpkg --purge hcsidecar")
    left = {path for path in machine.files() - before if "hcsidecar" in path}
    farms = ("etc/hcsidecar/farm.toml", "etc/hcsidecar/farm.key", "etc/hcsidecar/ca.key", "etc/hcsidecar/ca.pem")
    assert left == {"etc/hcsidecar", *farms}
    machine.sh("apt-get autoremove -y -qq")
    gone = {path for path in machine.files() - before - left if not path.startswith(("var/lib/", "var/cache/"))}
    assert {path for path in gone if not path.startswith("etc/ld.so")} == set()


@needs_cgroup2
def test_under_systemd_it_serves_from_its_sandbox_and_the_application_outlives_it(machine, package, newer):
    install(machine, package)
    machine.bring(newer)
    drop_in = machine.root / "etc/systemd/system/hcsidecar.service.d/application.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(APPLICATION)
    with machine.booted() as booted:
        booted.sh("systemctl start hcsidecar")
        assert booted.show("hcsidecar", "ActiveState") == "inactive"  # there is no farm file

        booted.sh("hcsidecar init /etc/hcsidecar --name apache --node web1=192.0.2.11")
        farm_file = machine.root / "etc/hcsidecar/farm.toml"
        farm_file.write_text(farm_file.read_text() + VIRTUAL_IP)
        assert booted.sh("systemd-analyze verify hcsidecar.service") == ""

        booted.sh("systemctl start hcsidecar")  # this machine's address is not there yet
        assert booted.show("hcsidecar", "StatusText").startswith("waits: ")
        booted.sh("ip link set lo up; ip link add eth0 type veth peer eth1; ip address add 192.0.2.11/24 dev eth0")
        booted.sh("ip link set eth0 up; ip link set eth1 up")
        wait_for(lambda: "UP(Ready)" in booted.show("hcsidecar", "StatusText"), limit=60, what="the node is Ready")
        assert booted.show("hcsidecar", "NRestarts") == "0"

        booted.sh("systemctl reload hcsidecar")
        said = "SIGHUP: the farm file says what is in force"
        wait_for(lambda: said in booted.sh("journalctl --output cat --unit hcsidecar"), what="its files are read again")

        right = farm_file.read_text()
        farm_file.write_text(f"{right}wrong = 1\n")
        booted.sh("systemctl restart hcsidecar || true")
        assert booted.show("hcsidecar", "ExecMainStatus") == "2"
        assert booted.show("hcsidecar", "ActiveState") == "failed"  # it waits for the operator, and no restart
        farm_file.write_text(right)

        told = booted.sh("hcsidecar install")
        assert "which a package brought, is right already" in told
        assert "started hcsidecar" in told

        wait_for(lambda: "UP(Ready)" in booted.show("hcsidecar", "StatusText"), what="the node is Ready")
        assert "inet 192.0.2.50/32 scope host lo" in booted.sh("ip address show lo")
        assert "ok       web1: the filter is tc on eth0" in booted.sh("hcsidecar l2-check || true")
        assert not list(machine.root.glob("etc/mounted")) + list(machine.root.glob("*/written"))

        application, daemon = booted.show("application", "MainPID"), booted.show("hcsidecar", "MainPID")
        assert application != "0"
        booted.sh(f"kill -KILL {daemon}")
        wait_for(lambda: booted.show("hcsidecar", "NRestarts") == "1", limit=30, what="it is started again")
        wait_for(lambda: "UP(Ready)" in booted.show("hcsidecar", "StatusText"), limit=30, what="it is Ready again")

        daemon = booted.show("hcsidecar", "MainPID")
        booted.sh("dpkg --install /root/newer.deb")
        assert booted.show("hcsidecar", "ActiveState") == "active"
        assert booted.show("hcsidecar", "MainPID") != daemon
        assert booted.show("application", "MainPID") == application

        assert "removed" not in booted.sh("hcsidecar uninstall")
        assert booted.show("hcsidecar", "ActiveState") == "inactive"
        assert "192.0.2.50" not in booted.sh("ip address show lo")
        booted.sh("hcsidecar install && dpkg --remove hcsidecar")
        assert booted.show("hcsidecar", "ActiveState") == "inactive"
        assert booted.show("application", "MainPID") == application


@needs_cgroup2
def test_under_systemd_the_console_is_a_service_of_its_own_without_any_power(machine, package):
    install(machine, package)
    with machine.booted() as booted:
        booted.sh("hcsidecar init /etc/hcsidecar --name apache --node web1=192.0.2.11")
        booted.sh("ip link set lo up; ip link add eth0 type veth peer eth1; ip address add 192.0.2.11/24 dev eth0")
        booted.sh("ip link set eth0 up; ip link set eth1 up")
        told = booted.sh("hcsidecar install")
        assert "hcsidecar.service.d/console.conf is right already" in told
        assert "hcsidecar-console.service, which a package brought, is right already" in told
        assert "started hcsidecar-console" in told
        wait_for(lambda: "UP(Ready)" in booted.show("hcsidecar", "StatusText"), limit=60, what="the node is Ready")
        asks = f"python3 -c '{SIGN_IN_PAGE}'"
        assert wait_for(lambda: booted.sh(asks), limit=60, what="the console answers").strip() == "200"

        console, daemon = booted.show("hcsidecar-console", "MainPID"), booted.show("hcsidecar", "MainPID")
        status = dict(line.split(":", 1) for line in booted.sh(f"cat /proc/{console}/status").splitlines())
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert booted.sh("id -u hcsidecar-console").strip() in status["Uid"].split()
        as_console = "--setuid $(id -u hcsidecar-console) --setgid $(id -g hcsidecar-console)"
        for path in ("/etc/hcsidecar/farm.key", "/etc/hcsidecar/farm.toml", "/var/lib/hcsidecar/apache"):
            inside = f"nsenter --target {console} --mount {as_console} ls -d {path}/ {path}"
            assert "Permission denied" in booted.sh(f"{inside} 2>&1 || true")

        booted.sh(f"kill -KILL {console}")
        wait_for(lambda: booted.show("hcsidecar-console", "NRestarts") == "1", limit=30, what="it is started again")
        assert wait_for(lambda: booted.sh(asks), limit=60, what="the console answers again").strip() == "200"
        assert booted.show("hcsidecar", "MainPID") == daemon
        assert booted.show("hcsidecar", "NRestarts") == "0"
        assert "stopped hcsidecar-console" in booted.sh("hcsidecar uninstall")
        assert booted.show("hcsidecar-console", "ActiveState") == "inactive"
