"""`hcsidecar apply`, `diff`, `history` and `rollback`: the settings of the whole farm, as revisions."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from hcsidecar.api.client import ClientError, NodeClient, Told
from hcsidecar.cli import completion
from hcsidecar.cli.asking import OneNode, choose, complain, farm_to_ask, run
from hcsidecar.cli.farm import REFUSED, AsJson, Config
from hcsidecar.cli.keys import ROTATION_TAKES, rotated
from hcsidecar.cli.rolling import restart_daemons
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.farmfile.farm_file import format_duration, parse_duration
from hcsidecar.core.key_rotation import NO_AUTHORITY
from hcsidecar.core.membership.heartbeat import NodeName
from hcsidecar.core.plain_text import escaped, said_of
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.differences import FileChange
from hcsidecar.core.settings.documents import (
    CandidateBody,
    CandidateReport,
    ProposalBody,
    ProposalReport,
    SettingsReport,
)
from hcsidecar.core.settings.messages import LONGEST_CONFIRM, SHORTEST_CONFIRM
from hcsidecar.core.settings.revision import LONGEST_MESSAGE, MAX_NUMBER
from hcsidecar.events.journal import one_line

INTERVAL = 0.1
"Seconds between two requests for how a proposal goes on."
TIMEOUT = 60.0
"Seconds for a candidate, which every node fetches and checks."
FOLLOW = 30.0
"Seconds for which the command waits beyond the confirm time."

RESTART_LIMIT = 300.0
"Seconds in which a node must be Ready again after a restart of its daemon."

T = TypeVar("T")

MessageOption = Annotated[
    str, typer.Option("--message", "-m", metavar="TEXT", help="Why; `hcsidecar history` shows it to everybody.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and plan only; change nothing.")]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--without",
        metavar="NODE",
        autocompletion=completion.nodes,
        help="Do not wait for this node, which is dead. It takes the settings when it returns. May be repeated.",
    ),
]
Confirm = Annotated[
    str,
    typer.Option(
        "--confirm",
        metavar="DURATION",
        help="The time within which all nodes must hear each other with the new settings; otherwise all go back.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(apply)
    app.command()(diff)
    app.command()(history)
    app.command()(rollback)
    app.command()(remove)


def apply(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A farm file with new settings; by default that of this node, as edited."),
    ] = None,
    *,
    config: Config = None,
    node: OneNode = None,
    message: MessageOption = "",
    dry_run: DryRun = False,
    without: WithoutOption = None,
    take: Annotated[
        str | None,
        typer.Option(
            "--take",
            metavar="NODE",
            autocompletion=completion.nodes,
            help="End a conflict: the settings of this node become those of all.",
        ),
    ] = None,
    confirm: Confirm = "30s",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Apply changed settings to every node of the farm, or to none.

    The farm file and the scripts that it names below its directory are checked here and by every node, each on its
    machine. The command prints what the change does to whom, and asks. Then all nodes use the settings on trial. If
    each of them hears that all others use them too, they are in force; if one refuses, cannot take them or is not heard
    within the confirm time, every node returns to the former settings by itself. On each node the files of the operator
    are updated; an edited file that was not applied is kept as NAME.unapplied.

    Exit status: 0 in force on every node, or nothing to apply, 1 refused or undone, 2 wrong command or farm file.

    Example: hcsidecar apply -m "second power supply: web2 takes more"
    """
    if file is not None and take is not None:
        raise typer.BadParameter("FILE and --take exclude each other", param_hint="FILE")
    seconds = _seconds(confirm)
    taken = None if take is None else _node_name(take, "--take")
    why = _message(message) or ("" if taken is None else f"the settings of {taken} for all")
    body = CandidateBody(file=_file(file), take=taken, message=why, without=_names(without))
    client = _here(config, node)
    _apply(config, client, body, confirm=seconds, dry_run=dry_run, yes=yes, as_json=as_json)


