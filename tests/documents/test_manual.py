"""Holds README and manual to what there is: commands, options, links, examples, make targets, messages, documents."""

import ast
import json
import re
import shlex
import subprocess
import textwrap
import tomllib
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

from hcsidecar.cli import app
from hcsidecar.core.farmfile.farm_file import FarmFile, read
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.timing import Timing
from hcsidecar.core.status import ModuleState, status_document
from l2mode.core.reasons import REASONS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MANUAL = ROOT / "docs" / "manual"

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4,}.*\n)+", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:^|[$;&]\s|bin/)hcsidecar\s+([^&|;#\n]+)", re.MULTILINE)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

MINIMAL_FARM = {"farm": {"name": "apache"}, "node": [{"name": "web1", "address": "192.0.2.11"}]}
HAPROXY_DEFAULTS = """\
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend clients
    bind 127.0.0.1:1
"""
HAPROXY_BEFORE = {"whole": "", "section": HAPROXY_DEFAULTS, "lines": f"{HAPROXY_DEFAULTS}backend farm\n"}
"What makes a whole configuration of an example."


def fences(language):
    """Give the rest of the info string and the body of every fenced example in a language, named by page and line."""
    return [
        pytest.param(words[1:], textwrap.dedent(fence["body"]), id=f"{page.name}:{line_of(fence)}")
        for page in PAGES
        for fence in FENCE.finditer(page.read_text())
        if (words := fence["info"].split())[:1] == [language]
    ]


def line_of(match):
    return match.string.count("\n", 0, match.start()) + 1


def code_in(text):
    """Give all that is written as code: fenced, indented, or between backticks."""
    for fence in FENCE.finditer(text):
        yield textwrap.dedent(fence["body"]).replace("\\\n", " ")
    prose = FENCE.sub("", text)
    for block in INDENTED.finditer(prose):
        yield textwrap.dedent(block.group()).replace("\\\n", " ")
    for span in SPAN.finditer(prose):
        yield " ".join(span[1].split())


def commands_in(text):
    """Give the words after `hcsidecar` of every command; a word in capitals stands for something else."""
    for code in code_in(text):
        for command in COMMAND.finditer(code):
            words = shlex.split(command[1])
            if words and words[0][0].islower():
                yield words


def why_not_a_command(words):
    """Say what of a command the command line does not know, or None."""
    command = get_command(app)
    for word in words:
        if word == "--":
            return None
        if word.startswith("-"):
            known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            if word.partition("=")[0] not in known:
                return f"{command.name} has no option {word}"
        elif commands := getattr(command, "commands", None):
            if word not in commands:
                return f"{command.name} has no command {word}"
            command = commands[word]
    return None


def anchors(page):
    """Give the anchors of a page's headings, as they are made on the web."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(page.read_text())}


def literal(node):
    """Give a string of the source with … for each value in it; None if it is none."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in values)
    return None


def syntax_trees(package="hcsidecar"):
    return [ast.parse(path.read_text()) for path in sorted((ROOT / package).rglob("*.py"))]


