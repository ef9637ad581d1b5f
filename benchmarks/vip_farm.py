"""Real daemons of one farm with an [l2] table on the servers of a site."""

import sys
from datetime import UTC, datetime

from benchmarks.site import VIP, Site
from benchmarks.wire import INTERFACE
from hcsidecar.net.keyring import Keyring

FARM = "bench"


class VipFarm:
    """The farm file, and a daemon on each of its nodes, beside a web server."""

    def __init__(
        self,
        site: Site,
        nodes: tuple[str, ...],
        *,
        preset: str,
        delivery: str,
        by: str,
        packet_filter: str = "tc",
    ) -> None:
        self._site = site
        self.nodes = nodes
        self._lasting = by == "address"
        self._config = site.directory / "farm.toml"
        self._config.write_text(
            f'[farm]\nname = "{FARM}"\nstate_dir = "{site.directory}/s"\n[heartbeat]\npreset = "{preset}"\n'
            f'[l2]\ninterface = "{INTERFACE}"\nfilter = "{packet_filter}"\n'
            f'delivery = "{delivery}"\n[[l2.vip]]\naddress = "{VIP}"\n'
            f'[[l2.share]]\nname = "WEB"\nprotocol = "tcp"\nports = [80]\nby = "{by}"\n'
            + "".join(f'[[node]]\nname = "{name}"\naddress = "{site.addresses[name]}"\n' for name in nodes)
        )
        Keyring.create(site.directory / "farm.key", now=datetime.now(UTC)).write(replace=False)

    def start(self, *names: str) -> None:
        """Start daemons and web servers, all by default."""
        for name in names or self.nodes:
            self._site.start_web(name)
            daemon = ("-m", "hcsidecar.daemon.start", "--config", str(self._config), "--node", name)
            self._site.start(name, sys.executable, *daemon)

    def await_served(self) -> dict[str, tuple[str, ...]]:
        """Wait until every node takes its share, by address also always the same; give the clients that each serves."""
        shares: dict[str, tuple[str, ...]] = {}

        def settled() -> bool:
            nonlocal shares
            before, shares = shares, self._site.share_out()
            return set(shares) == set(self.nodes) and (not self._lasting or shares == before)

        self._site.wait_until(settled, what=f"{', '.join(self.nodes)} share the VIP")
        return shares
