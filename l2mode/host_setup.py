"""The setup of the machine for layer-2 mode, the filter and the virtual IPs: put in place, kept, and taken down.

Nothing in this module runs on the thread of the event loop.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from l2mode.core.filters import FilterChoice
from l2mode.core.interface import Obstacle
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.tables import Tables
from l2mode.kernel.errors import FilterError, is_exhaustion
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.interface import interface_holding, mac_of
from l2mode.kernel.packet_filter import PacketFilter, another_filter, choose_filter
from l2mode.kernel.record import TellOperator
from l2mode.kernel.restore import open_record


@dataclass(frozen=True, slots=True)
class Replacement:
    """What stands ready to take the place of the filter and the virtual IPs in use."""

    settings: LayerTwoSettings
    filter: PacketFilter
    host: HostAddresses
    tables: Tables
    "Those of the filter, in which nothing is taken yet."


class HostSetup:
    """The setup of one machine; `LayerTwo` documents the arguments. Attributes may be read on any thread."""

    interface: str
    mac: bytes
    filter: PacketFilter
    choice: FilterChoice

    def __init__(
        self,
        settings: LayerTwoSettings,
        *,
        interface: str | None,
        address: str,
        own_addresses: Iterable[str],
        wanted_filter: str,
        directory: Path,
        tell: TellOperator,
    ) -> None:
        self._settings = settings
        self._wanted_interface = interface
        self._address = ip_address(address)
        self._own = frozenset(map(ip_address, own_addresses))
        self._wanted_filter = wanted_filter
        self._record = open_record(directory, tell=tell)
        self._tell = tell
        self._seen: tuple[Obstacle, ...] = ()
        self._trouble: dict[str, str] = {}
        self._without_filter = False
        "The latest repair could not put the filter back."
        self._warned: tuple[str, ...] = ()
        # A repair that the loop has given up waiting for may still run when everything is taken down.
        self._one_at_a_time = threading.Lock()
        self._down = False
        self._to_retire: deque[PacketFilter] = deque()

    def set_up(self) -> Tables:
        """Attach a closed filter, in place of one that was left open, then add the virtual IPs.

        In this order no packet to a virtual IP reaches a network stack without a filter in front of it. Raise
        FilterError if either is refused.
        """
        self._record.hold()
        self.interface = self._wanted_interface or interface_holding(self._address)
        self._host = HostAddresses(self._settings.vips, self.interface, self._record, delivery=self._settings.delivery)
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
        if self.choice.fall_back is not None:
            level = "warning" if self.choice.degraded else "info"
            self._tell(level, f"{self.choice.fall_back}; {self.choice.remedy}")
        self._warn()
        return Tables(self.filter.memory)

    def prepare(self, settings: LayerTwoSettings) -> Replacement:
        """Load a filter of the same kind by other settings beside the one in use. Raise FilterError if refused."""
        host = HostAddresses(settings.vips, self.interface, self._record, delivery=settings.delivery)
        mac = host.check().mac
        made = another_filter(self.choice.kind, settings, self.interface, self._record, mac=mac)
        return Replacement(settings, made, host, Tables(made.memory))

    def replace(self, new: Replacement) -> Replacement:
        """Put the other filter in place, and the virtual IPs by its settings. Return what was in use, to be retired.

        At each moment a filter stands in front of each virtual IP: those that go are removed before, those that come
        are added after the filter. Raise FilterError, with all as before, if one of the steps is refused.
        """
        with self._one_at_a_time:
            if self._down:
                raise FilterError("layer-2 mode ends", "start the daemon again")
            former = Replacement(self._settings, self.filter, self._host, Tables(self.filter.memory))
            try:
                _put_in_place(new, instead_of=former)
            except (FilterError, OSError) as error:
                _put_in_place(former, instead_of=new)
                if isinstance(error, FilterError):
                    raise
                raise FilterError(f"the settings cannot be changed: {error.strerror}", "try it again") from error
            self._settings, self.filter, self._host = new.settings, new.filter, new.host
            self._warn()
        return former

    def retire_soon(self, former: Replacement) -> None:
        """Have the next repair give back what a filter needs that is not in use any more; on any thread."""
        self._to_retire.append(former.filter)

    def repair(self) -> tuple[Obstacle, ...]:
        """Restore what somebody has removed, and read the MAC again. Return the obstacles that remain.

        If the filter is missing twice in a row, the virtual IPs are removed until there is one again: without a filter
        this node would take every packet that it gets.
        """
        with self._one_at_a_time:
            if self._down:
                return ()
            self._retire()
            self._keep_record()
            found = self._look()
            was_open = self._without_filter
            self._without_filter = not self._repaired("the filter", self.filter, found)
            if not self._without_filter:
                self._repaired("the virtual IPs", self._host, found)
            elif was_open:
                self._host.take_down()
            self._warn()
            # An interface that is gone is reported in `found`.
            with contextlib.suppress(OSError):
                self.mac = mac_of(self.interface)
            return tuple(found)

    def take_down(self) -> None:
        """Put everything back as it was found; safe to repeat.

        The virtual IPs are removed first: the filter, which is closed, stands in front of them until the end.
        """
        if not self._record.held:
            return  # what is there belongs to another process
        with self._one_at_a_time:
            self._down = True
            self._retire()
            if hasattr(self, "_host"):
                self._host.take_down()
            if hasattr(self, "filter"):
                self.filter.detach()
            self._record.restore()

    def _retire(self) -> None:
        while self._to_retire:
            self._to_retire.popleft().retire()

    def _keep_record(self) -> None:
        """Write the record again if somebody has removed it."""
        try:
            news = self._record.repair()
        except FilterError as error:
            self._complain("what was changed here", str(error))
            return
        self._complain("what was changed here", None)
        if news is not None:
            self._tell("warning", news)

    def _look(self) -> list[Obstacle]:
        """Return the obstacles that cannot be removed here. What cannot be read is taken to be unchanged."""
        try:
            self._seen = self._host.look(self._own)
        except FilterError as error:
            self._complain("the machine", str(error))
        else:
            self._complain("the machine", None)
        return list(self._seen)

    def _repaired(self, name: str, part: PacketFilter | HostAddresses, found: list[Obstacle]) -> bool:
        try:
            news = part.repair()
        except (FilterError, OSError) as error:
            if is_exhaustion(error if isinstance(error, OSError) else error.__cause__):
                # If descriptors run out so that it cannot be read, it is taken to be unchanged.
                self._complain(name, f"{name} cannot be looked after now: {error}")
                return True
            if isinstance(error, OSError):
                raise
            found.append(Obstacle(error.problem, error.remedy))
            return False
        self._complain(name, None)
        if news is not None:
            self._tell("warning", news)
        return True

    def _warn(self) -> None:
        """Report what has newly come into the way, or may be in it."""
        doubts = [f"{doubt.text}; {doubt.remedy}" for doubt in self._host.warnings]
        warnings = (*self.filter.warnings, *doubts)
        for warning in warnings:
            if warning not in self._warned:
                self._tell("warning", warning)
        self._warned = warnings

    def _complain(self, part: str, trouble: str | None) -> None:
        """Report once that something cannot be read now, and once that it can be read again."""
        before = self._trouble.pop(part, None)
        if trouble is None:
            if before is not None:
                self._tell("info", f"over: {before}")
            return
        self._trouble[part] = trouble
        if before is None:
            self._tell("error", trouble)


def _put_in_place(new: Replacement, *, instead_of: Replacement) -> None:
    """Put a filter and its virtual IPs in the place of others; what is in place already stays."""
    new.host.remove(vip for vip in instead_of.settings.vips if vip not in new.settings.vips)
    new.filter.attach()
    new.host.set_up()
