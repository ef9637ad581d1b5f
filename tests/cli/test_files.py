import hashlib
import json
import stat
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from hcsidecar.cli import files
from hcsidecar.farmfile.loading import load
from hcsidecar.net.keyring import Keyring

app = typer.Typer(rich_markup_mode=None)
files.register(app)

NODES = ("--node", "web1=192.0.2.11", "--node", "web2=192.0.2.12")


def run(*arguments: object, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment, prog_name="hcsidecar")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    assert run("init", tmp_path / "etc", "--name", "apache", *NODES).exit_code == 0
    return tmp_path / "etc" / "farm.toml"


def test_init_writes_a_farm_that_check_config_finds_right(config):
    result = run("check-config", config)
    assert result.exit_code == 0
    assert f"farm apache, 2 nodes: {config} is right" in result.stdout
    for told in ("web1: 192.0.2.11", "web2: 192.0.2.12", "UDP 4803, every 50ms, dead after 500ms", "/health"):
        assert told in result.stdout
    assert not result.stderr


def test_check_config_says_how_large_heartbeats_get_and_when_that_is_too_much(tmp_path):
    assert "bytes at the most in a packet of IPv4" in run("check-config", farm_of(tmp_path / "small", 3)).stdout
    assert "MTU" not in run("check-config", tmp_path / "small" / "farm.toml").stdout
    assert "more than the MTU of 1500 bytes" in run("check-config", farm_of(tmp_path / "large", 64)).stdout


def farm_of(directory, count):
    """Write a farm of so many nodes, whose long names have little in common."""
    names = [hashlib.sha256(bytes([number])).hexdigest()[:60] for number in range(count)]
    nodes = [argument for number, name in enumerate(names, 1) for argument in ("--node", f"{name}=192.0.2.{number}")]
    assert run("init", directory, "--name", "apache", *nodes).exit_code == 0
    return directory / "farm.toml"


def test_check_config_names_the_listeners_of_nodes_that_have_their_own(config):
    nodes = "".join(
        f'[[node]]\nname = "web{n}"\naddress = "192.0.2.1{n}"\nlisten = ["192.0.2.1{n}:9010"]\n' for n in (1, 2)
    )
    config.write_text(f'[farm]\nname = "apache"\n{nodes}')
    assert "/health on 192.0.2.11:9010, 192.0.2.12:9010," in run("check-config", config).stdout


def test_init_writes_three_tables_with_one_key_a_line_and_the_rest_as_comments(config):
    text = config.read_text()
    assert tomllib.loads(text) == {
        "farm": {"name": "apache"},
        "node": [{"name": "web1", "address": "192.0.2.11"}, {"name": "web2", "address": "192.0.2.12"}],
        "web": {"listen": ["0.0.0.0:9010"]},
    }
    assert '[[node]]\nname = "web2"\naddress = "192.0.2.12"\n' in text
    assert '#lost_after = "500ms"' in text


def test_init_makes_a_key_file_for_its_owner_only_and_another_one_for_each_farm(config, tmp_path):
    key_file = config.with_name("farm.key")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    run("init", tmp_path / "other", "--name", "apache", *NODES)
    ours, others = Keyring.load(key_file), Keyring.load(tmp_path / "other" / "farm.key")
    assert ours.active_id != others.active_id
    assert ours.hash_seed != others.hash_seed


@pytest.mark.parametrize(
    ("nodes", "listen"),
    [
        (["web1=2001:db8::11", "web2=2001:db8::12"], ["[::]:9010"]),
        (["web1=192.0.2.11"], ["0.0.0.0:9010"]),
    ],
)
def test_init_listens_on_the_family_of_the_nodes(tmp_path, nodes, listen):
    options = [option for node in nodes for option in ("--node", node)]
    assert run("init", tmp_path, "--name", "apache", *options).exit_code == 0
    assert [str(where) for where in load(tmp_path / "farm.toml").farm.web.listen] == listen


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (["--node", "web1=192.0.2.11"], ["next, on web1:"]),
        (NODES, ["next, on every server:", "copy the four files there"]),
    ],
)
def test_init_says_on_which_servers_to_go_on(tmp_path, nodes, told):
    said = run("init", tmp_path / "farm", "--name", "apache", *nodes).stdout
    assert all(line in said for line in told)
    assert ("copy" in said) == ("every server" in said)


