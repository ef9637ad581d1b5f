"""`hcsidecar status`: shows the farm as a table or as JSON, and judges it with the exit status."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hcsidecar.api.client import ClientError, ClientFailure, NodeClient, Told, local_nodes
from hcsidecar.api.routes import NO_LAYER_TWO
from hcsidecar.cli.asking import Chosen, EveryNode, OneNode, choose, complain, run
from hcsidecar.cli.farm import WRONG_FILE, AsJson, Config
from hcsidecar.cli.packets import ask_for_filters, filter_told, packets_table
from hcsidecar.cli.targets import ask_for_targets, troubles
from hcsidecar.cli.wide import console, fitting, show_table
from hcsidecar.core.application.states import Role, Status
from hcsidecar.core.documents import FarmStatus, NodeStatus
from hcsidecar.core.notify.documents import NotificationsReport
from hcsidecar.core.powers import beside_file
from hcsidecar.events.journal import one_line
from l2mode.core.documents import LayerTwoReport

READY, ON_THE_WAY, NOT_RUNNING, UNKNOWN = 0, 1, 3, 4
"Exit statuses; those of LSB init scripts where they fit."
_EXIT = {ClientFailure.NOT_RUNNING: NOT_RUNNING, ClientFailure.STARTING: ON_THE_WAY}
"The exit status for a node that cannot be asked."
WATCH_INTERVAL = 1.0
"Seconds between two updates of --watch."


def status(
    *,
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Keep updating it, until Ctrl-C.")] = False,
    packets: Annotated[
        bool, typer.Option("--packets", help="With [l2]: also show what the filters did with packets to virtual IPs.")
    ] = False,
) -> None:
    """Show the whole farm, as one node sees it.

    The view lists the nodes that take a share. ALIVE says whether a node's heartbeats are heard, STATE is the role and
    status of its application, REASON is why the node is not Ready or not in the view, WAITS FOR is who still uses a
    node that drains, and RESTARTS is how many failures count and how many are allowed. Only the node itself knows the
    last two. With --node the farm is shown as that node sees it or, if it does not answer, as another node of this
    machine does.

    With --json it prints an object with these keys; future versions only add keys:

    \b
    farm           name of the farm
    node           the node that was asked
    view           names of the nodes that take a share
    nodes          a list with an object for each node:
      name, address
      alive        true if its heartbeats are heard
      role         STOP, WAIT, UP, or null if not known
      status       NotReady, Transient, Ready, or null
      draining     true if it asks for no new traffic
      parting      true if it leaves when balancers drained it
      power        its weight, the first of `powers`
      powers       weight by share
      file_powers  the same, as in the farm file
      share        fraction of the clients, by share
      reason       why it is not Ready, or not in the view
      waits_for    list: who still uses it while it drains
      restarts     {"used", "most"}: failures that count
    filters        with [l2], by node, an object:
      name, why    the packet filter, and why this one
      warnings     list of what may disturb it
      degraded     true if a better one does not work here
      fall_back    which one it replaces, and the cost
      remedy       what would help
    packets        with --packets, by node, a list:
      name, action, text, odd, persists, count

    `packets` is that of the chosen node, with --all of each node that answers. In the table, POWER is followed by the
    power of the farm file if that differs.

    Exit status, for the chosen node (with --all, the worst of the farm): 0 UP(Ready), 1 WAIT, Transient, or a daemon
    whose start waits, 3 STOP or not running, 4 unknown, 2 wrong command or farm file.

    Example: hcsidecar status --node web2 --json
    """
    if watch and (as_json or everyone or packets):
        raise typer.BadParameter("--watch goes with none of --json, --all and --packets")
    if watch and (not sys.stdout.isatty() or console().is_dumb_terminal):
        raise typer.BadParameter("--watch needs a terminal to draw on; a program asks again, or follows the logs")
    # The document of one node has all nodes, so --all asks one that runs here and judges all of them.
    chosen = choose(config, node, everyone=everyone, failed=NOT_RUNNING)
    if packets and chosen.farm.l2 is None:
        complain(NO_LAYER_TWO)
        raise typer.Exit(WRONG_FILE)
    if watch:
        run(_watch(chosen))
        return
    try:
        told = run(_look(chosen))
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(_EXIT.get(error.failure, UNKNOWN)) from None
    filters = _filters(chosen, complaining=packets) if chosen.farm.l2 else {}
    counts = {name: each.packets for name, each in filters.items()} if packets else {}
    if as_json:
        used = {name: filter_told(each.filter) for name, each in filters.items()}
        more: dict[str, object] = {"filters": used} if used else {}
        more |= {"packets": counts} if packets else {}
        whole = msgspec.json.encode(msgspec.json.decode(told.raw) | more)
        typer.echo(msgspec.json.format(whole, indent=2))
    else:
        show_table(table(told.document))
        if counts:
            # Not the title of the table, because a narrow table would wrap it.
            console().print("packets to the virtual IPs since each node's filter was attached")
            show_table(packets_table(counts))
        for name, each in filters.items():
            if each.filter.degraded:
                complain(f"{name}: {each.filter.fall_back} (hcsidecar l2-check says more)")
            for conflict in each.conflicts:
                complain(f"{name}: {conflict.text} (hcsidecar l2-check says more)")
        if chosen.farm.target:
            _print_target_troubles(chosen)
        if chosen.farm.notify:
            _print_receiver_troubles(chosen)
    raise typer.Exit(max(exit_status(told.document.of(client.node)) for client in chosen.clients))


def exit_status(row: NodeStatus) -> int:
    """Return the exit status for a node."""
    if not row.alive or row.role in (None, Role.STOP):
        return NOT_RUNNING
    return READY if (row.role, row.status) == (Role.UP, Status.READY) else ON_THE_WAY


def table(farm: FarmStatus) -> Table:
    """Return the document as a table, without control characters, because it comes from other machines."""
    view = f"view: {', '.join(farm.view)}" if farm.view else f"{farm.node} is not in the view"
    shown = Table(title=Text(one_line(f"farm {farm.farm} as {farm.node} sees it; {view}")), box=None)
    shown.title_justify = "left"
    groups = sorted({group for row in farm.nodes for group in row.share})
    headings = ["NODE", "ADDRESS", "ALIVE", "STATE", "DRAINING", "POWER", *groups, "REASON", "WAITS FOR"]
    # Without scripts there is no restart budget.
    counts_restarts = any(row.restarts for row in farm.nodes)
    headings += ["RESTARTS"] if counts_restarts else []
    for heading in headings:
        shown.add_column(one_line(heading), overflow="fold")
    for row in farm.nodes:
        cells = [row.name, row.address, _yes(row.alive), _state(row), _yes(row.draining)]
        cells += [_power(row), *(f"{row.share.get(group, 0):.1%}" for group in groups)]
        cells += [row.reason, ", ".join(row.waits_for)]
        cells += [f"{row.restarts.used} of {row.restarts.most}" if row.restarts else ""] if counts_restarts else []
        shown.add_row(*(Text(one_line(cell)) for cell in cells), style=_STYLES[exit_status(row)])
    return shown


_STYLES = {READY: "green", ON_THE_WAY: "yellow", NOT_RUNNING: "red"}


def _state(row: NodeStatus) -> str:
    return f"{row.role}({row.status})" if row.alive and row.role else "-"


def _power(row: NodeStatus) -> str:
    """Return the powers, each changed one with that of the farm file; a single one if all are the same."""
    told = {name: beside_file(power, row.file_powers.get(name, power)) for name, power in row.powers.items()}
    match sorted(set(told.values())):
        case []:
            return str(row.power)
        case [same]:
            return same
    return ", ".join(f"{name} {text}" for name, text in told.items())


def _yes(statement: bool) -> str:
    return "yes" if statement else "no"


def _filters(chosen: Chosen, *, complaining: bool) -> dict[str, LayerTwoReport]:
    """Return the filters of the nodes that answer; if `complaining`, print why the others do not."""
    filters: dict[str, LayerTwoReport] = {}
    for node, answer in run(ask_for_filters(chosen.clients)).items():
        if not isinstance(answer, ClientError):
            filters[node] = answer
        elif complaining:
            complain(f"packets of {node}: {answer}")
    return filters


def _print_target_troubles(chosen: Chosen) -> None:
    """Print to standard error what goes wrong at load balancers. The table shows which nodes cannot be asked."""
    for node, answer in run(ask_for_targets(chosen.clients)).items():
        for trouble in [] if isinstance(answer, ClientError) else troubles(answer.document):
            complain(f"{node}: {trouble} (hcsidecar targets says more)")


def _print_receiver_troubles(chosen: Chosen) -> None:
    """Print to standard error which receivers of notifications fail."""
    for client, answer in zip(chosen.clients, run(_ask_for_receivers(chosen.clients)), strict=True):
        for each in [] if answer is None else answer.receivers:
            if each.error is not None:
                text = f"{client.node}: cannot notify {each.name}: {each.error.text}; {each.held} notifications wait"
                complain(f"{text} (hcsidecar notify-test tries it)")


async def _ask_for_receivers(clients: Sequence[NodeClient]) -> list[NotificationsReport | None]:
    """Return the receivers of each node; None of one that cannot be asked."""

    async def ask(client: NodeClient) -> NotificationsReport | None:
        try:
            return (await client.notifications()).document
        except ClientError:
            return None

    return await asyncio.gather(*map(ask, clients))


async def _look(chosen: Chosen) -> Told[FarmStatus]:
    """Return the document of the chosen node or, if it does not answer, that of another node of this machine."""
    client = min(chosen.clients, key=lambda client: client.via.name != client.node)
    try:
        return await client.status()
    except ClientError as error:
        if error.failure not in {ClientFailure.UNREACHABLE, ClientFailure.NOT_RUNNING}:
            raise
        for other in local_nodes(chosen.farm):
            if other.name != client.node and other.why_not_running() is None:
                complain(f"{error}\nas {other.name} sees it:")
                return await NodeClient(other.name, other).status()
        raise


async def _watch(chosen: Chosen) -> None:
    terminal = console()
    with Live(console=terminal, auto_refresh=False, transient=False) as live:
        while True:
            try:
                shown = fitting(table((await chosen.clients[0].status()).document), terminal)
            except ClientError as error:
                shown = Text(str(error))
            live.update(shown, refresh=True)
            await asyncio.sleep(WATCH_INTERVAL)
