"""Figure: packets that the filter refuses and accepts in a second, beside a program that only drops and the peers."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.flood import Kind
from benchmarks.lane import GENERIC, IN, NATIVE, PORT, VIP, Lane, lane
from benchmarks.own_node import EXPECTED, ME, OTHER, VIRTUAL_MAC, fill
from benchmarks.progress import say
from l2mode.core.tables import Tables
from l2mode.kernel.errors import FilterError
from l2mode.kernel.libbpf import TC, XDP, BpfFilter

Installed = Callable[[], AbstractContextManager[None]]
"""Puts a filter on the receiver, and takes it away again."""

DROP, NONE, AGAIN = "a program that only drops", "no filter", "no filter, once more"
OUR_XDP, OUR_TC, OUR_GENERIC = "our filter, native XDP", "our filter, tc", "our filter, generic XDP"
TC_DROP, XT_CLUSTER, NFTABLES = "a tc program that only drops", "xt_cluster", "nftables jhash"


class Ours:
    """Our filter, loaded once for each way to attach it, for a node of three."""

    def __init__(self, on: Lane) -> None:
        self._on = on
        try:
            self._loaded = BpfFilter([XDP, TC])
        except FilterError as error:
            raise CannotMeasureError(f"{error.problem} ({error.remedy})") from error
        self._tables = Tables(self._loaded.memory)

    @contextmanager
    def attached(self, how: str, *, owner: int) -> Iterator[None]:
        """Attach it while the block runs, all buckets being one node's; see that it decided about every packet."""
        tables = self._tables
        fill(tables, self._on, owner=owner)
        xdp, tc = (self._loaded.programs[name].fd for name in (XDP, TC))
        before = self._on.received()
        with self._on.tc(tc) if how == OUR_TC else self._on.xdp(xdp, NATIVE if how == OUR_XDP else GENERIC):
            yield
        counted, received = tables.counters()[EXPECTED[owner]], self._on.received() - before
        # Some frames are none of the flood's: the ends of a cable say who they are.
        if counted < 0.999 * received:
            raise CannotMeasureError(f"{how}: of {received} packets only {counted} were found {EXPECTED[owner].text}")

    def refusing(self, how: str) -> Installed:
        """Give what attaches it for a node that owns nothing."""
        return lambda: self.attached(how, owner=OTHER)

    def accepting(self, how: str) -> Installed:
        """Give what attaches it for a node that owns everything."""
        return lambda: self.attached(how, owner=ME)


def measure(*, quick: bool) -> Figure:
    """Flood a receiver through each filter by turns."""
    for program in ("ethtool", "iptables", "nft"):
        if shutil.which(program) is None:
            raise CannotMeasureError(f"{program} is missing (make benchmarks installs it)")
    rounds, seconds = (2, 0.3) if quick else (11, 0.8)
    with lane() as on:
        ours = Ours(on)
        drop_xdp, drop_tc = (on.programs.descriptor(name) for name in ("drop_xdp", "drop_tc"))
        refused = _rates(
            on,
            Kind.SYN,
            {
                DROP: lambda: on.xdp(drop_xdp, NATIVE),
                OUR_XDP: ours.refusing(OUR_XDP),
                XT_CLUSTER: lambda: _xt_cluster(on),
                OUR_TC: ours.refusing(OUR_TC),
                TC_DROP: lambda: on.tc(drop_tc),
                NFTABLES: lambda: _nftables(on),
                OUR_GENERIC: ours.refusing(OUR_GENERIC),
            },
            rounds=rounds,
            seconds=seconds,
        )
        with on.listener():
            accepted = _rates(
                on,
                Kind.UDP,
                {
                    NONE: nullcontext,
                    OUR_TC: ours.accepting(OUR_TC),
                    OUR_XDP: ours.accepting(OUR_XDP),
                    OUR_GENERIC: ours.accepting(OUR_GENERIC),
                    AGAIN: nullcontext,
                },
                rounds=rounds,
                seconds=seconds,
            )
    return Figure(
        title="The packet filter: packets refused and accepted",
        method="Frames of 60 bytes to one port of a virtual IP, over a veth between two network namespaces, from "
        f"random addresses and ports; {rounds} rounds through the filters by turns, each {seconds:g} s, every other "
        "round backwards; a ratio is that of two runs of one round. The kernel's test-run call makes the frames "
        "(benchmarks/flood.bpf.c), and one core does all the work: the figures include the sender, and are packets per "
        "second of that core's time. Refused: TCP SYNs with right checksums, flooded delivery, our node of three owns "
        "nothing; keyed hash, rules, counters and lease are in place as always. The peers decide about each packet, "
        "and then drop what they would take too, so that nobody pays for the way up. xt_cluster: one of three nodes, "
        "in INPUT, by iptables; nftables: netdev ingress, `jhash ip saddr mod 256` and a verdict map of ranges. "
        "Accepted: UDP without checksums into a socket that nobody reads, which is the shortest way up, and so the "
        "worst case.",
        tables=(
            Table(
                title="refused",
                rows=(
                    *_rows(refused),
                    _ratio(refused, OUR_XDP, DROP, Aim(limit=0.65, at_least=True, judged=Judged.MEDIAN, hoped=0.8)),
                    _ratio(refused, OUR_XDP, XT_CLUSTER, Aim(limit=5, at_least=True, judged=Judged.MEDIAN)),
                    _ratio(refused, OUR_TC, XT_CLUSTER, Aim(limit=2, at_least=True, judged=Judged.MEDIAN)),
                    _ratio(refused, OUR_XDP, NFTABLES, Aim(limit=3, at_least=True, judged=Judged.MEDIAN)),
                    _ratio(refused, OUR_TC, TC_DROP),
                    _beyond(refused, OUR_XDP, DROP),
                    _beyond(refused, OUR_TC, TC_DROP),
                ),
            ),
            Table(
                title="accepted",
                rows=(
                    *_rows(accepted),
                    *(
                        _ratio(accepted, ours, NONE, Aim(limit=0.75, at_least=True, judged=Judged.MEDIAN, hoped=0.85))
                        for ours in (OUR_TC, OUR_XDP)
                    ),
                    _ratio(accepted, OUR_GENERIC, NONE),
                    _ratio(accepted, AGAIN, NONE),
                    _beyond(accepted, OUR_TC, NONE),
                ),
            ),
        ),
    )


