"""The files of docker-compose.yml against each other and the rest, without an engine; tests/compose runs them."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hcsidecar.core.farmfile.farm_file import FarmFile, read

ROOT = Path(__file__).parents[2]
CONTAINER = ROOT / "config" / "container"
COMPOSE = (ROOT / "docker-compose.yml").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name):
    """Give the version of each package of a lock, by its normal name."""
    return {
        canonicalize_name(package): version
        for package, version in re.findall(r"^([\w.\-]+)==(\S+)", (CONTAINER / name).read_text(), re.MULTILINE)
    }


def farm():
    found = read(tomllib.loads((CONTAINER / "farm.toml").read_text()))
    assert isinstance(found, FarmFile), "\n".join(map(str, found))
    return found


def needed():
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["l2"], *extras["aws"]]
    return [(requirement, "requirements.lock") for line in lines if (requirement := Requirement(line))] + [
        (Requirement(line), "build.lock") for line in PROJECT["build-system"]["requires"]
    ]


@pytest.mark.parametrize(("requirement", "lock"), needed(), ids=str)
def test_the_images_locks_have_what_the_package_needs(requirement, lock):
    version = locked(lock).get(canonicalize_name(requirement.name))

    assert version is not None, f"{requirement.name} is not in {lock}: make container-locks"
    assert version in requirement.specifier


@pytest.mark.parametrize("lock", sorted(path.name for path in CONTAINER.glob("*.lock")))
def test_every_locked_package_has_hashes_and_no_lock_names_an_index(lock):
    text = (CONTAINER / lock).read_text()
    packages = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]

    assert len(packages) == len(locked(lock)) > 0
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text


def test_the_farm_file_of_the_containers_is_right_and_its_addresses_are_those_of_the_containers():
    nodes = {node.name: node.address for node in farm().node}
    [network] = re.findall(r"subnet: (\S+)\.0/24", COMPOSE)

    assert {name: re.findall(rf"hostname: {name}\n.*ipv4_address: ([\d.]+)", COMPOSE) for name in nodes} == {
        name: [address] for name, address in nodes.items()
    }
    vip = farm().l2.vip[0].address
    assert f"client, {vip}," in COMPOSE
    assert all(address.startswith(f"{network}.") for address in (*nodes.values(), vip))


def test_the_target_of_the_farm_file_is_the_group_that_the_stand_in_makes():
    [target] = farm().target

    assert f'GROUP = "{target.group}"\n' in (CONTAINER / "elb").read_text()
    assert target.endpoint_url == "http://aws:5000"
    assert "PORT = 5000\n" in (CONTAINER / "elb").read_text()


def test_nobody_gets_the_virtual_ip_by_chance():
    [chosen_from] = re.findall(r"ip_range: \S+\.(\d+)/25", COMPOSE)

    assert int(farm().l2.vip[0].address.rpartition(".")[2]) < int(chosen_from)


def test_the_balancer_of_the_containers_asks_each_node():
    config = (CONTAINER / "haproxy.cfg").read_text()

    checked = subprocess.run(
        ["haproxy", "-c", "-f", CONTAINER / "haproxy.cfg"], capture_output=True, text=True, timeout=30, check=False
    )

    assert checked.returncode == 0, checked.stderr
    assert f"httpchk GET {farm().health.path}" in config
    assert dict(re.findall(r"server (\w+) ([\d.]+):80$", config, re.MULTILINE)) == {
        node.name: node.address for node in farm().node
    }


def test_no_container_is_privileged():
    assert "privileged:" not in COMPOSE
    assert COMPOSE.count("cap_drop: [ALL]") == 6
