import os
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.farmfile import dirs
from hcsidecar.farmfile.loading import FarmFileError, find_config, find_node, load
from hcsidecar.net.keyring import KeyFileError, Keyring

TWO_NODES = """
[farm]
name = "apache"
[[node]]
name = "web1"
address = "192.0.2.11"
[[node]]
name = "web2"
address = "127.0.0.1"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "farm.toml").write_text(TWO_NODES)
    Keyring.create(tmp_path / "farm.key", now=datetime(2026, 1, 1, tzinfo=UTC)).write(replace=False)
    return tmp_path


def problems_of(path: Path) -> dict[str, str]:
    with pytest.raises(FarmFileError) as refused:
        load(path)
    return {problem.path: f"{problem.message} ({problem.hint})" for problem in refused.value.problems}


def farm_of(*nodes: tuple[str, str], **table: object) -> FarmFile:
    return FarmFile.model_validate(
        {"farm": {"name": "apache", **table}, "node": [{"name": name, "address": address} for name, address in nodes]}
    )


def test_a_farm_file_is_read_with_its_key_beside_it(directory):
    loaded = load(directory / "farm.toml")
    assert loaded.farm.farm.name == "apache"
    assert loaded.key_file == directory / "farm.key"
    assert len(loaded.keyring.ids) == 1
    assert loaded.resolve("tls/farm.crt") == directory / "tls" / "farm.crt"
    assert loaded.resolve("/etc/tls/farm.crt") == Path("/etc/tls/farm.crt")


def test_a_file_that_may_not_be_read_is_told(directory):
    # Opening a socket fails for root too.
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "sock"))
        assert "cannot be read" in problems_of(directory / "sock")[str(directory / "sock")]
        with pytest.raises(KeyFileError, match="cannot be read"):
            Keyring.load(directory / "sock")


def test_names_in_the_file_are_relative_to_it_and_not_to_where_it_is_read_from(directory, monkeypatch):
    monkeypatch.chdir(directory)
    assert load(Path("farm.toml")).path == directory / "farm.toml"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[farm]\nname = "apache\n', "is not TOML"),
        (b"[farm]\n\n[farm]\n", "line 3"),
        (b'[farm]\nname = "\xff"\n', "is not UTF-8 text in line 2"),
        (b"#" * (256 * 1024 + 1), "bigger than 262144 bytes"),
        (b"x = " + b"9" * 5000, "is not TOML"),
        (b"x = " + b"[" * 5000, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_toml_is_told_as_one_problem(directory, content, said):
    path = directory / "farm.toml"
    path.write_bytes(content)
    problems = problems_of(path)
    assert list(problems) == [str(path)]
    assert said in problems[str(path)]


def test_a_file_that_is_not_there_and_a_directory_are_told_as_such(directory):
    assert "is not there" in problems_of(directory / "no.toml")[str(directory / "no.toml")]
    assert "is a directory" in problems_of(directory)[str(directory)]


def test_problems_of_the_file_and_of_its_key_are_told_together(directory):
    (directory / "farm.toml").write_text(TWO_NODES.replace("192.0.2.11", "192.0.2"))
    (directory / "farm.key").chmod(0o640)
    problems = problems_of(directory / "farm.toml")
    assert set(problems) == {"node[1].address", "farm.key_file"}
    assert "0640" in problems["farm.key_file"]
    assert "chmod 600" in problems["farm.key_file"]


@pytest.mark.parametrize("key_file", ["nowhere.key", "3", "\\u0000"])
def test_a_key_file_that_is_not_there_is_a_problem_of_the_farm_table(directory, key_file):
    (directory / "farm.key").unlink()
    (directory / "farm.toml").write_text(TWO_NODES.replace("[farm]", f'[farm]\nkey_file = "{key_file}"'))
    assert "farm.key_file" in problems_of(directory / "farm.toml")


def test_certificates_that_are_named_have_to_be_there(directory):
    (directory / "web.crt").write_text("")
    text = f'{TWO_NODES}\n[web]\ntls = {{ cert = "web.crt", key = "web.key" }}\n'
    (directory / "farm.toml").write_text(text)
    assert set(problems_of(directory / "farm.toml")) == {"web.tls.key"}


def test_the_farm_file_is_that_of_the_option_else_of_the_environment_else_of_the_system():
    environment = {"HCSIDECAR_CONFIG": "/srv/farm.toml"}
    assert find_config(Path("here.toml"), environment) == Path("here.toml")
    assert find_config(None, environment) == Path("/srv/farm.toml")
    assert find_config(None, {}) == Path("/etc/hcsidecar/farm.toml")


def test_a_node_finds_itself_by_its_address():
    farm = farm_of(("web1", "192.0.2.11"), ("web2", "127.0.0.1"))
    assert find_node(farm, None).name == "web2"


def test_a_node_that_is_named_is_taken_wherever_it_is():
    farm = farm_of(("web1", "192.0.2.11"), ("web2", "127.0.0.1"))
    assert find_node(farm, "web1").name == "web1"


@pytest.mark.parametrize(
    ("addresses", "name", "said"),
    [
        (["192.0.2.11", "192.0.2.12"], None, "no address of this machine"),
        (["127.0.0.1", "127.0.0.2"], None, "several that are on this machine: web1, web2"),
        (["192.0.2.11", "192.0.2.12"], "web3", "none of the name web3"),
    ],
)
def test_a_node_that_cannot_be_told_is_told_why(addresses, name, said):
    farm = farm_of(("web1", addresses[0]), ("web2", addresses[1]))
    with pytest.raises(FarmFileError, match=said):
        find_node(farm, name)


@pytest.mark.parametrize(
    ("farm_file", "node", "said"),
    [
        pytest.param(TWO_NODES, "web3", "none of the name web3", id="no such node"),
        pytest.param(TWO_NODES.replace("name", "nam"), None, "farm.nam", id="wrong file"),
    ],
)
def test_a_daemon_with_a_wrong_file_or_name_ends_with_a_status_for_which_it_is_not_started_again(
    directory, farm_file, node, said
):
    (directory / "farm.toml").write_text(farm_file)
    command = [sys.executable, "-m", "hcsidecar.daemon.start", "--config", directory / "farm.toml"]
    named = [] if node is None else ["--node", node]
    done = subprocess.run([*command, *named], capture_output=True, text=True, check=False, timeout=60)
    assert said in done.stderr
    assert done.returncode == 2


def test_state_and_sockets_of_each_node_have_directories_of_their_own(tmp_path):
    farm = farm_of(("web1", "127.0.0.1"), ("web2", "127.0.0.2"), state_dir=str(tmp_path))
    web1, web2 = farm.node
    assert dirs.state_dir(farm, web1) == tmp_path / "apache" / "web1"
    assert dirs.state_dir(farm, web2) == tmp_path / "apache" / "web2"
    assert dirs.control_socket(farm, web1) == tmp_path / "apache" / "web1" / "control.sock"


@pytest.mark.skipif(os.geteuid() != 0, reason="root's own directories")
def test_root_has_state_and_sockets_in_the_systems_directories():
    farm = farm_of(("web1", "127.0.0.1"))
    assert dirs.state_dir(farm, farm.node[0], {}) == Path("/var/lib/hcsidecar/apache/web1")
    assert dirs.control_socket(farm, farm.node[0], {}) == Path("/run/hcsidecar/apache/web1/control.sock")
    stated = farm_of(("web1", "127.0.0.1"), state_dir="/var/lib/hcsidecar")
    assert dirs.run_dir(stated, stated.node[0], {}) == Path("/run/hcsidecar/apache/web1")


AS_A_USER = """
import os, sys
from hcsidecar.farmfile import dirs
from hcsidecar.core.farmfile.farm_file import FarmFile
farm = FarmFile.model_validate({"farm": {"name": "apache"}, "node": [{"name": "web1", "address": "127.0.0.1"}]})
if os.geteuid() == 0:
    os.seteuid(65534)
