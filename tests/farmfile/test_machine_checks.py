"""What `check-config` finds on the machine beyond the file itself."""

import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hcsidecar.farmfile.loading import FarmFileError, find_node, load
from hcsidecar.farmfile.machine_checks import problems_here
from hcsidecar.net.keyring import Keyring

FARM = '[farm]\nname = "apache"\n'
NODE = '[[node]]\nname = "web1"\naddress = "192.0.2.11"\n'


@pytest.fixture
def directory() -> Iterator[Path]:
    # Of a short name: the path of a socket below it can have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="hct") as name:
        made = Path(name).resolve()
        Keyring.create(made / "farm.key", now=datetime(2026, 1, 1, tzinfo=UTC)).write(replace=False)
        for program, text in (("program", "#!/bin/sh\n"), ("ancient", "#!/opt/perl4 -w\n")):
            (made / program).write_text(text)
            (made / program).chmod(0o755)
        (made / "text").write_text("no program")
        yield made


def problems_of(directory: Path, text: str, *, farm: str = FARM) -> dict[str, str]:
    path = directory / "farm.toml"
    path.write_text(f"{farm}{NODE}{text}")
    try:
        load(path, look=problems_here)
    except FarmFileError as error:
        problems = error.problems
    else:
        problems = ()
    assert len({problem.path for problem in problems}) == len(problems)
    return {problem.path: f"{problem.message} ({problem.hint})" for problem in problems}


@pytest.mark.parametrize("below", ["", "/below", "/far/below"])
def test_a_state_directory_that_is_a_file_or_below_one_is_told(directory, below):
    told = problems_of(directory, "", farm=f'{FARM}state_dir = "{directory}/text{below}"\n')
    assert told == {"farm.state_dir": f"is no directory: {directory}/text is a file (name another one)"}


def test_a_state_directory_that_is_there_or_can_be_made_is_right(directory):
    for state in (directory, directory / "new" / "one"):
        assert problems_of(directory, "", farm=f'{FARM}state_dir = "{state}"\n') == {}


def test_a_state_directory_whose_sockets_would_have_too_long_a_path_is_told(directory):
    told = problems_of(directory, "", farm=f'{FARM}state_dir = "/{"x" * 100}"\n')
    assert "and it can have 107" in told["farm.state_dir"]


@pytest.mark.parametrize("table", ['[[check]]\nname = "x"', "[[target]]"])
@pytest.mark.parametrize("kind", ["command", "custom"])
@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("missing", "there is no {}/missing (relative to the farm file, or absolute)"),
        ("text", "{}/text is not executable (chmod +x {}/text)"),
        ("ancient", "{}/ancient cannot be run (the interpreter that its first line names is not there)"),
        (".", "{} is not a file"),
        ("text/below", "{}/text/below cannot be run (not a directory)"),
        ("program", None),
        ("/bin/true", None),
    ],
)
def test_a_program_that_cannot_be_started_is_told_with_its_place(directory, table, kind, program, said):
    if (table, kind) == ("[[target]]", "custom"):
        return
    told = problems_of(directory, f'{table}\ntype = "{kind}"\ncommand = ["{program}", "--quick"]\n')
    place = f"{table.strip('[]').split(']')[0]}[1].command[1]"
    assert list(told) == ([] if said is None else [place])
    assert said is None or told[place].startswith(said.replace("{}", str(directory)))


def test_the_directory_of_the_scripts_and_their_interpreter_have_to_be_there(directory):
    told = problems_of(
        directory, '[application]\nstart = "ancient"\nstop = "program"\nprestart = "missing"\ndirectory = "nowhere"\n'
    )
    assert told["application.directory"].startswith(f"is not there: {directory}/nowhere")
    assert "the interpreter that its first line names" in told["application.start"]
    assert told["application.prestart"].startswith("is not there")
    assert len(told) == 3


