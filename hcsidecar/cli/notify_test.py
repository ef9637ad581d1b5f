"""`hcsidecar notify-test`: sends a test message to the receivers of notifications, and says what happened."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from hcsidecar.cli import completion
from hcsidecar.cli.asking import complain, run
from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, Config, NodeToBe, give_up, load_or_exit
from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.farm_file import Receiver
from hcsidecar.core.notify.documents import Notification
from hcsidecar.core.notify.outbox import NotificationMessage
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.loading import FarmFileError, find_node
from hcsidecar.notify.delivery import Deliveries
from hcsidecar.notify.order import SendOutcome

NO_RECEIVERS = "this farm file has no [[notify]]: no receiver that could be told anything"


def notify_test(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", autocompletion=completion.receivers, help="One receiver; by default every [[notify]]."
        ),
    ] = None,
    *,
    config: Config = None,
    node: NodeToBe = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message to each receiver of notifications, from this machine, and say what happened.

    The messages are sent with the farm file as it is on this machine, by the command itself: no daemon need run, and a
    change can be tested before it is applied. All receivers are tried at the same time, each for at most its `timeout`.
    Run it on each node, as the user of the daemon, because each may have to send one day.

    With --json it prints an object for each receiver, on a line of its own; future versions only add keys:

    \b
    receiver       its name
    type           webhook or mail
    ok             true if the message was taken
    text           what happened
    seconds        how long it took

    Exit status: 0 every message was taken, 1 one was not, 2 wrong command or farm file, or no such [[notify]].

    Example: hcsidecar notify-test operators
    """
    loaded = load_or_exit(config)
    farm = loaded.farm
    try:
        me = find_node(farm, node).name
    except FarmFileError as error:
        give_up(str(loaded.path), error.problems)
    if not farm.notify:
        complain(NO_RECEIVERS)
        raise typer.Exit(WRONG_FILE)
    chosen = [each for each in farm.notify if name in (None, each.label)]
    if not chosen:
        known = ", ".join(each.label for each in farm.notify)
        raise typer.BadParameter(f"no receiver {name!a}; there are {known}", param_hint="NAME")
    deliveries = Deliveries(farm=farm.farm.name, node=me, directory=loaded.path.parent, at_once=len(chosen))
    message = NotificationMessage(
        told=(
            Notification(
                origin=me,
                life=0,
                number=1,
                time=time.time(),
                level=Level.INFO,
                node=me,
                text="sends a test message: hcsidecar notify-test",
            ),
        )
    )
    outcomes = run(_send_all(deliveries, chosen, message))
    for receiver, (outcome, seconds) in zip(chosen, outcomes, strict=True):
        text = outcome.text or "the message was taken"
        if as_json:
            line = {"receiver": receiver.label, "type": receiver.type, "ok": outcome.taken, "text": text}
            typer.echo(json.dumps(line | {"seconds": round(seconds, 3)}))
        elif outcome.taken:
            typer.echo(one_line(f"{receiver.label} ({receiver.type}): {text} after {seconds:.1f} s"))
        else:
            complain(f"{receiver.label} ({receiver.type}): not sent: {text}")
    if not all(outcome.taken for outcome, _ in outcomes):
        raise typer.Exit(REFUSED)


async def _send_all(
    deliveries: Deliveries, receivers: Sequence[Receiver], message: NotificationMessage
) -> list[tuple[SendOutcome, float]]:
    return list(await asyncio.gather(*(_send(deliveries, receiver, message) for receiver in receivers)))


async def _send(deliveries: Deliveries, receiver: Receiver, message: NotificationMessage) -> tuple[SendOutcome, float]:
    begun = time.monotonic()
    return await deliveries.send(receiver, message), time.monotonic() - begun
