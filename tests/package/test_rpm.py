"""The RPM: what is in it for RHEL, and its scripts on a clean Debian, which has rpm, systemd and a Python for it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from daemons import wait_for
from namespaces import needs_namespaces
from package.clean_machine import CleanMachine, needs_cgroup2
from package.little_farm import HEALTH, INIT, VIRTUAL_IP
from package.pythons import python_here

from hcsidecar.core.service_unit import for_systemd

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "config", "hcsidecar", "l2mode", "tools")
PRESET = "usr/lib/systemd/system-preset/99-default-disable.preset"
"RHEL's last word: a service that nobody has asked for is not enabled."
WANTED = "etc/systemd/system/multi-user.target.wants/hcsidecar.service"
OF_EVERY_SYSTEM = {
    *("/", "/usr", "/usr/bin", "/usr/lib", "/usr/lib/systemd", "/usr/lib/systemd/system"),
    *("/usr/share", "/usr/share/doc", "/usr/share/licenses"),
}
RPM = "rpm --dbpath /var/lib/rpm"
# What it needs is not in this empty database.
INSTALL, UPGRADE, ERASE = f"{RPM} --install --nodeps", f"{RPM} --upgrade --nodeps", f"{RPM} --erase"
pytestmark = [pytest.mark.soak, needs_namespaces]


def build(directory, python, source=ROOT):
    make = ["make", "--directory", source, "rpm", f"RPM_PYTHON={python}", f"DIST={directory}"]
    done = subprocess.run(make, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout
    [built] = directory.glob("*.rpm")
    return built


def ask(package, *questions):
    asked = ["rpm", "--query", "--package", *questions, package]
    return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@pytest.fixture(scope="module")
def for_rhel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("rhel"), "3.12")


@pytest.fixture(scope="module")
def content(for_rhel, tmp_path_factory):
    directory = tmp_path_factory.mktemp("content")
    unpack = 'rpm2cpio "$1" | (cd "$2" && cpio --quiet --extract --make-directories --preserve-modification-time)'
    subprocess.run(["sh", "-euc", unpack, "sh", for_rhel, directory], check=True, timeout=120)
    return directory


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return build(tmp_path_factory.mktemp("newer"), "3.13")


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """Build a version before this one, with a module that is not there any more."""
    source = tmp_path_factory.mktemp("older")
    for name in ("Makefile", *SOURCES):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    project = source / "pyproject.toml"
    project.write_text(re.sub("^version = .*", 'version = "0.0.1"', project.read_text(), flags=re.MULTILINE))
    (source / "hcsidecar/former").mkdir()
    (source / "hcsidecar/former/__init__.py").write_text('"""Gone in the next version."""\n')
    return build(source / "dist", "3.13", source)


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    directory = tmp_path_factory.mktemp("debian")
    packages = ("python3", "systemd-sysv", "dbus", "iproute2", "libbpf1", "rpm")
    machine = CleanMachine.make(directory / "root", "trixie", *packages)
    preset = machine.root / PRESET
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text("disable *\n")
    (machine.root / "usr/share/licenses").mkdir()  # which RHEL has
    yield machine
    subprocess.run(["rm", "-rf", directory], check=True, timeout=300)


@pytest.fixture
def machine(debian, tmp_path, older, newer):
    copy = debian.copy(tmp_path / "root")
    shutil.copy(older, copy.root / "root/older.rpm")
    shutil.copy(newer, copy.root / "root/newer.rpm")
    yield copy
    subprocess.run(["rm", "-rf", tmp_path / "root"], check=True, timeout=300)


def test_it_wants_rhels_python_and_libraries_and_gives_nobody_anything_but_itself(for_rhel):
    requires = ask(for_rhel, "--requires")
    of_the_system = re.compile(r"(ld-linux|lib(c|dl|gcc_s|m|pthread|rt|stdc\+\+)\.so)|rpmlib\(|rtld\(")
    assert {line for line in requires if not of_the_system.match(line)} == {
        "/bin/sh",
        "/usr/bin/python3.12",
        "/usr/sbin/useradd",
    }
    # RHEL 8 has glibc 2.28, RHEL 9 2.34.
    glibc = re.findall(r"\(GLIBC_(\d+)\.(\d+)", "\n".join(requires))
    assert max((int(major), int(minor)) for major, minor in glibc) <= (2, 28)
    assert {line.partition(" ")[0].partition("(")[0] for line in ask(for_rhel, "--provides")} == {"hcsidecar"}
    assert set(ask(for_rhel, "--recommends")) == {"libbpf", "systemd"}


def test_its_files_are_roots_and_only_the_command_is_executable(for_rhel):
    listed = ask(for_rhel, "--queryformat", "[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]")
    files = [line.split(" ", 3) for line in listed]
    assert {(user, group) for _, user, group, _ in files} == {("root", "root")}
    assert {mode for mode, *_ in files} == {"-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x", "lrwxrwxrwx"}
    assert [path for mode, _, _, path in files if mode == "-rwxr-xr-x"] == ["/usr/lib/hcsidecar/bin/hcsidecar"]
    paths = {path for *_, path in files}
    assert {path for path in paths if not path.startswith(("/usr/lib/hcsidecar", "/usr/share/"))} == {
        "/usr/bin/hcsidecar",
        "/usr/lib/systemd/system/hcsidecar-console.service",
        "/usr/lib/systemd/system/hcsidecar.service",
        "/usr/lib/systemd/system/hcsidecar.service.d",
        "/usr/lib/systemd/system/hcsidecar.service.d/console.conf",
    }
    assert "/usr/share/bash-completion/completions/hcsidecar" in paths
    assert not {path for path in paths if "__pycache__" in path or path.endswith("RECORD")}


def test_it_owns_its_directories_except_those_of_every_system(for_rhel):
    listed = ask(for_rhel, "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]")
    files = [line.split(" ", 1) for line in listed]
    own = {path for mode, path in files if mode.startswith("d")}
    above = {str(directory) for _, path in files for directory in Path(path).parents}
    assert above - own == OF_EVERY_SYSTEM


def test_nothing_in_it_tells_where_it_was_built_and_the_unit_is_for_an_older_systemd(content):
    shipped = (ROOT / "hcsidecar/hcsidecar.service").read_text()
    assert (content / "usr/lib/systemd/system/hcsidecar.service").read_text() == for_systemd(shipped, 252)
    assert (content / "usr/lib/hcsidecar/bin/python").readlink() == Path("../../../bin/python3.12")
    names = ("hcsidecar", "l2mode", "hcsidecar-0.1.0.dist-info")
    site = content / "usr/lib/hcsidecar/lib/python3.12/site-packages"
    texts = [path for name in names for path in (site / name).rglob("*") if path.is_file()]
    texts += [path for path in (content / "usr/lib/hcsidecar").glob("*") if path.is_file()]
    assert len(texts) > 200
    for path in texts:
        assert str(ROOT).encode() not in path.read_bytes()
        assert b"/tmp/tmp." not in path.read_bytes()


def test_what_is_compiled_in_it_is_for_that_python(content):
    site = content / "usr/lib/hcsidecar/lib/python3.12/site-packages"
    compiled = [path.name for path in site.rglob("*.so")]
    assert any(name.startswith("_core.cpython-312-x86_64") or "abi3" in name for name in compiled)
    assert not [name for name in compiled if "cpython-" in name and "cpython-312-" not in name]
    assert (site / "l2mode/kernel/filter.bpf.o").read_bytes() == (ROOT / "l2mode/kernel/filter.bpf.o").read_bytes()


def test_it_runs_on_that_python(content, tmp_path):
    if (python := python_here("3.12")) is None:
        pytest.skip("there is no Python 3.12 here")
    (tmp_path / "farm.toml").write_text('[farm]\nname = "apache"\n[[node]]\nname = "web1"\naddress = "127.0.0.1"\n')
    environment = {"PYTHONPATH": content / "usr/lib/hcsidecar/lib/python3.12/site-packages"}
    for arguments in (["key", "new", tmp_path / "farm.key"], ["check-config", tmp_path / "farm.toml"]):
        # Without the packages of that Python: there is nothing but what the RPM has.
        command = [python, "-S", "-B", content / "usr/lib/hcsidecar/bin/hcsidecar", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
    assert "farm apache, 1 node" in done.stdout


def test_it_installs_serves_is_upgraded_and_erased_and_leaves_the_farm(machine):
    before = machine.files()
    outside = ["rpm", "--root", machine.root, "--dbpath", "/var/lib/rpm"]
    subprocess.run([*outside, "--install", "--nodeps", machine.root / "root/older.rpm"], check=True, timeout=300)
    assert not (machine.root / WANTED).is_symlink()
    machine.sh("hcsidecar --version")
    assert list(machine.root.glob("usr/lib/hcsidecar/lib/python3.13/site-packages/hcsidecar/former/__pycache__/*.pyc"))

    subprocess.run([*outside, "--upgrade", "--nodeps", machine.root / "root/newer.rpm"], check=True, timeout=300)
    assert not list(machine.root.glob("usr/lib/hcsidecar/lib/python3.13/site-packages/hcsidecar/former*"))
    assert list(machine.root.glob("usr/lib/hcsidecar/lib/python3.13/site-packages/hcsidecar/__pycache__/*.pyc"))
    assert machine.sh(f"{RPM} --verify --nodeps hcsidecar") == ""
    machine.sh(INIT)
    assert "farm apache, 1 node: /etc/hcsidecar/farm.toml is right" in machine.sh("hcsidecar check-config")
    told = machine.alone(f"hcsidecar run >/root/log 2>&1 & python3 -c '{HEALTH}'; hcsidecar status; kill $!; wait $!")
    assert told.startswith("OK\n")
    assert "UP(Ready)" in told

    subprocess.run([*outside, "--erase", "hcsidecar"], check=True, timeout=300)
    left = {path for path in machine.files() - before if not path.startswith("var/lib/rpm/")}
    state = {path for path in left if path.startswith("var/lib/hcsidecar")}
    assert "var/lib/hcsidecar/apache/web1/state.json" in state
    files = ("farm.toml", "farm.key", "ca.key", "ca.pem")
    assert left - state == {"etc/hcsidecar", *(f"etc/hcsidecar/{name}" for name in files)}


@needs_cgroup2
def test_under_systemd_it_is_enabled_when_asked_restarted_by_an_upgrade_and_stopped_before_it_goes(machine):
    with machine.booted() as booted:
        booted.sh(f"{INSTALL} /root/older.rpm")
        assert booted.show("hcsidecar", "UnitFileState") == "disabled"
        booted.sh("ip link set lo up; ip link add eth0 type veth peer eth1; ip address add 192.0.2.11/24 dev eth0")
        booted.sh("ip link set eth0 up; ip link set eth1 up")
        booted.sh("hcsidecar init /etc/hcsidecar --name apache --node web1=192.0.2.11")
        farm_file = machine.root / "etc/hcsidecar/farm.toml"
        farm_file.write_text(farm_file.read_text() + VIRTUAL_IP)
        booted.sh(f"{UPGRADE} --force /root/older.rpm")
        assert booted.show("hcsidecar", "ActiveState") == "inactive"  # what does not run is not started

        assert "which a package brought, is right already" in booted.sh("hcsidecar install")
        assert booted.show("hcsidecar", "UnitFileState") == "enabled"
        wait_for(lambda: "UP(Ready)" in booted.show("hcsidecar", "StatusText"), limit=60, what="the node is Ready")
        assert "inet 192.0.2.50/32 scope host lo" in booted.sh("ip address show lo")

        daemon = booted.show("hcsidecar", "MainPID")
        booted.sh(f"{UPGRADE} /root/newer.rpm")
        assert booted.show("hcsidecar", "ActiveState") == "active"
        assert booted.show("hcsidecar", "UnitFileState") == "enabled"
        assert booted.show("hcsidecar", "MainPID") != daemon
        wait_for(lambda: "UP(Ready)" in booted.show("hcsidecar", "StatusText"), limit=60, what="the node is Ready")

        booted.sh(f"{ERASE} hcsidecar")
        assert booted.show("hcsidecar", "ActiveState") == "inactive"
        assert "192.0.2.50" not in booted.sh("ip address show lo")
        assert not (machine.root / WANTED).is_symlink()