def alarming_messages():
    """Give every message that the code writes down at WARNING or ERROR, as far as it stands there as one string."""
    for tree in syntax_trees():
        assigned = {
            target.id: literal(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            name = ast.unparse(call.func).rpartition(".")[2]
            keywords = {keyword.arg: keyword.value for keyword in call.keywords}
            said = call.args[0] if call.args else None
            if (
                name == "Event"
                and "level" in keywords
                and ast.unparse(keywords["level"]) in ("Level.WARNING", "Level.ERROR")
            ):
                said = keywords["message"]
            elif name not in ("warn", "alarm", "CannotRunError", "SocketInUseError", "_complain"):
                continue
            text = assigned.get(said.id) if isinstance(said, ast.Name) else literal(said)
            if text is not None and text.strip("… "):
                yield text


def alarming_messages_of_layer_two():
    """Give what layer-2 mode tells at WARNING and ERROR, as far as it stands there as one string."""
    for tree in syntax_trees("l2mode"):
        for call in ast.walk(tree):
            match call:
                case ast.Call(func=ast.Attribute(attr="_tell"), args=[ast.Constant(value="warning" | "error"), said]):
                    text = literal(said)
                    if text is not None:
                        yield text


def documented_messages():
    """Give the first column of the tables of messages."""
    page = (MANUAL / "troubleshooting.md").read_text()
    return [row for row in re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) if not row.startswith("UP(")]


def pieces(message):
    """Give what a message says in any case, between the values."""
    return [piece for part in message.split("…") if (piece := part.strip(" :;,"))]


def has_in_order(text, parts):
    at = 0
    for part in parts:
        at = text.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_shown_exists_with_its_options(page):
    wrong = [
        f"{shlex.join(words)}: {why}" for words in commands_in(page.read_text()) if (why := why_not_a_command(words))
    ]

    assert wrong == []


def test_every_command_is_in_the_manual():
    page = (MANUAL / "running.md").read_text()
    shown = {words[0] for words in commands_in(page)}

    assert set(get_command(app).commands) - shown == set()


def test_the_table_of_commands_names_options_that_they_have():
    rows = [line for line in (MANUAL / "running.md").read_text().splitlines() if line.startswith("| `hcsidecar ")]
    wrong = []
    for row in rows:
        words = next(commands_in(row))
        options = [span.split()[0] for span in SPAN.findall(row) if span.startswith("-")]
        wrong += [why for option in options if (why := why_not_a_command([*words[:2], option]))]

    assert len(rows) > 10
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    wrong = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            wrong.append(target)

    assert wrong == []


@pytest.mark.parametrize(("kind", "example"), fences("toml"))
def test_every_toml_example_is_a_farm_file_or_part_of_one(kind, example):
    assert kind in (["whole"], ["fragment"])
    document = tomllib.loads(example)

    found = read(document if kind == ["whole"] else MINIMAL_FARM | document)

    assert isinstance(found, FarmFile), "\n".join(map(str, found))


@pytest.mark.parametrize(("kind", "example"), fences("haproxy"))
def test_haproxy_accepts_every_example_for_it(kind, example, tmp_path):
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY_BEFORE[kind[0]] + example)

    checked = subprocess.run(["haproxy", "-c", "-f", config], capture_output=True, text=True, timeout=30, check=False)

    assert checked.returncode == 0, checked.stderr


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for code in code_in(page.read_text())
        for target in re.findall(r"^make ([a-z0-9-]+)", code, re.MULTILINE)
    }

    assert {"demo", "test"} <= named <= targets


def test_every_message_at_warning_or_error_is_in_the_manual():
    lines = (MANUAL / "troubleshooting.md").read_text().splitlines()
    missing = [
        message for message in alarming_messages() if not any(has_in_order(line, pieces(message)) for line in lines)
    ]

    assert missing == []


def test_every_message_of_layer_two_at_warning_or_error_is_in_the_manual():
    lines = (MANUAL / "layer2.md").read_text().splitlines()
    messages = list(alarming_messages_of_layer_two())
    missing = [message for message in messages if not any(has_in_order(line, pieces(message)) for line in lines)]

    assert len(messages) > 5
    assert missing == []


def test_the_manual_says_what_each_reason_of_the_filter_means():
    lines = (MANUAL / "layer2.md").read_text().splitlines()
    shown = [
        line.split(" | ")[0].strip("| `")
        for line in lines
        if re.match(r"\| `[a-z_]+` \| (passed|taken|sent|dropped)", line)
    ]
    counted = [reason for reason in REASONS if reason.counted]

    assert shown == [reason.name.lower() for reason in counted]
    for reason in counted:
        assert any(has_in_order(line, [f"`{reason.name.lower()}`", reason.text]) for line in lines), reason


def test_every_message_in_the_manual_is_one_that_the_code_can_say():
    said = [text for tree in syntax_trees() for node in ast.walk(tree) if (text := literal(node)) is not None]
    unsaid = [
        message for message in documented_messages() if not any(has_in_order(text, pieces(message)) for text in said)
    ]

    assert unsaid == []


def test_the_status_document_in_the_manual_has_the_keys_of_the_real_one():
    [example] = re.findall(r"```json\n(.*?)```", (MANUAL / "api.md").read_text(), re.DOTALL)
    shown = json.loads(example)
    timing = Timing(pulse=0.05, lost_after=0.5)
    membership = Membership(
        name="web1",
        boot=1,
        farm="apache",
        nodes=("web1", "web2"),
        timing=timing,
        settings_digest=b"",
        powers=(1,),
        now=0.0,
    )

    real = msgspec.to_builtins(
        status_document(
            membership=membership,
            module=ModuleState(role="UP", status="Ready", draining=False, reason="", waits_for=()),
            addresses={"web1": "192.0.2.11", "web2": "192.0.2.12"},
            file_powers={"web1": (1,), "web2": (1,)},
            shares=("apache",),
            groups=(),
            fractions=lambda _view, _name: (),
            now=0.0,
        )
    )

    assert shown.keys() == real.keys()
    for node in shown["nodes"]:
        assert node.keys() == real["nodes"][0].keys() == real["nodes"][1].keys()