def test_init_makes_a_certificate_authority_whose_key_is_for_its_owner_only(config):
    key = config.with_name("ca.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"BEGIN CERTIFICATE" in config.with_name("ca.pem").read_bytes()


def test_a_farm_without_an_authority_gets_one_once(config):
    for name in ("ca.pem", "ca.key"):
        config.with_name(name).unlink()
    made = run("ca", "new", "--config", config)
    assert made.exit_code == 0
    assert "copy both beside the key file on all nodes, ca.key with mode 0600" in made.stdout
    key = config.with_name("ca.key").read_bytes()
    again = run("ca", "new", "--config", config)
    assert again.exit_code == 1
    assert "has an authority already" in again.stderr
    assert config.with_name("ca.key").read_bytes() == key


@pytest.mark.parametrize("there", ["farm.toml", "farm.key", "ca.pem", "ca.key"])
def test_init_overwrites_no_file(tmp_path, there):
    (tmp_path / there).write_text("precious")
    result = run("init", tmp_path, "--name", "apache", *NODES)
    assert result.exit_code == 1
    assert f"{tmp_path / there}: exists already" in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "precious")]


def test_init_says_why_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("init", tmp_path / "file" / "etc", "--name", "apache", *NODES)
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--name", "a/b", *NODES], "farm.name"),
        (["--name", "apache", *NODES, "--node", "web3=192.0.2.11"], "node[3].address: is given twice"),
        (["--name", "apache", "--node", "web1=www.example.com"], "node[1].address: is not an IP address"),
        (["--name", "apache", "--node", "web1"], "an equals sign"),
        (["--name", "apache"], "--node"),
    ],
)
def test_init_refuses_a_farm_that_could_not_be(tmp_path, arguments, told):
    result = run("init", tmp_path / "etc", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not (tmp_path / "etc").exists()


def test_check_config_tells_every_problem_with_path_and_hint(config):
    config.write_text('[farm]\nnam = "apache"\n[[node]]\nname = "web1"\naddress = "192.0.2.11"\n')
    config.with_name("farm.key").chmod(0o644)
    result = run("check-config", config)
    assert result.exit_code == 2
    assert not result.stdout
    assert f"{config}: 3 problems" in result.stderr
    for told in ("farm.name: is missing", "farm.nam: is not a known key", "did you mean name?", "chmod 600"):
        assert told in result.stderr


def test_check_config_looks_for_what_the_file_names_on_this_machine(config):
    with config.open("a") as file:
        file.write('[[check]]\ntype = "command"\nname = "QUEUE"\ncommand = ["bin/check_queue"]\n')
    result = run("check-config", config)
    assert result.exit_code == 2
    assert f"check[1].command[1]: there is no {config.parent}/bin/check_queue" in result.stderr


def test_check_config_gives_problems_and_farm_as_json(config):
    right = json.loads(run("check-config", config, "--json").stdout)
    assert (right["ok"], right["problems"]) == (True, [])
    assert right["farm"]["heartbeat"]["pulse"] == "50ms"
    config.write_text("[farm]\n")
    result = run("check-config", config, "--json")
    wrong = json.loads(result.stdout)
    assert result.exit_code == 2
    assert wrong["ok"] is False
    assert {"path": "node", "message": "is missing", "hint": "at least one table [[node]]"} in wrong["problems"]


def test_check_config_takes_the_file_from_argument_option_or_environment(config):
    for result in (
        run("check-config", config),
        run("check-config", "--config", config),
        run("check-config", HCSIDECAR_CONFIG=str(config)),
    ):
        assert result.exit_code == 0, result.stderr


def test_check_config_tells_of_a_file_that_is_not_there(tmp_path):
    result = run("check-config", tmp_path / "farm.toml")
    assert result.exit_code == 2
    assert "is not there" in result.stderr


def test_check_config_sums_up_checks_and_layer_2(config):
    with config.open("a") as file:
        file.write("""
            [[check]]
            type = "tcp"
            name = "HTTP_APACHE"
            address = "127.0.0.1"
            port = 80
            [l2]
            [[l2.vip]]
            address = "192.0.2.50"
            [[l2.share]]
            name = "APACHE"
            ports = [80, 443]
        """)
    summary = run("check-config", config).stdout
    assert "HTTP_APACHE: tcp 127.0.0.1:80, every 10s" in summary
    assert "192.0.2.50, directed" in summary
    assert "APACHE: tcp 80, 443 by address" in summary


def test_the_schema_is_printed_without_any_file():
    result = run("check-config", "--schema")
    assert result.exit_code == 0
    assert "FarmTable" in json.loads(result.stdout)["$defs"]


def test_a_key_file_is_made_once_and_left_alone_from_then_on(tmp_path):
    key_file = tmp_path / "farm.key"

    made = run("key", "new", key_file)
    before = key_file.read_bytes()
    again = run("key", "new", key_file)

    assert (made.exit_code, made.stdout) == (0, f"made {key_file}\n")
    assert (again.exit_code, again.stdout) == (0, f"{key_file} exists already, and is left alone\n")
    assert key_file.read_bytes() == before
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(Keyring.load(key_file).ids) == 1


def test_a_key_file_that_cannot_be_made_is_told(tmp_path):
    refused = run("key", "new", tmp_path / "nowhere" / "farm.key")

    assert refused.exit_code == 1
    assert refused.stderr == f"{tmp_path}/nowhere/farm.key cannot be written: No such file or directory\n"


def test_a_key_is_rotated_in_three_steps_and_the_hash_seed_stays(config):
    key_file = config.with_name("farm.key")
    before = Keyring.load(key_file)
    old = f"{before.active_id:08x}"

    added = run("key", "add", "--config", config)
    assert added.exit_code == 0
    after_add = Keyring.load(key_file)
    new = f"{next(one for one in after_add.ids if one != before.active_id):08x}"
    assert f"added {new}" in added.stdout
    assert "copy" in added.stdout
    assert f"hcsidecar key use {new}" in added.stdout
    assert after_add.active_id == before.active_id

    used = run("key", "use", new, "--config", config)
    assert f"hcsidecar key drop {old}" in used.stdout
    assert f"{Keyring.load(key_file).active_id:08x}" == new

    assert run("key", "drop", old, "--config", config).exit_code == 0
    assert [f"{one:08x}" for one in Keyring.load(key_file).ids] == [new]
    assert Keyring.load(key_file).hash_seed == before.hash_seed
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("command", ["use", "drop"])
@pytest.mark.parametrize("key_id", ["00000000", "xyz", ""])
def test_a_key_that_is_not_there_is_refused_and_nothing_changed(config, command, key_id):
    before = config.with_name("farm.key").read_bytes()
    result = run("key", command, key_id, "--config", config)
    assert result.exit_code == 1
    assert "has no key" in result.stderr
    assert config.with_name("farm.key").read_bytes() == before


def test_the_key_in_use_is_not_dropped(config):
    active = Keyring.load(config.with_name("farm.key")).active_id
    result = run("key", "drop", f"{active:08x}", "--config", config)
    assert result.exit_code == 1
    assert "put another key in use first" in result.stderr


def test_keys_are_listed_without_their_secrets(config):
    run("key", "add", "--config", config)
    keyring = Keyring.load(config.with_name("farm.key"))
    plain = run("key", "list", "--config", config).stdout
    listed = json.loads(run("key", "list", "--json", "--config", config).stdout)
    assert [one["id"] for one in listed] == [f"{known:08x}" for known in keyring.ids]
    assert [one["in_use"] for one in listed] == [True, False]
    assert plain.count("in use") == 1
    for one in keyring.keys.values():
        assert one.secret.hex() not in plain + json.dumps(listed)


def test_keys_of_a_wrong_farm_file_are_not_touched(config):
    config.write_text("[farm]\n")
    result = run("key", "add", "--config", config)
    assert result.exit_code == 2
    assert "farm.name: is missing" in result.stderr


@pytest.mark.parametrize(
    "command", [["init"], ["check-config"], ["key"], *(["key", c] for c in ("add", "use", "drop"))]
)
def test_every_command_explains_itself(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert command == ["key"] or "Exit status" in result.stdout
