"""The wheel and the source distribution: what is in them, and that they run on each Python without a compiler."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from namespaces import needs_namespaces
from package.clean_machine import CleanMachine
from package.little_farm import HEALTH
from package.pythons import python_here

ROOT = Path(__file__).parents[2]
RELEASES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid"}
"The release of Debian that has a Python, for those that are not on this machine."
FARM = """\
[farm]
name = "apache"
state_dir = "{directory}/state"
[[node]]
name = "web1"
address = "127.0.0.1"
"""
TARGET = """\
[[target]]
type = "aws"
group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/apache/0123456789abcdef"
port = 80
"""
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Where `make dist` has put the two."""
    directory = tmp_path_factory.mktemp("dist")
    make = ["make", "--directory", ROOT, "dist", f"DIST={directory}"]
    subprocess.run(make, check=True, capture_output=True, timeout=300)
    return directory


def only(directory, pattern):
    [found] = directory.glob(pattern)
    return found


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13", "3.14"])
def place(request, tmp_path_factory):
    """A machine that has this Python, this one or a clean one of a release of Debian; the Python; a directory there."""
    directory = tmp_path_factory.mktemp("python")
    if python := python_here(request.param):
        yield CleanMachine(Path("/")), python, directory
    elif release := RELEASES.get(request.param):
        if os.geteuid() != 0:
            pytest.skip("only root can make a clean machine")
        machine = CleanMachine.make(directory / "root", release, "python3", "python3-venv", "ca-certificates")
        if request.param not in (has := machine.sh("python3 --version")):
            pytest.skip(f"Debian {release} has {has}")
        yield machine, "/usr/bin/python3", Path("/root")
    else:
        pytest.skip(f"there is no Python {request.param} here, and no release of Debian has it")
    subprocess.run(["rm", "-rf", directory], check=True, timeout=300)


def test_the_source_distribution_has_the_whole_repository(built):
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
        modes = {name.partition("/")[2]: archive.getmember(name).mode for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no clone")
    assert {path for path in listed.stdout.splitlines() if not path.startswith(".ci/")} - inside == set()
    assert modes["tools/debian-build.sh"] & 0o111


def test_the_wheel_has_the_daemon_its_unit_and_the_packet_filter_and_nothing_else(built):
    with zipfile.ZipFile(only(built, "*.whl")) as archive:
        inside = set(archive.namelist())
    assert {"hcsidecar/daemon/start.py", "hcsidecar/hcsidecar.service", "l2mode/kernel/filter.bpf.o"} <= inside
    assert {path.partition("/")[0].partition("-")[0] for path in inside} == {"hcsidecar", "l2mode"}
    source = {str(path.relative_to(ROOT)) for name in ("hcsidecar", "l2mode") for path in (ROOT / name).rglob("*.py")}
    assert {path for path in inside if path.endswith(".py")} == source
    assert {"hcsidecar/console/static/vendor/htmx.min.js", "hcsidecar/console/static/vendor/LICENSES.txt"} <= inside


@needs_namespaces
def test_on_each_python_the_wheel_installs_without_a_compiler_and_serves(place, built):
    farm = Installation(*place)
    farm.install(only(built, "*.whl"))
    assert not farm.has("boto3")
    farm.serves()

    farm.install(only(built, "*.whl"), extra="[aws]")
    assert farm.has("boto3")
    farm.write(FARM + TARGET)
    farm.check_config()


@needs_namespaces
def test_the_source_distribution_installs_without_a_compiler_and_serves(built, tmp_path):
    farm = Installation(CleanMachine(Path("/")), sys.executable, tmp_path)
    farm.install(only(built, "*.tar.gz"))
    farm.serves()


class Installation:
    """A virtual environment on a machine, and a farm file beside it; `directory` is a path of that machine."""

    def __init__(self, machine, python, directory):
        self._machine = machine
        self._python = python
        self._inside = directory
        self._directory = machine.root / directory.relative_to("/")
        machine.sh(f"{python} -m venv {directory}/venv")
        self._command = f"{directory}/venv/bin/hcsidecar"
        self._config = f"--config {directory}/farm.toml"

    def install(self, distribution, *, extra=""):
        shutil.copy(distribution, self._directory)
        named = f"'{self._inside}/{distribution.name}{extra}'"
        self._machine.sh(f"{self._inside}/venv/bin/pip install --quiet --no-cache-dir --only-binary :all: {named}")

    def has(self, module):
        asked = f"{self._inside}/venv/bin/python -c 'import {module}' 2>/dev/null && echo yes || echo no"
        return self._machine.sh(asked) == "yes\n"

    def write(self, farm_file):
        (self._directory / "farm.toml").write_text(farm_file.format(directory=self._inside))

    def check_config(self):
        assert "farm apache, 1 node" in self._machine.sh(f"{self._command} check-config {self._inside}/farm.toml")

    def serves(self):
        """Run a node of a farm on loopback, and ask its health URL."""
        assert self._machine.sh(f"{self._command} --version").startswith("hcsidecar ")
        self._machine.sh(f"{self._command} key new {self._inside}/farm.key")
        self.write(FARM)
        (self._directory / "health.py").write_text(HEALTH)
        self.check_config()
        told = self._machine.alone(
            f"{self._command} run {self._config} >{self._inside}/log 2>&1 &"
            f" {self._python} {self._inside}/health.py || cat {self._inside}/log;"
            f" {self._command} status {self._config} || true; kill $!; wait $!"
        )
        log = (self._directory / "log").read_text()
        assert told.startswith("OK\n"), told
        assert "UP(Ready)" in log
        assert "Traceback" not in log