def rollback(
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="REVISION", min=1, max=MAX_NUMBER, help="The revision to go back to; by default the one before."
        ),
    ] = None,
    *,
    config: Config = None,
    node: OneNode = None,
    message: MessageOption = "",
    dry_run: DryRun = False,
    without: WithoutOption = None,
    confirm: Confirm = "30s",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Apply the content of a former revision again, as a new revision. The last five are kept on every node.

    Exit status: 0 in force on every node, 1 refused or undone, 2 wrong command or farm file.

    Example: hcsidecar rollback 7
    """
    seconds, why, names = _seconds(confirm), _message(message), _names(without)
    client = _here(config, node)
    if number is None:
        former = run(_settings(client)).history[1:2]
        if not former:
            _refuse("there is no revision before the present one")
        number = former[0].number
    body = CandidateBody(number=number, message=why or f"back to revision {number}", without=names)
    _apply(config, client, body, confirm=seconds, dry_run=dry_run, yes=yes, as_json=as_json)


def remove(
    name: Annotated[
        str, typer.Argument(metavar="NODE", autocompletion=completion.nodes, help="The node to take out of the farm.")
    ],
    *,
    config: Config = None,
    node: OneNode = None,
    message: MessageOption = "",
    dry_run: DryRun = False,
    without: WithoutOption = None,
    confirm: Confirm = "30s",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a node out of the farm for good, dead or alive.

    Its [[node]] table is removed from the farm file in force; all else in the file stays. The settings are applied on
    all other nodes, as by `hcsidecar apply`. A node that is alive drains first, its application stops, and its daemon
    ends; a dead one is told when it is started again. Give the command on a node that stays. Then the keys of the farm
    are changed on all other nodes, as by `hcsidecar key rotate`, since the removed server still has them.

    Exit status: 0 removed, 1 refused or undone, or the keys could not be changed, 2 wrong command or farm file.

    Example: hcsidecar remove web3
    """
    body = CandidateBody(remove=name, message=message or f"remove {name}", without=tuple(without or ()))
    client = _here(config, node)

    def change_keys() -> CommandResult:
        farm = farm_to_ask(config, client.node).farm.name
        return rotated(NodeClient(client.node, client.via, timeout=ROTATION_TAKES), farm)

    seconds = _seconds(confirm)
    then = None if dry_run else change_keys
    _apply(config, client, body, confirm=seconds, dry_run=dry_run, yes=yes, as_json=as_json, then=then)


