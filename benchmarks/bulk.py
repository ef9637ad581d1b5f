"""Figure: how fast large files go through the virtual IP, beside the same to one server without a filter."""

from random import Random
from typing import Final

from benchmarks.connections import ALONE, DELIVERIES, NODES
from benchmarks.figures import Aim, Figure, Judged, Row, Table
from benchmarks.progress import say
from benchmarks.site import VIP, Site, site
from benchmarks.vip_farm import VipFarm

MEGABYTES: Final = 200
AIM: Final = 0.8
FILE: Final = "large"


def measure(*, quick: bool) -> Figure:
    """Fetch and bring a file by turns, through the virtual IP and from the single server."""
    rounds = 1 if quick else 4
    tables = (*(_table(delivery, rounds) for delivery in DELIVERIES), _table("directed", rounds, "nfqueue"))
    return Figure(
        title="Large files through the virtual IP",
        method=f"{len(NODES)} nodes in network namespaces on a Linux bridge, each with a real daemon (preset lan, "
        "filter tc unless named) and an nginx; on another bridge one server with an nginx, and nothing else. curl "
        f"fetches and brings {MEGABYTES} MB over one connection, in {rounds} rounds from one client of each node: in "
        "directed delivery the packets of two of them come by way of the director. What comes first is left to chance; "
        "a ratio is that of two neighbouring runs.",
        tables=tables,
    )


def _table(delivery: str, rounds: int, packet_filter: str = "tc") -> Table:
    title = f"delivery {delivery}" if packet_filter == "tc" else f"delivery {delivery}, filter {packet_filter}"
    random = Random(title)
    found: dict[str, list[float]] = {"upload": [], "download": []}
    with site(*NODES) as shared, site(ALONE) as single:
        farm = VipFarm(shared, NODES, preset="lan", delivery=delivery, by="address", packet_filter=packet_filter)
        farm.start()
        single.start_web(ALONE)
        clients = [of_node[0] for of_node in farm.await_served().values()]
        for on in (shared, single):
            (on.directory / "files").mkdir()
            with (on.directory / FILE).open("wb") as file:
                file.truncate(MEGABYTES << 20)
            (on.directory / "files" / FILE).hardlink_to(on.directory / FILE)
        for number in range(rounds):
            for client in clients:
                say(f"large files, {title}, round {number + 1} of {rounds}, client {client}")
                for way, ratios in found.items():
                    ends = [(shared, str(VIP)), (single, single.addresses[ALONE])]
                    speeds = {address: _speed(on, client, address, way) for on, address in random.sample(ends, k=2)}
                    ratios.append(speeds[str(VIP)] / speeds[single.addresses[ALONE]])
    # A filter in user space is for machines that have no other.
    aim = Aim(limit=AIM, at_least=True, judged=Judged.MEDIAN) if packet_filter == "tc" else None
    rows = tuple(
        Row(what=f"{way}, to one server without a filter", unit="ratio", runs=tuple(ratios), aim=aim)
        for way, ratios in found.items()
    )
    return Table(title=title, rows=rows)


def _speed(on: Site, client: str, address: str, way: str) -> float:
    """Give the bytes per second of one transfer."""
    options = ("-T", str(on.directory / FILE)) if way == "upload" else ()
    name = "brought" if way == "upload" else FILE
    curl = ("curl", "-sS", "--fail", "--max-time", "60", "--interface", client, "-o", "/dev/null", *options)
    return float(on.client.run(*curl, "-w", f"%{{speed_{way}}}", f"http://{address}/files/{name}"))
