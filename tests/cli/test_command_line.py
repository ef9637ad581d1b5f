"""Every command where its output cannot go, with arguments that are no text, and on odd terminals."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer.main
from cli_farm import HEALTHY_TARGET, cli_farm
from command_lines import CLOSED, FULL, UNREAD, command_line

from hcsidecar.api.control import NodeCommand
from hcsidecar.cli import app
from hcsidecar.core.events import Event, Level
from hcsidecar.core.metric_catalogue import Family, Sample

COMPLETION = Path(__file__).parents[2] / "tools" / "completion"
MODULE = Path(__file__).parents[1] / "safekit" / "web_farm"
NO_TEXT = b"x\xff\xe9"
"No UTF-8."
FARM = """
[l2]
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
ports = [80]
[[target]]
type = "haproxy"
name = "front"
backend = "web"
socket = "/s"
port = 80
[[check]]
type = "custom"
name = "QUEUE"
command = ["/bin/true"]
"""
SHARE = {
    "share": "WEB",
    "protocol": "tcp",
    "ports": [80],
    "vips": ["192.0.2.50"],
    "by": "address",
    "bucket": 1234,
    "owner": "web2",
    "phase": "other",
    "fraction": 0.5,
    "may_hold": [],
    "reason": "web2 takes it, by the view of web1, web2",
}
EXPLANATION = {
    "farm": "apache",
    "view": ["web1", "web2"],
    "address": "203.0.113.7",
    "port": None,
    "vip": None,
    "shares": [SHARE],
}


FILTER = {
    "name": "tc",
    "why": "eth0 is a veth",
    "warnings": [],
    "degraded": False,
    "fall_back": None,
    "remedy": "",
}
MACS = {"web1": "02:00:00:00:00:01", "web2": "02:00:00:00:00:02"}
LAYER_TWO = {
    "farm": "apache",
    "view": ["web1", "web2"],
    "filter": FILTER,
    "interface": "eth0",
    "macs": MACS,
    "delivery": "directed",
    "lease_open": True,
    "vips": [{"address": "192.0.2.50", "director": "web1", "mac": MACS["web1"]}],
    "shares": [{"name": "WEB", "mine": 2048, "pending": 0}],
    "packets": [],
}
PACKETS = {
    "name": "no_mac",
    "action": "drop",
    "text": "the MAC of its owner is not known",
    "odd": True,
    "persists": False,
    "count": 12345,
}
UNUSUAL = {"parting": True, "powers": {"WEB": 1}, "file_powers": {"WEB": 1}, "restarts": {"used": 1, "most": 3}}
READY = Family(name="hcsidecar_ready", kind="gauge", help="Ready.", samples=(Sample(labels={}, value=1.0),))

COMMANDS = {
    "init": ["@new", "--name", "shop", "--node", "web1=192.0.2.11"],
    "check-config": ["@farm"],
    "import-safekit": ["@module", "@new", "--macro", "FARM_IP=192.0.2.50", "--node", "web1=192.0.2.11"],
    "run": None,
    "console": None,
    "install": None,
    "uninstall": None,
    "status": ["@config"],
    "start": ["@config"],
    "stop": ["@config", "--no-wait"],
    "restart": ["@config"],
    "drain": ["@config"],
    "resume": ["@config"],
    "leave": ["@config"],
    "power": ["@config", "3"],
    "targets": ["@config"],
    "explain": ["@config", "203.0.113.7"],
    "l2-check": ["@config"],
    "log": None,
    "logs": ["@config"],
    "report": ["@config", "QUEUE", "up"],
    "metrics": ["@config"],
    "notify-test": None,
    "snapshot": None,
    # They ask a daemon for more than the small one of these tests has: see tests/settings/test_apply.py.
    "apply": None,
    "diff": None,
    "history": None,
    "rollback": None,
    "remove": None,
    # See tests/joining.
    "token": None,
    "join": None,
    "demo": None,
    "key new": ["@new"],
    "key add": ["@config"],
    "key use": None,
    "key drop": None,
    "key rotate": None,
    "key list": ["@config"],
    "ca new": ["@config"],
    # See tests/cli/test_authority.py.
    "ca show": None,
    "rolling restart": None,
    "rolling run": None,
    # See tests/cli/test_access.py.
    **dict.fromkeys(
        ["user add", "user remove", "user role", "user password", "user link", "user list", "user end-sessions"]
    ),
    **dict.fromkeys(["api-token add", "api-token list", "api-token revoke"]),
}
"Every command, with arguments by which it succeeds and says something; None where that takes more than a fake node."
TALKING = [command for command, arguments in COMMANDS.items() if arguments is not None]


@pytest.fixture(scope="module")
def farm():
    """Two nodes that answer everything, in a thread."""
    with cli_farm(addresses={"web1": "127.0.0.1", "web2": "203.0.113.2"}) as farm:
        farm.config.write_text(farm.config.read_text() + FARM)
        up, over = threading.Event(), threading.Event()

        async def run():
            async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
                farm.controls = [node.control for node in nodes.values()]
                for control in farm.controls:
                    prepare(control)
                up.set()
                await asyncio.to_thread(over.wait)

        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        assert up.wait(20)
        yield farm
        over.set()
        thread.join(20)


def prepare(control):
    control.vips = ("192.0.2.50",)
    control.explanation = EXPLANATION | {"node": control.node}
    heard = [] if control.node == "web1" else [{"mac": MACS["web1"], "source_mac": MACS["web1"]}]
    layer_two = LAYER_TWO | {"node": control.node}
    control.check_document = layer_two | {"findings": [], "answers": {"192.0.2.50": heard}}
    control.layer_two_document = layer_two | {"packets": [PACKETS]}
    control.target_documents = [HEALTHY_TARGET]
    control.checks_said = {"QUEUE": "down"}
    control.families = (READY,)
    control.journal.write(Event(level=Level.ERROR, origin="application", message="its start script failed"))

    def act(action):
        if action is NodeCommand.LEAVE:
            control.row(control.node, role="STOP", status="NotReady")

    control.on_act = act


@pytest.fixture(scope="module")
def shell():
    with command_line(COLUMNS="80", TERM="xterm") as shell:
        yield shell


@pytest.fixture
def words(farm, tmp_path):
    """Give the words of a command, with the places that it needs; nodes are as they were at first."""
    for control in farm.controls:
        control.rows.clear()
    for secret in ("ca.pem", "ca.key"):
        (farm.config.parent / secret).unlink(missing_ok=True)
    places = {
        "@farm": [farm.config],
        "@config": ["--config", farm.config],
        "@new": [tmp_path / "new"],
        "@module": [MODULE],
    }

    def give(command):
        return [
            *command.split(),
            *(word for argument in COMMANDS[command] for word in places.get(argument, [argument])),
        ]

    return give


def test_no_command_is_missing_in_the_table_of_these_tests():
    def leaves(group, before=""):
        for name, command in group.commands.items():
            yield from leaves(command, f"{name} ") if hasattr(command, "commands") else [before + name]

    assert sorted(leaves(typer.main.get_command(app))) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [*TALKING, "--help", "--version", "status --help", "check-config --schema"])
def test_on_a_full_disk_a_command_fails_with_one_line(shell, words, command):
    ended = shell.give(*(words(command) if command in COMMANDS else command.split()), stdout=FULL)
    assert ended.status == 1, ended
    assert ended.stderr.splitlines()[-1:] == [b"standard output cannot be written: No space left on device"]
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("command", [*TALKING, "--help"])
def test_a_command_that_nobody_reads_any_more_ends_without_a_word(shell, words, command):
    ended = shell.give(*(words(command) if command in COMMANDS else command.split()), stdout=UNREAD)
    assert ended.status == -signal.SIGPIPE, ended
    assert ended.stderr == shell.give(*words(command)).stderr if command in ("status", "logs") else not ended.stderr


@pytest.mark.parametrize("command", ["status", "logs", "check-config", "metrics"])
def test_a_command_whose_output_is_closed_does_its_work(shell, words, command):
    ended = shell.give(*words(command), stdout=CLOSED)
    assert ended.status == 0, ended
    assert not ended.stdout


NOT_TEXT = {
    "a node": ["status", "@config", "--node", NO_TEXT],
    "a remark": ["log", "info", NO_TEXT, "@config"],
    "who says it": ["log", "info", "x", "--origin", NO_TEXT, "@config"],
    "a level": ["logs", "--level", NO_TEXT, "@config"],
    "a moment": ["logs", "--since", NO_TEXT, "@config"],
    "a pattern": ["logs", "--grep", NO_TEXT, "@config"],
    "a run": ["logs", "--application", NO_TEXT, "@config"],
    "a check": ["report", NO_TEXT, "up", "@config"],
    "a report": ["report", "QUEUE", NO_TEXT, "@config"],
    "a power": ["power", NO_TEXT, "@config"],
    "a share": ["power", "1", "--share", NO_TEXT, "@config"],
    "a client": ["explain", NO_TEXT, "@config"],
    "a virtual IP": ["explain", "203.0.113.7", "--vip", NO_TEXT, "@config"],
    "a key": ["key", "use", NO_TEXT, "@config"],
    "a key to drop": ["key", "drop", NO_TEXT, "@config"],
    "a key file": ["key", "new", b"@new/" + NO_TEXT],
    "a directory": ["init", b"@new/" + NO_TEXT, "--name", "shop", "--node", "web1=192.0.2.11"],
    "a farm": ["init", "@new", "--name", NO_TEXT, "--node", "web1=192.0.2.11"],
    "a new node": ["init", "@new", "--name", "shop", "--node", NO_TEXT + b"=192.0.2.11"],
    "an address": ["init", "@new", "--name", "shop", "--node", b"web1=" + NO_TEXT],
    "neither": ["init", "@new", "--name", "shop", "--node", NO_TEXT],
    "a farm file": ["check-config", b"@new/" + NO_TEXT],
    "a farm file for JSON": ["check-config", "--json", b"@new/" + NO_TEXT],
    "a module": ["import-safekit", NO_TEXT, "@new"],
    "a macro": ["import-safekit", "@module", "@new", "--macro", NO_TEXT + b"=1"],
    "a macro's value": ["import-safekit", "@module", "@new", "--macro", b"FARM_IP=" + NO_TEXT],
    "a directory for a module": ["import-safekit", "@module", b"@new/" + NO_TEXT, "--macro", "FARM_IP=192.0.2.50"],
    "a limit": ["rolling", "restart", "--limit", NO_TEXT, "@config"],
    "a program": ["rolling", "run", "@config", "--", NO_TEXT],
    "a unit": ["install", "--unit", NO_TEXT],
    "a unit that is there": ["uninstall", "--unit", NO_TEXT],
    "a node to run": ["run", "--node", NO_TEXT, "@config"],
    "a command": [NO_TEXT],
    "an option": ["status", b"--" + NO_TEXT],
}
"By what the argument is that is no text."
LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
}


@pytest.fixture(scope="module", params=LOCALES)
def foreign_shell(request):
    with command_line(COLUMNS="80", TERM="xterm", **LOCALES[request.param]) as shell:
        yield shell


@pytest.mark.parametrize("command", TALKING)
def test_a_command_says_what_it_has_to(foreign_shell, words, command):
    ended = foreign_shell.give(*words(command))
    assert ended.status == 0, ended
    assert ended.stdout


@pytest.mark.parametrize("case", NOT_TEXT)
def test_an_argument_that_is_no_text_is_taken_or_refused_in_words(foreign_shell, farm, tmp_path, case):
    (tmp_path / "new").mkdir()
    places = {"@config": ["--config", farm.config], "@new": [tmp_path / "new"], "@module": [MODULE]}
    arguments = [
        os.fsencode(word).replace(b"@new/", bytes(tmp_path / "new") + b"/")
        for argument in NOT_TEXT[case]
        for word in places.get(argument, [argument])
    ]
    ended = foreign_shell.give(*arguments)
    assert ended.status in (0, 1, 2, 3), ended
    assert b"Traceback" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("locale", LOCALES)
def test_a_remark_is_stored_as_text_whatever_the_locale(farm, locale):
    with command_line(**LOCALES[locale]) as shell:
        assert shell.give("log", "info", "für ".encode() + NO_TEXT, "--config", farm.config).status == 0
        shown = shell.give("logs", "-n", "1", "--config", farm.config)
    assert shown.status == 0
    assert r"operator: für x\xff\xe9".encode() in shown.stdout


def keys_in(document):
    """Give the keys of a document, but for those that are names of nodes and shares."""
    match document:
        case list():
            return {key for each in document for key in keys_in(each)}
        case dict():
            return {key for key in document if not re.match("web|WEB|apache", key)} | keys_in(list(document.values()))
    return set()


@pytest.mark.parametrize("command", ["status", "targets"])
def test_the_help_has_a_line_for_each_key_of_the_document(shell, farm, words, command):
    farm.controls[0].row("web1", **UNUSUAL)
    more = ["--packets"] if command == "status" else []
    document = json.loads(shell.give(*words(command), *more, "--json").stdout)
    table = shell.give(command, "--help").stdout.decode().partition("With --json")[2].partition("Exit status")[0]
    listed = {key for line in table.splitlines() for key in re.split(" {2,}", line.strip())[0].split(", ")}
    nested = set(re.findall('"([a-z_]+)"', table))
    of_calls = {"observe", "register", "deregister", "retire", "retry", "throttle", "auth", "config"}
    assert keys_in(document) - of_calls <= listed | nested


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("command", ["status", "logs", "targets", "--help", "status --help"])
def test_a_terminal_that_wants_no_escapes_gets_none(shell, words, command, environment):
    given = words(command) if command in COMMANDS else command.split()
    assert b"\x1b" not in shell.give(*given, columns=80, **environment).stdout


@pytest.mark.parametrize("command", ["status", "logs", "targets"])
def test_other_terminals_get_colours(shell, words, command):
    assert b"\x1b[3" in shell.give(*words(command), columns=80).stdout


def test_a_terminal_that_cannot_be_drawn_on_is_not_watched(shell, words):
    ended = shell.give(*words("status"), "--watch", columns=80, TERM="dumb")
    assert ended.status == 2
    assert b"--watch needs a terminal to draw on" in ended.stderr


@pytest.mark.parametrize("command", ["status", "status --packets", "targets"])
@pytest.mark.parametrize("columns", [20, 30, 40, 60])
def test_on_a_narrow_terminal_no_word_is_broken(farm, words, command, columns):
    farm.controls[0].row(
        "web2", status="NotReady", role="WAIT", reason="the check DATABASE has not passed", waits_for=[]
    )
    with command_line(TERM="xterm", NO_COLOR="1") as shell:
        wide = shell.give(*command.split(), "--config", farm.config)
        narrow = shell.give(*command.split(), "--config", farm.config, columns=columns)
    lines = narrow.stdout.decode().splitlines()
    assert max(map(len, lines)) <= columns
    # What is in capitals is a heading, perhaps of nothing.
    told = {word for word in wide.stdout.decode().split() if len(word) <= columns - 2 and not word.isupper()}
    assert told
    assert told <= {word for line in lines for word in line.split()}


COMPLETIONS = {
    "sta": ["status", "start"],
    "rolling re": ["restart"],
    "status --config @ --node ": ["web1", "web2"],
    "status --node web2 --config @ --node web": ["web1", "web2"],
    "run --config @ --node ": ["web1", "web2"],
    "power 1 --config @ --share ": ["WEB"],
    "explain 203.0.113.7 --config @ --vip ": ["192.0.2.50"],
    "report --config @ ": ["QUEUE"],
    "report QUEUE ": ["up", "down"],
    "status --config /nowhere --node ": [],
    "power 1 --config @broken --share ": [],
    "key use --config @broken ": [],
}


@pytest.mark.parametrize("line", COMPLETIONS)
def test_the_tab_key_offers_what_may_follow(shell, farm, tmp_path, line):
    broken = tmp_path / "farm.toml"
    broken.write_text('farm = 3\nnode = [1, { name = 2 }]\nl2 = { share = "x" }\n')
    typed = "hcsidecar " + line.replace("@broken", str(broken)).replace("@", str(farm.config))
    words = len(typed.split()) - (not typed.endswith(" "))
    environment = {"COMP_WORDS": typed, "COMP_CWORD": str(words), "_HCSIDECAR_COMPLETE": "complete_bash"}
    ended = shell.give(**environment)
    assert (ended.status, ended.stderr) == (0, b"")
    assert ended.stdout.decode().split() == COMPLETIONS[line]


def test_the_tab_key_offers_keys_by_their_ids(shell, farm):
    typed = f"hcsidecar key drop --config {farm.config} "
    ended = shell.give(COMP_WORDS=typed, COMP_CWORD="5", _HCSIDECAR_COMPLETE="complete_bash")
    assert re.fullmatch(r"([0-9a-f]{8}\n)+", ended.stdout.decode())


@pytest.mark.parametrize(
    ("file", "environment"),
    [
        ("hcsidecar.bash", {"COMP_WORDS": "hcsidecar sta", "COMP_CWORD": "1"}),
        ("_hcsidecar", {"_TYPER_COMPLETE_ARGS": "hcsidecar sta"}),
        ("hcsidecar.fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "hcsidecar sta"}),
    ],
)
def test_the_packages_files_for_shells_ask_in_a_way_that_is_answered(shell, file, environment):
    script = (COMPLETION / file).read_text()
    (kind,) = set(re.findall("_HCSIDECAR_COMPLETE=([a-z_]+)", script))
    assert all(f"{name}=" in script for name in environment)
    assert b"status" in shell.give(**environment, _HCSIDECAR_COMPLETE=kind).stdout


def test_bash_completes_by_the_file_of_the_packages():
    script = f"""
        source {COMPLETION / "hcsidecar.bash"}
        COMP_WORDS=(hcsidecar rolling re) COMP_CWORD=2
        _hcsidecar_completion {Path(sys.executable).parent / "hcsidecar"}
        echo "${{COMPREPLY[@]}}"
    """
    answer = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "restart\n"
