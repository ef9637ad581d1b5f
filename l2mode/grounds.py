"""What layer-2 mode has in the machine: the filter on the interface and the virtual IPs; set up, kept, taken down.

Nothing here runs on the thread of the event loop.
"""

import threading
from ipaddress import ip_address
from pathlib import Path

from l2mode.core.filters import Choice
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.tables import Tables
from l2mode.kernel.errors import FilterError, is_exhaustion
from l2mode.kernel.host import Host
from l2mode.kernel.interface import interface_holding, mac_of
from l2mode.kernel.packet_filter import PacketFilter, choose_filter
from l2mode.kernel.record import Record, Tell
from l2mode.kernel.restore import open_record


class Grounds:
    """The machine's part; see `LayerTwo` for the arguments. Reading attributes needs no thread."""

    interface: str
    mac: bytes
    filter: PacketFilter
    choice: Choice

    def __init__(
        self,
        settings: LayerTwoSettings,
        *,
        interface: str | None,
        address: str,
        wanted_filter: str,
        directory: Path,
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._wanted_interface = interface
        self._address = ip_address(address)
        self._wanted_filter = wanted_filter
        self._record = open_record(directory, tell=tell)
        self._tell = tell
        self._trouble: dict[str, str] = {}
        self._warned: tuple[str, ...] = ()
        # A repair that the loop has given up waiting for still runs when everything is taken down.
        self._one_at_a_time = threading.Lock()
        self._down = False

    def set_up(self) -> Tables:
        """Put a closed filter on the interface, in place of one left open, then the virtual IPs; raises FilterError.

        In this order no packet to a virtual IP meets a stack without a filter in front.
        """
        self._record.hold()
        self.interface = self._wanted_interface or interface_holding(self._address)
        self._host = Host(self._settings.vips, self.interface, self._record, delivery=self._settings.delivery)
        self.mac = self._host.check().mac
        try:
            self.filter, self.choice = choose_filter(
                self._wanted_filter, self._settings, self.interface, self._record, tell=self._tell
            )
            self._host.set_up()
        except FilterError:
            self.take_down()
            raise
        self._record.restore_left_over()
        for doubt in self._host.warnings:
            self._tell("warning", f"{doubt.text}; {doubt.remedy}")
        if self.choice.fall_back is not None:
            level = "warning" if self.choice.degraded else "info"
            self._tell(level, f"{self.choice.fall_back}; {self.choice.remedy}")
        self._warn()
        return Tables(self.filter.memory)

    def repair(self) -> None:
        """Put back what somebody removed, and read the MAC again; what cannot be put back is told, once.

        When there is no filter twice in a row the virtual IPs go until there is one again: without it this node would
        take every packet that it gets.
        """
        with self._one_at_a_time:
            if self._down:
                return
            self._repaired("what was changed here", self._record)
            troubled = "the filter" in self._trouble
            if self._repaired("the filter", self.filter):
                self._warn()
                self._repaired("the virtual IPs", self._host)
            elif troubled:
                self._host.take_down()
            self._read_mac()

    def take_down(self) -> None:
        """Put everything back as it was found; safe to repeat.

        The virtual IPs first: the filter, which is closed, stands in front of them to the last.
        """
        if not self._record.held:
            return  # whatever there is belongs to another process
        with self._one_at_a_time:
            self._down = True
            if hasattr(self, "_host"):
                self._host.take_down()
            if hasattr(self, "filter"):
                self.filter.detach()
            self._record.restore()

    def _warn(self) -> None:
        """Tell what has newly come into the filter's way."""
        for warning in self.filter.warnings:
            if warning not in self._warned:
                self._tell("warning", warning)
        self._warned = self.filter.warnings

    def _repaired(self, name: str, part: PacketFilter | Host | Record) -> bool:
        try:
            news = part.repair()
        except FilterError as error:
            self._complain(name, str(error))
            # What cannot be seen for want of a descriptor is taken to be as it was.
            return is_exhaustion(error.__cause__)
        except OSError as error:
            if not is_exhaustion(error):
                raise
            self._complain(name, f"{name} cannot be looked after now: {error.strerror}; it is tried again")
            return True
        self._complain(name, None)
        if news is not None:
            self._tell("warning", news)
        return True

    def _read_mac(self) -> None:
        try:
            self.mac = mac_of(self.interface)
        except OSError as error:
            self._complain("MAC", f"{self.interface} has no MAC any more: {error.strerror}")
        else:
            self._complain("MAC", None)

    def _complain(self, part: str, trouble: str | None) -> None:
        before = self._trouble.pop(part, None)
        if trouble is None:
            if before is not None:
                self._tell("info", f"over: {before}")
            return
        self._trouble[part] = trouble
        if trouble != before:
            self._tell("error", trouble)
