"""What a story needs, set up and serving: a site, a farm on it, and clients of one family."""

import contextlib
import os
from dataclasses import dataclass

import pytest
from daemons import wait_for
from lan.shared import SharedFarm, shared_farm
from lan.site import VIP, Site, site
from lan.stories import Combination
from lan.traffic import Crowd, crowd

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A farm that serves, and clients that may begin."""

    way: Combination
    lan: Site
    farm: SharedFarm
    clients: Crowd

    @property
    def vip(self):
        """The virtual IP of the story's family."""
        return VIP[self.way.family]

    @property
    def servers(self):
        """All servers, to be captured."""
        return self.lan.servers.values()

    def addresses(self, count):
        """Give client addresses of the story's family."""
        return self.lan.clients.clients(count, self.way.family)

    def newcomers(self, addresses, *, rate, timeout=5.0, **more):
        """Let these addresses open connections; `rate` counts them per second, for a filter in the kernel."""
        return self.clients.newcomers(self.vip, addresses, rate=rate / self._slowness, timeout=timeout, **more)

    def regulars(self, addresses, *, every=0.25, timeout=5.0):
        """Let each address keep a connection, and ask on it with this pause in seconds, for a filter in the kernel."""
        return self.clients.regulars(self.vip, addresses, every=every * self._slowness, timeout=timeout)

    @property
    def _slowness(self):
        """A filter in Python looks at every packet of all servers, on two cores that it shares with the clients."""
        return 5 if self.way.packet_filter == "nfqueue" else 1

    def director(self, among=None):
        """Name the server that answers for the virtual IP in directed delivery."""
        return self.farm.director(self.way.family, among=among)

    def bystander(self):
        """Name the last server that is not the director: what befalls it concerns its own clients only."""
        return next(name for name in reversed(self.farm.names) if name != self.director())

    def wait_until_everybody_is_served(self, load, clients, *, since, limit=3):
        """Wait until each of these clients has been answered in an attempt that began after `since`."""
        wait_for(
            lambda: load.served_clients(since=since) >= set(clients),
            limit=limit,
            what="an answer for every client",
        )


@contextlib.contextmanager
def stage(directory, way, *, start=None, servers=("web1", "web2", "web3"), far=(), **settings):
    """Set up a farm in this way, and start these daemons, or all; gives the stage when they serve."""
    with (
        site(directory, servers=servers, far=far) as lan,
        shared_farm(lan, delivery=way.delivery, packet_filter=way.packet_filter, **settings) as farm,
        crowd(lan.clients) as clients,
    ):
        farm.start(*(start or farm.names)).serving()
        yield Stage(way=way, lan=lan, farm=farm, clients=clients)