def _rates(
    on: Lane, kind: Kind, filters: dict[str, Installed], *, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Give the rates of each filter, measured by turns; every other round goes backwards."""
    rates: dict[str, list[float]] = {name: [] for name in filters}
    for number in range(rounds):
        say(f"{kind.name} flood, round {number + 1} of {rounds}")
        for name in list(filters)[:: -1 if number % 2 else 1]:
            ours = name in {OUR_XDP, OUR_TC, OUR_GENERIC}
            with filters[name]():
                rates[name].append(on.rate(kind, seconds=seconds, destination=VIRTUAL_MAC if ours else None))
    return rates


def _rows(rates: dict[str, list[float]]) -> Iterator[Row]:
    for name, runs in rates.items():
        yield Row(what=name, unit="Mpps", runs=tuple(runs))


def _ratio(rates: dict[str, list[float]], one: str, other: str, aim: Aim | None = None) -> Row:
    runs = tuple(ours / peer for ours, peer in zip(rates[one], rates[other], strict=True))
    return Row(what=f"{one}, to {other}", unit="ratio", runs=runs, aim=aim)


def _beyond(rates: dict[str, list[float]], one: str, other: str) -> Row:
    """Give what a packet costs more."""
    runs = tuple(1000 / ours - 1000 / peer for ours, peer in zip(rates[one], rates[other], strict=True))
    return Row(what=f"{one}, beyond {other}", unit="ns a packet", runs=runs)


@contextmanager
def _xt_cluster(on: Lane) -> Iterator[None]:
    """One node of three, as in iptables-extensions(8); whatever it decides, the packet is dropped afterwards."""
    packets = ("-d", str(VIP), "-p", "tcp", "--dport", str(PORT))
    cluster = ("--cluster-total-nodes", "3", "--cluster-local-node", "1", "--cluster-hash-seed", "0xdeadbeef")
    with ExitStack() as stack:
        stack.callback(on.receiver.run, "iptables", "-F", "INPUT")
        on.receiver.run("iptables", "-A", "INPUT", *packets, "-m", "cluster", *cluster, "-j", "DROP")
        on.receiver.run("iptables", "-A", "INPUT", *packets, "-j", "DROP")
        yield


@contextmanager
def _nftables(on: Lane) -> Iterator[None]:
    """A third of the addresses in one range of a verdict map, the others in another; all are dropped."""
    on.receiver.run(
        "nft",
        f"add table netdev bench; add chain netdev bench in {{ type filter hook ingress device {IN} priority 0; }}; "
        f"add rule netdev bench in ip daddr {VIP} tcp dport {PORT} "
        "jhash ip saddr mod 256 seed 0xdeadbeef vmap { 0-84 : drop, 85-255 : drop }",
    )
    try:
        yield
    finally:
        on.receiver.run("nft", "delete", "table", "netdev", "bench")