@pytest.fixture(scope="module")
def pem(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("pem")
    for name in ("one", "other"):
        names = ["-subj", "/CN=apache", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    encrypt = ["openssl", "ec", "-in", "one.key", "-aes128", "-passout", "pass:secret", "-out", "locked.key"]
    subprocess.run(encrypt, cwd=directory, check=True, capture_output=True)
    (directory / "empty").touch()
    return directory


@pytest.mark.parametrize(
    ("files", "place", "said"),
    [
        ("one.crt one.key", None, ""),
        ("one.crt other.key", "key", "is not the key of the certificate"),
        ("one.crt locked.key", "key", "with a password"),
        ("one.crt empty", "key", "has no private key in PEM"),
        ("empty one.key", "cert", "has no certificate in PEM"),
        ("one.key one.key", "cert", "has no certificate in PEM"),
        ("missing one.key", "cert", "cannot be read"),
        ("one.crt .", "key", "cannot be read"),
    ],
)
def test_a_certificate_that_does_not_load_is_told(directory, pem, files, place, said):
    cert, key = files.split()
    tables = "".join(
        f'[{table}]\nlisten = ["0.0.0.0:{port}"]\ntls = {{ cert = "{pem / cert}", key = "{pem / key}" }}\n'
        for table, port in (("web", 9010), ("health", 9080))
    )
    told = problems_of(directory, tables)
    assert list(told) == ([] if place is None else [f"web.tls.{place}", f"health.tls.{place}"])
    assert all(said in text for text in told.values())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[[node]]\nname = "web2"\naddress = "127.255.255.255"\n', "node[2].address"),
        ('[health]\nlisten = ["127.255.255.255:9080"]\n', "health.listen[1]"),
        ('[[check]]\ntype = "ping"\nname = "x"\naddress = "127.255.255.255"\n', "check[1].address"),
    ],
)
def test_the_broadcast_address_of_a_network_of_this_machine_is_told(directory, text, place):
    told = problems_of(directory, text)
    assert list(told) == [place]
    assert told[place].startswith("is the broadcast address of a network of this machine: 127.255.255.255")


def test_a_node_that_has_a_broadcast_address_of_this_machine_is_not_this_machine(directory):
    problems_of(directory, '[[node]]\nname = "web2"\naddress = "127.255.255.255"\n')
    with pytest.raises(FarmFileError, match="has no address of this machine"):
        find_node(load(directory / "farm.toml").farm, None)


def test_what_is_wrong_here_is_told_beside_what_is_wrong_in_the_file(directory):
    text = """
        [web]
        tls = { cert = "missing.crt", key = "missing.key" }
        [application]
        start = "missing"
        stop = "program"
        [[check]]
        type = "command"
        name = "x"
        command = ["missing"]
        [[check]]
        type = "pign"
    """
    farm = f'{FARM}state_dir = "{directory}/text"\n'
    (directory / "farm.key").chmod(0o644)
    assert set(problems_of(directory, text, farm=farm)) == {
        "farm.state_dir",
        "farm.key_file",
        "web.tls.cert",
        "web.tls.key",
        "application.start",
        "check[1].command[1]",
        "check[2].type",
    }


def test_a_daemon_starts_without_the_program_of_a_check_which_may_come_later(directory):
    path = directory / "farm.toml"
    path.write_text(f'{FARM}{NODE}[[check]]\ntype = "command"\nname = "x"\ncommand = ["missing"]\n')
    assert load(path).farm.check


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(None, 0, "cannot be read"), (b"x\n", 0o640, "can be read by others"), (b" \n", 0o600, "is empty")],
    ids=["missing", "open to others", "empty"],
)
def test_a_secret_of_a_receiver_that_cannot_be_used_is_told(directory, content, mode, said):
    if content is not None:
        (directory / "chat.token").write_bytes(content)
        (directory / "chat.token").chmod(mode)
    text = '[[notify]]\ntype = "webhook"\nurl = "https://chat.example.com"\ntoken_file = "chat.token"'
    assert said in problems_of(directory, text)["notify[1].token_file"]


def test_a_secret_that_only_its_owner_can_read_and_an_authority_that_all_can_are_right(directory):
    (directory / "chat.token").write_bytes(b"x\n")
    (directory / "chat.token").chmod(0o600)
    (directory / "ca.crt").write_bytes(b"x\n")
    text = (
        '[[notify]]\ntype = "webhook"\nurl = "https://chat.example.com"\ntoken_file = "chat.token"\nca_file = "ca.crt"'
    )
    assert problems_of(directory, text) == {}
