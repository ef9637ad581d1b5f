"""Servers of a site that speak for the virtual IPs and do nothing else, and a client's view of them."""

import asyncio
import contextlib
import socket
import threading
import time

from daemons import wait_for
from lan.namespaces import configure, inside, run, set_kernel
from lan.site import VIP

from l2mode.announcer import Announcer
from l2mode.core.frames import virtual_mac
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.speaker import Speaker
from l2mode.core.verdict import Delivery
from l2mode.kernel.interface import mac_of
from l2mode.kernel.raw_frames import RawFrames

LONG = 1000.0
"Seconds of lease: as good as forever here."


class SpeakingNode:
    """A voice on an event loop of its own, in a thread that has entered the server's namespace."""

    def __init__(self, host, settings):
        self.host = host
        self.told = []
        with inside(host.namespace):
            self.mac = mac_of("eth0")
            flooded = settings.delivery is Delivery.FLOODED
            self.wire = RawFrames(
                "eth0",
                settings.vips,
                tell=lambda level, message: self.told.append((level, message)),
                virtual_mac=virtual_mac(settings) if flooded else None,
            )
        self._loop = asyncio.SelectorEventLoop()
        self._voice = Announcer(
            Speaker(settings),
            self.wire,
            loop=self._loop,
            tell=lambda level, message: self.told.append((level, message)),
        )
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def update(self, view, director, macs, *, lease=LONG):
        """Tell the voice about the view, one director for all virtual IPs, and the MACs."""

        async def tell_it():
            self._voice.renew(self._loop.time() + lease)
            self._voice.update(view=view, directors=[director] * len(VIP), macs=macs)

        asyncio.run_coroutine_threadsafe(tell_it(), self._loop).result(timeout=5)

    def repair(self):
        """Look, as layer-2 mode does every few seconds, whether the interface is another one, and read its MAC."""

        async def repair_it():
            with inside(self.host.namespace):
                self._voice.repair()
                with contextlib.suppress(OSError):
                    self.mac = mac_of("eth0")

        asyncio.run_coroutine_threadsafe(repair_it(), self._loop).result(timeout=5)

    def close(self):
        self._loop.call_soon_threadsafe(self._voice.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Lan:
    """The speaking servers of a site, by name."""

    def __init__(self, site, vips, delivery):
        self.site = site
        self.vips = vips
        self.client = site.clients.namespace
        self.virtual_mac = None
        self.nodes = {}
        for name, host in site.servers.items():
            hold_the_vips(host, vips)
            settings = LayerTwoSettings(
                farm="apache",
                me=name,
                nodes=tuple(site.servers),
                vips=vips,
                groups=(),
                seed=bytes(16),
                delivery=delivery,
            )
            self.virtual_mac = virtual_mac(settings)
            self.nodes[name] = SpeakingNode(host, settings)

    @property
    def macs(self):
        return {name: node.mac for name, node in self.nodes.items()}

    def agree(self, director, *, view=None, only=None):
        """Tell the servers, or only some of them, which view and director count now."""
        for name in only or self.nodes:
            self.nodes[name].update(view or tuple(self.nodes), director, self.macs)

    def neighbour(self, vip):
        """Give what the client's neighbour table says: the MAC or None, and the entry's states."""
        words = run(self.client, "ip", "neigh", "show", str(vip), "dev", "eth0").split()
        mac = bytes.fromhex(words[words.index("lladdr") + 1].replace(":", "")) if "lladdr" in words else None
        return mac, words[-1:]

    def remember(self, vip, mac, state):
        """Put an entry into the client's neighbour table; a failed one has no MAC."""
        known = [] if state == "failed" else ["lladdr", mac.hex(":")]
        run(self.client, "ip", "neigh", "replace", str(vip), *known, "dev", "eth0", "nud", state)

    def forget(self, vip):
        run(self.client, "ip", "neigh", "flush", "to", str(vip), "dev", "eth0")

    def send(self, vip):
        """Let the client send a packet to the virtual IP; nobody need answer it."""
        with inside(self.client):
            _send_datagram(vip)

    def resolve(self, vip):
        """Let the client find out the MAC of a virtual IP."""
        self.forget(vip)
        self.send(vip)
        wait_for(lambda: self.neighbour(vip)[0], what=f"the client knows the MAC of {vip}")
        return self.neighbour(vip)[0]

    def until_neighbour_is(self, vip, mac, *, limit=5.0):
        """Wait until the client has this MAC cached, and give the seconds that it took."""
        start = time.monotonic()
        wait_for(
            lambda: self.neighbour(vip)[0] == mac, limit=limit, what=f"the client's entry for {vip} is {mac.hex(':')}"
        )
        return time.monotonic() - start

    def switch_knows(self):
        """Give the MACs that the switch has learned."""
        lines = run(self.site._switch, "bridge", "fdb", "show", "br", "near", "dynamic").splitlines()
        return {bytes.fromhex(line.split()[0].replace(":", "")) for line in lines}

    def close(self):
        for node in self.nodes.values():
            node.close()


@contextlib.contextmanager
def speaking(site, vips, delivery):
    """Let the servers of a site speak for these virtual IPs; they are silent until told a view."""
    lan = Lan(site, vips, delivery)
    try:
        yield lan
    finally:
        lan.close()


def hold_the_vips(host, vips):
    """Do what layer-2 mode does at its start, so that the kernel is silent about the virtual IPs."""
    set_kernel(host.namespace, {"ipv4/conf/eth0/arp_ignore": 1, "ipv4/conf/eth0/arp_announce": 2})
    held = [f"addr replace {vip}/32 dev lo scope host" for vip in vips if vip.version == 4]
    configure(host.namespace, held + [f"addr replace {vip}/128 dev lo nodad" for vip in vips if vip.version == 6])


def _send_datagram(vip):
    with socket.socket(socket.AF_INET if vip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"hello", (str(vip), 9))
