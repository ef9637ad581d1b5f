"""Opens the socket for the console: to the console's user, where this machine has one, and else to no other user."""

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hcsidecar.api.console import MAX_BODY, AdmitConsole
from hcsidecar.api.local import local_app
from hcsidecar.api.relay import Relay
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import ControlSocket, serve_unix
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.events import Event, Level
from hcsidecar.core.service_unit import CONSOLE_USER
from hcsidecar.web.accepting import Admission

_ENTER: Final = 0o050
"The group may list a directory and enter it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user of this machine, by its numbers."""

    user: int
    group: int


def find_account(name: str = CONSOLE_USER) -> Account | None:
    """Return the account of this name; None if there is none."""
    import pwd  # noqa: PLC0415 - only here, and not on every system

    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(user=found.pw_uid, group=found.pw_gid)


def let_enter(directories: tuple[Path, ...], group: int) -> None:
    """Let a group enter directories of this user. Raise OSError if the system refuses."""
    for directory in directories:
        os.chown(directory, -1, group)
        directory.chmod(directory.stat().st_mode & 0o777 | _ENTER)


@asynccontextmanager
async def serve_console(
    api: Api,
    relay: Relay,
    path: Path,
    *,
    starting: Callable[[], str | None],
    record: Callable[[], AccessRecord],
    logger: logging.Logger,
    admission: Admission,
    tell: Callable[[Event], None],
) -> AsyncIterator[ControlSocket]:
    """Serve the console on a unix socket in FARM/NODE; errors as for `serve_unix`."""
    account = find_account()
    if account is not None:
        try:
            let_enter((path.parent, path.parent.parent), account.group)
        except OSError as error:
            message = (
                f"the console's user {CONSOLE_USER} cannot enter {path.parent}: {error.strerror}; hcsidecar install"
                " sets up a unit that may let it in"
            )
            tell(Event(level=Level.WARNING, origin="api", message=message))
            account = None
    app = local_app(
        api,
        relay,
        admit=AdmitConsole(console=None if account is None else account.user, record=record),
        starting=starting,
        max_body=MAX_BODY,
    )
    group = None if account is None else account.group
    async with serve_unix(app, path, logger=logger, admission=admission, group=group) as served:
        yield served
