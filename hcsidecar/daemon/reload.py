"""Reloads the certificates of a running daemon, and names what has changed in its farm file.

`system/signals.py` receives SIGHUP. `Daemon` then calls this module, and reloads the keys itself.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.changes import changed_settings
from hcsidecar.core.farmfile.farm_file import TlsTable
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.farmfile.loading import FarmFileError, LoadedFarm, load

_SHOWN = 8
"Changes, or problems, that an event names."


class CertificateError(Exception):
    """Raised if a certificate and its key cannot be used; the text says which and why."""


@dataclass(slots=True)
class Certificates:
    """The TLS contexts of one node's listeners, which can load new certificates while they serve."""

    settings: SettingsInForce
    _contexts: list[tuple[TlsTable, ssl.SSLContext]] = field(default_factory=list)

    def context(self, table: TlsTable) -> ssl.SSLContext:
        """Return a context with the certificate that a table names. Raise CertificateError."""
        context = self._load(table, ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
        self._contexts.append((table, context))
        return context

    def reread(self) -> None:
        """Load the files again, for new connections. Raise CertificateError and keep all as it was if that fails."""
        for table, _ in self._contexts:
            # First into another context: if the key does not fit, the one in use would be left without either.
            self._load(table, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        for table, context in self._contexts:
            self._load(table, context)

    def _load(self, table: TlsTable, context: ssl.SSLContext) -> ssl.SSLContext:
        try:
            context.load_cert_chain(self.settings.loaded.resolve(table.cert), self.settings.loaded.resolve(table.key))
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(
                f"the certificate {table.cert} and its key {table.key} do not load: {error}"
            ) from error
        return context


_read_apart = partial(load, kinds_apart=True)


async def reread_farm_file(loaded: LoadedFarm, *, read: Callable[[Path], LoadedFarm] = _read_apart) -> Event:
    """Compare the farm file with the one that the daemon uses, and return the event. Reads it in a thread."""
    try:
        present = await asyncio.to_thread(read, loaded.working_copy)
    except FarmFileError as error:
        problems = "; ".join(map(str, error.problems[:_SHOWN]))
        message = f"SIGHUP: the farm file is wrong now, and the daemon keeps using the former one: {problems}"
        return Event(level=Level.ERROR, origin="daemon", message=message)
    changed = changed_settings(loaded.farm, present.farm)
    if not changed:
        text = "SIGHUP: the farm file says what is in force"
        return Event(level=Level.INFO, origin="daemon", message=text)
    named = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    message = f"SIGHUP: changed in the farm file, and not in force: {named}; hcsidecar apply brings it to every node"
    return Event(level=Level.WARNING, origin="daemon", message=message)
