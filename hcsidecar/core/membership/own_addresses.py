"""Which of a node's own addresses its machine has; heartbeats are sent from these and received on these only."""

from collections.abc import Collection, Mapping

from hcsidecar.core.events import Event, Level


class OwnAddresses:
    """The node's address on each network of the farm file; all count as present at first."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._missing: tuple[str, ...] = ()

    def see(self, here: Collection[str]) -> list[Event]:
        """Note which addresses the machine has now. Return an event for each loss and each return, once."""
        before, self._missing = self._missing, tuple(each for each in self._addresses.values() if each not in here)
        lost = [self._tell_lost(network) for network, each in self._addresses.items() if self._is_new(each, before)]
        back = [address for address in before if address in here]
        return [*lost, *(_tell(Level.INFO, f"{address} is an address of this machine again") for address in back)]

    @property
    def complaint(self) -> str:
        """Return the missing addresses as a sentence for the status document; empty if none is missing."""
        if not self._missing:
            return ""
        which = "its addresses" if len(self._missing) == len(self._addresses) else f"{', '.join(self._missing)}"
        return f"this machine has lost {which}: no heartbeat goes out or comes in there"

    def _is_new(self, address: str, before: Collection[str]) -> bool:
        return address in self._missing and address not in before

    def _tell_lost(self, network: str) -> Event:
        address = self._addresses[network]
        where = f" (network {network})" if len(self._addresses) > 1 else ""
        text = f"{address}{where} is no address of this machine any more: no heartbeat goes out or comes in there"
        return _tell(Level.ERROR, f"{text}; ip address add {address}/LENGTH dev INTERFACE")


def _tell(level: Level, message: str) -> Event:
    return Event(level=level, origin="daemon", message=message)