def diff(
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="REVISION",
            min=1,
            max=MAX_NUMBER,
            help="Show what this revision has changed, not what is unapplied.",
        ),
    ] = None,
    *,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Show how the files of this node differ from the settings in force: what `hcsidecar apply` would apply.

    Exit status: 0 nothing differs, 1 something differs, 2 wrong command, wrong farm file, or no daemon to ask.

    Example: hcsidecar diff
    """
    client = _here(config, node, failed=2)
    try:
        told = run(client.differences(number))
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    found = told.document
    if as_json:
        typer.echo(told.raw)
    else:
        for problem in found.problems:
            complain(problem)
        for change in found.changes:
            typer.echo(one_line(change))
        _print_files(found.files)
    if found.problems:
        raise typer.Exit(2)
    if found.files:
        raise typer.Exit(1)


def history(*, config: Config = None, node: OneNode = None, as_json: AsJson = False) -> None:
    """List the revisions of the settings, the newest first: who made it, when and why, and which files it changed.

    Exit status: 0 listed, 1 no daemon to ask, 2 wrong command or farm file.

    Example: hcsidecar history
    """
    report = run(_settings(_here(config, node)))
    if as_json:
        typer.echo(json.dumps([_plain(entry) for entry in report.history]))
        return
    if not report.history:
        typer.echo("no revision yet: hcsidecar apply makes the first one")
    for entry in report.history:
        current = report.settled is not None and entry.digest == report.settled.digest
        typer.echo(f"{'*' if current else ' '} {entry.line()}")
    if report.unapplied:
        typer.echo(f"  {one_line(report.unapplied)}: hcsidecar diff shows how, hcsidecar apply takes it")


def _apply(
    config: Path | None,
    client: NodeClient,
    body: CandidateBody,
    *,
    confirm: float,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    then: Callable[[], CommandResult] | None = None,
) -> None:
    """Apply a candidate, and do `then` when it is in force; its result is the `keys` of the JSON object."""
    report = run(_candidate(client, body))
    if not as_json:
        _print_candidate(report)
    if report.revision is None and not report.problems:
        _end(report, None, as_json=as_json)
        return
    if not report.is_right:
        _end(report, None, as_json=as_json)
        _refuse("not applied: nothing has changed")
    if dry_run:
        _end(report, None, as_json=as_json)
        return
    if not yes:
        _ask(as_json=as_json)
    outcome = run(_propose(client, report, confirm, without=body.without, shown=not as_json))
    settled = outcome is not None and outcome.progress is ProposalProgress.SETTLED
    keys = then() if then is not None and settled else None
    _end(report, outcome, as_json=as_json, keys=keys)
    if not settled:
        raise typer.Exit(REFUSED)
    if keys is not None:
        _tell_of_keys(keys, as_json=as_json)
    if report.plan is not None and report.plan.restarts_daemons:
        # With --json, the one object alone is on standard output.
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            restart_daemons(farm_to_ask(config, client.node), RESTART_LIMIT)


def _ask(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        _refuse("not applied: nobody is there to be asked; --yes applies without a question")
    try:
        said_yes = typer.confirm("Apply?")
    except typer.Abort:  # Ctrl-C, or the end of the input
        typer.echo(err=True)
        said_yes = False
    if not said_yes:
        _refuse("not applied: nothing has changed")


async def _propose(
    client: NodeClient, report: CandidateReport, confirm: float, *, without: Sequence[str], shown: bool
) -> ProposalReport | None:
    """Propose the candidate and follow until every node has it, or it is over. Return how it ended."""
    assert report.revision is not None  # noqa: S101 - the caller has looked
    began = time.monotonic()
    try:
        answer = await client.propose(ProposalBody(digest=report.revision.digest, confirm=confirm))
    except ClientError as error:
        complain(str(error))
        complain("it is not known whether all nodes have begun with it; hcsidecar history shows what is in force")
        return None
    if not answer.ok:
        complain(answer.text)
        return None
    said: tuple[object, ...] = ()
    while True:
        status = await _settings(client)
        proposal = status.proposal
        if proposal is None or proposal.revision != report.revision:
            complain("the daemon has been started anew meanwhile; hcsidecar history shows what is in force")
            return None
        if shown and (line := _progress(proposal)) != said:
            said = line
            typer.echo(line[0], err=True)
        if proposal.progress in (ProposalProgress.ABORTED, ProposalProgress.UNDONE):
            if shown:
                complain(f"not in force: {proposal.outcome}")
            return proposal
        if proposal.progress is ProposalProgress.SETTLED and not proposal.waits_for:
            if shown:
                _print_done(status, time.monotonic() - began, without)
            return proposal
        if time.monotonic() > began + confirm + proposal.drain + FOLLOW:
            complain(f"gave up waiting for {', '.join(proposal.waits_for)}; hcsidecar history shows what is in force")
            return proposal
        await asyncio.sleep(INTERVAL)


def _progress(proposal: ProposalReport) -> tuple[str]:
    waits_for = ", ".join(proposal.waits_for)
    match proposal.progress:
        case ProposalProgress.PREPARING:
            return (f"checking; waits for {waits_for}" if waits_for else "checking",)
        case ProposalProgress.TRIAL if proposal.leaving:
            return (f"{', '.join(proposal.leaving)} drains and leaves, for {proposal.drain:.0f} s at most",)
        case ProposalProgress.TRIAL:
            return ("all nodes try it, and must hear each other",)
        case ProposalProgress.SETTLED:
            return (f"in force; waits for {waits_for}" if waits_for else "in force on every node",)
    return ("going back",)


def _print_done(report: SettingsReport, seconds: float, without: Sequence[str]) -> None:
    but = f" but {', '.join(without)}" if without else ""
    typer.echo(f"{report.settled} is in force on every node{but} after {seconds:.1f} s")
    if report.waiting:
        shown = ", ".join(report.waiting)
        typer.echo(f"taken when the daemons are started again: {one_line(shown)}")


def _print_candidate(report: CandidateReport) -> None:
    for problem in report.problems:
        complain(problem)
    if report.revision is None:
        if not report.problems:
            typer.echo("nothing to apply: the files are those in force")
        return
    for change in report.changes:
        typer.echo(one_line(change))
    for file in report.files:
        typer.echo(one_line(str(file)))
    typer.echo()
    for line in report.plan.lines() if report.plan is not None else ():
        typer.echo(line)
    for check in report.checks:
        for problem in check.problems:
            complain(said_of(check.node, problem))


def _print_files(files: Sequence[FileChange]) -> None:
    for file in files:
        typer.echo(one_line(str(file)))
        for line in _diff_lines(file.diff):
            typer.echo(line)


def _diff_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield escaped(line, beside="\t")


def _tell_of_keys(keys: CommandResult, *, as_json: bool) -> None:
    if keys.ok:
        if not as_json:
            typer.echo(keys.text)
        return
    complain(
        f"the node is removed, but the keys are not changed: {keys.text}. Until they are, the removed server has the"
        " farm's key: who controls it can speak in the name of any node"
    )
    if keys.text != NO_AUTHORITY:
        raise typer.Exit(REFUSED)


def _end(
    report: CandidateReport, outcome: ProposalReport | None, *, as_json: bool, keys: CommandResult | None = None
) -> None:
    """Print the one JSON object of the command, if it is wanted."""
    if as_json:
        told = {"candidate": _plain(report), "proposal": None if outcome is None else _plain(outcome)}
        typer.echo(json.dumps(told if keys is None else {**told, "keys": _plain(keys)}))


def _plain(document: object) -> object:
    import msgspec  # noqa: PLC0415 - only for JSON

    return msgspec.to_builtins(document)


def _here(config: Path | None, node: str | None, *, failed: int = REFUSED) -> NodeClient:
    """Return the client of a daemon on this machine, with time for checks."""
    found = choose(config, node, failed=failed, warns=False).clients[0]
    return NodeClient(found.node, found.via, timeout=TIMEOUT)


async def _candidate(client: NodeClient, body: CandidateBody) -> CandidateReport:
    return await _asked(client.make_candidate(body))


async def _settings(client: NodeClient) -> SettingsReport:
    return await _asked(client.settings())


async def _asked(request: Awaitable[Told[T]]) -> T:
    """Return the document that a daemon answers with. Exit with 1 if it does not."""
    try:
        return (await request).document
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--confirm") from None
    if not SHORTEST_CONFIRM <= seconds <= LONGEST_CONFIRM:
        limits = f"{format_duration(SHORTEST_CONFIRM)} to {format_duration(LONGEST_CONFIRM)}"
        raise typer.BadParameter(f'must be from {limits}, and is "{text}"', param_hint="--confirm")
    return seconds


def _file(file: Path | None) -> str | None:
    """Return the absolute path of a farm file that the daemon can read too."""
    if file is None:
        return None
    if file.exists() and not (file.is_file() or file.is_dir()):
        # A daemon has other pipes than this process.
        raise typer.BadParameter("is no plain file: write it to a file first", param_hint="FILE")
    return _as_utf8(str(file.absolute()), "FILE")


def _names(nodes: list[str] | None) -> tuple[str, ...]:
    return tuple(_node_name(name, "--without") for name in nodes or ())


def _node_name(name: str, option: str) -> str:
    import msgspec  # noqa: PLC0415 - not for every command

    try:
        name.encode()
        return msgspec.convert(name, NodeName)
    except (msgspec.ValidationError, UnicodeEncodeError):
        raise typer.BadParameter(f"{name!r} is not the name of a node", param_hint=option) from None


def _as_utf8(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise typer.BadParameter("is not UTF-8", param_hint=place) from None
    return text


def _message(text: str) -> str:
    if len(text) > LONGEST_MESSAGE:
        why = f"has {len(text)} characters, and {LONGEST_MESSAGE} are the most"
        raise typer.BadParameter(why, param_hint="--message")
    return _as_utf8(text, "--message")


def _refuse(why: str) -> NoReturn:
    complain(why)
    raise typer.Exit(REFUSED)