environment = dict(pair.split("=") for pair in sys.argv[1:])
print(dirs.state_dir(farm, farm.node[0], environment))
print(dirs.run_dir(farm, farm.node[0], environment))
"""


@pytest.mark.parametrize(
    ("environment", "state", "run"),
    [
        (["XDG_STATE_HOME=/home/op/state"], "/home/op/state/hcsidecar", "/home/op/state/hcsidecar"),
        (["XDG_RUNTIME_DIR=/run/user/7"], "/home/op/.local/state/hcsidecar", "/run/user/7/hcsidecar"),
        (["XDG_STATE_HOME=relative"], "/home/op/.local/state/hcsidecar", "/home/op/.local/state/hcsidecar"),
    ],
)
def test_users_have_state_and_sockets_in_their_own_directories(environment, state, run):
    answer = subprocess.run(
        [sys.executable, "-c", AS_A_USER, *environment],
        env={"HOME": "/home/op"},
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert answer.stdout.split() == [f"{state}/apache/web1", f"{run}/apache/web1"]


def test_a_socket_path_that_is_too_long_is_told_before_it_is_used(tmp_path):
    farm = farm_of(("web1", "127.0.0.1"), state_dir=str(tmp_path / ("x" * 100)))
    with pytest.raises(FarmFileError, match="shorter directory"):
        dirs.control_socket(farm, farm.node[0])


def test_directories_are_made_for_their_user_only_and_may_be_there_already(tmp_path):
    wanted = tmp_path / "a" / "b"
    for _ in range(2):
        assert dirs.make_private(wanted) == wanted
    assert [stat.S_IMODE(made.stat().st_mode) for made in (wanted, wanted.parent)] == [0o700, 0o700]


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(FarmFileError, match="cannot be used"):
        dirs.make_private(tmp_path / "a" / "b")


def test_scripts_that_are_named_have_to_be_there_and_to_be_nobody_elses(directory):
    (directory / "farm.toml").write_text(f'{TWO_NODES}\n[application]\nstart = "start"\nstop = "/bin/true"\n')
    assert "is not there" in problems_of(directory / "farm.toml")["application.start"]

    (directory / "start").write_text("#!/bin/sh\n")
    (directory / "start").chmod(0o757)
    assert "may be written by others" in problems_of(directory / "farm.toml")["application.start"]

    (directory / "start").chmod(0o755)
    assert load(directory / "farm.toml").farm.application is not None
