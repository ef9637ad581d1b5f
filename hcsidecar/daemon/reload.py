"""Reading the files of a running daemon anew: keys and certificates are taken, and what else has changed is named.

`system/signals.py` hears SIGHUP; `Daemon` then calls this and gives its parts the new keys.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.changes import changed_settings
from hcsidecar.core.farmfile.settings import TlsTable
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, load

_SHOWN = 8
"Changes, and problems, that a line names."


class CertificateError(Exception):
    """A certificate and its key cannot be used; the text says which and why."""


@dataclass(slots=True)
class Certificates:
    """The TLS contexts of one node's listeners, which take other certificates while they serve."""

    loaded: LoadedFarm
    _contexts: list[tuple[TlsTable, ssl.SSLContext]] = field(default_factory=list)

    def context(self, table: TlsTable) -> ssl.SSLContext:
        """Make a context from the files that a table names; raises CertificateError."""
        context = self._load(table, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        self._contexts.append((table, context))
        return context

    def reread(self) -> None:
        """Take what the files hold now, for connections from now on; CertificateError, and then all stays as it was."""
        for table, _ in self._contexts:
            # First apart: a certificate without its key would leave a context with neither.
            self._load(table, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        for table, context in self._contexts:
            self._load(table, context)

    def _load(self, table: TlsTable, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            context.load_cert_chain(self.loaded.resolve(table.cert), self.loaded.resolve(table.key))
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(
                f"the certificate {table.cert} and its key {table.key} do not load: {error}"
            ) from error
        return context


_read_apart = partial(load, kinds_apart=True)


async def reread_farm_file(loaded: LoadedFarm, *, read: Callable[[Path], LoadedFarm] = _read_apart) -> Event:
    """Compare the farm file with what the daemon runs by, and say what differs; waits for the disk in a thread."""
    try:
        present = await asyncio.to_thread(read, loaded.path)
    except FarmFileError as error:
        problems = "; ".join(map(str, error.problems[:_SHOWN]))
        message = f"SIGHUP: the farm file is wrong now, and the daemon goes on by the former one: {problems}"
        return Event(level=Level.ERROR, origin="daemon", message=message)
    changed = changed_settings(loaded.farm, present.farm)
    if not changed:
        text = "SIGHUP: the farm file says what the daemon runs by"
        return Event(level=Level.INFO, origin="daemon", message=text)
    named = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    message = f"SIGHUP: changed in the farm file, and taken when this daemon is started again: {named}"
    return Event(level=Level.WARNING, origin="daemon", message=message)
