"""What travels in a bundle: names of the farm file below its directory, and the directories that hold them."""

import tomllib

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.settings.named_files import is_left_out, named_files, travelling_name, whole_directories

FARM = """
[farm]
name = "apache"
[[node]]
name = "web1"
address = "192.0.2.11"
[web.tls]
cert = "tls/farm.crt"
key = "tls/farm.key"
[application]
start = "bin/start"
stop = "./bin//stop"
poststop = "/usr/local/bin/poststop"
prestart = "../common/prestart"
[[check]]
type = "command"
name = "queue"
command = ["checks/queue", "bin/no_program"]
[[check]]
type = "custom"
name = "watch"
command = ["watch"]
[[check]]
type = "command"
name = "system"
command = ["/usr/bin/true"]
[[target]]
type = "command"
name = "pool"
command = ["balancers/register", "--pool", "web"]
[[check]]
type = "tcp"
name = "port"
address = "127.0.0.1"
port = 80
[[target]]
type = "haproxy"
name = "proxy"
socket = "/run/haproxy.sock"
backend = "web"
port = 80
"""


def test_scripts_and_programs_below_the_directory_travel_and_certificates_and_arguments_do_not():
    farm = read(tomllib.loads(FARM))
    assert isinstance(farm, FarmFile), farm
    assert named_files(farm.parts) == {
        "application.start": "bin/start",
        "application.stop": "bin/stop",
        "check[1].command[1]": "checks/queue",
        "check[2].command[1]": "watch",
        "target[1].command[1]": "balancers/register",
    }


def test_a_farm_without_scripts_names_nothing():
    farm = read(tomllib.loads(FARM.partition("[web.tls]")[0]))
    assert isinstance(farm, FarmFile), farm
    assert named_files(farm.parts) == {}


@pytest.mark.parametrize(
    ("named", "name"),
    [
        ("bin/start", "bin/start"),
        ("./start", "start"),
        ("bin//sub/./start/", "bin/sub/start"),
        ("/etc/hcsidecar/bin/start", None),
        ("../start", None),
        ("bin/../../start", None),
        ("bin/../start", None),
        (".", None),
        ("", None),
        ("bin/..start", "bin/..start"),
    ],
)
def test_a_name_travels_if_it_is_relative_and_never_turns_back(named, name):
    assert travelling_name(named) == name


def test_directories_of_named_files_travel_whole_and_that_of_the_farm_file_does_not():
    assert whole_directories(["start", "bin/a", "bin/b", "bin/deep/c", "bins/d", "x/y/z"]) == ("bin", "bins", "x/y")
    assert whole_directories(["start"]) == ()


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        (".git", True),
        ("start~", True),
        ("start.swp", True),
        ("#start#", True),
        ("start.unapplied", True),
        ("start.unapplied-2", True),
        ("__pycache__", True),
        ("start", False),
        ("unapplied", False),
        ("start.unapplied.sh", False),
        ("common.sh", False),
    ],
)
def test_what_editors_leave_behind_does_not_travel(name, left_out):
    assert is_left_out(name) == left_out
