"""Figure: what the filters cost large files and new connections, between virtual machines with virtio cards.

    PYTHONPATH=tests .venv/bin/python -m vm.figures --kernel 6.1 --rounds 5

The result goes to `benchmarks/`.
"""

import argparse
import hashlib
import random
import socket
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from lan.bulk import download, upload
from lan.namespaces import inside
from lan.site import VIP
from vm.kernels import SOURCES, kernel
from vm.machine import Build
from vm.qemu import accelerator
from vm.servers import farm

from benchmarks import machine as this_machine
from benchmarks.figures import Figure, Row, Table
from benchmarks.results import HERE, Measured, load, page, save

FILTERS = ("xdp", "tc", "nfqueue")
BESIDE = "tc"
BYTES = 20_000_000
WORKERS = 16
SECONDS = 10
NODES = 2
WAYS = {"up": "upload", "down": "download", "new": "new connections"}


def measure(name, *, rounds, queues, filters=FILTERS, say=print):
    """Switch the farm from filter to filter in turns, and give the figure."""
    build = Build(kernel=kernel(name))
    tables = []
    for several in queues:
        with farm(Build(kernel=build.kernel, queues=several), nodes=NODES) as made:
            found = {packet_filter: {way: [] for way in WAYS} for packet_filter in filters}
            for number in range(rounds):
                for packet_filter in random.sample(filters, k=len(filters)):
                    made.configure(packet_filter=packet_filter).start().serving()
                    taken = _take(made)
                    figures = ", ".join(f"{way} {value:.0f}" for way, value in taken.items())
                    say(f"queues: {several}, round {number + 1}, {packet_filter}: {figures}", flush=True)
                    for way, value in taken.items():
                        found[packet_filter][way].append(value)
        tables.append(_table(found, several))
    run_by = "KVM" if accelerator(build.kernel) == "kvm" else "TCG, which emulates the processor"
    return Figure(
        title=f"Filters on virtio cards, Linux {build.kernel.release}",
        method=f"{NODES} virtual machines (QEMU with {run_by}) on a Linux bridge, directed delivery; as many "
        "processors in each as its card has pairs of queues. A client of the node that is not the director brings and "
        f"fetches {BYTES // 1_000_000} MB over one connection, by way of the director, and {WORKERS} clients open one "
        f"connection after the other for {SECONDS} s. In each of {rounds} rounds all filters have their turn, in "
        f"random order; a ratio is that to {BESIDE} in the same round. Emulated, the figures say how the filters "
        "compare, not how fast they are.",
        tables=tuple(tables),
    )


def _take(made):
    """Measure once: megabytes a second up and down, and connections a second."""
    host = made.network.clients
    director = made.director(4)
    client = next(one for one in host.clients(64) if made.owner(one) != director)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "bulk"
        file.write_bytes(random.Random(1).randbytes(BYTES))
        began = time.monotonic()
        upload(host, client, VIP[4], file, "bulk", limit=600)
        up = time.monotonic() - began
        began = time.monotonic()
        content = download(host, client, VIP[4], "bulk", limit=600)
        down = time.monotonic() - began
        assert hashlib.sha256(content).digest() == hashlib.sha256(file.read_bytes()).digest()
    return {"up": BYTES / 1e6 / up, "down": BYTES / 1e6 / down, "new": _connections_a_second(host)}


def _connections_a_second(host):
    """Let clients of all nodes ask, each one connection after the other."""
    with inside(host.namespace):
        end = time.monotonic() + SECONDS
        counts = [0] * WORKERS
        workers = [
            # A thread is born in the namespace of the one that starts it.
            threading.Thread(target=_ask, args=(client, end, counts, number))
            for number, client in enumerate(host.clients(WORKERS))
        ]
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / SECONDS


def _ask(client, end, counts, number):
    while time.monotonic() < end:
        with socket.create_connection((VIP[4], 80), timeout=20, source_address=(client, 0)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while connection.recv(4096):
                pass
        counts[number] += 1


def _table(found, queues):
    rows = []
    for way, what in WAYS.items():
        beside = found[BESIDE][way]
        rows += [
            Row(
                what=f"{what}, {packet_filter} to {BESIDE}",
                unit="ratio",
                runs=tuple(one / other for one, other in zip(found[packet_filter][way], beside, strict=True)),
            )
            for packet_filter in found
            if packet_filter != BESIDE
        ]
        unit = "connections/s" if way == "new" else "MB/s"
        rows.append(Row(what=f"{what}, {BESIDE} itself", unit=unit, runs=tuple(beside)))
    return Table(title=f"{queues} pair{'' if queues == 1 else 's'} of queues", rows=tuple(rows))


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m vm.figures", description=__doc__.partition("\n")[0])
    parser.add_argument("--kernel", default="6.1", choices=SOURCES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filters", nargs="+", default=list(FILTERS), choices=FILTERS, help=f"{BESIDE} among them")
    parser.add_argument("--queues", type=int, nargs="+", default=[1, 2], help="pairs of queues of the cards")
    parser.add_argument("--output", type=Path, default=HERE, help="directory for results.json and RESULTS.md")
    chosen = parser.parse_args()
    before, began, date = this_machine.load(), time.monotonic(), datetime.now(UTC)
    figure = measure(chosen.kernel, rounds=chosen.rounds, queues=chosen.queues, filters=chosen.filters)
    measured = Measured(
        name=f"vm-{chosen.kernel}",
        command=f"python -m vm.figures {' '.join(sys.argv[1:])}".strip(),
        date=f"{date:%Y-%m-%d %H:%M}",
        seconds=time.monotonic() - began,
        machine=this_machine.describe(),
        load=before,
        commit=this_machine.commit(),
        figure=figure,
    )
    print(page(measured))
    save((load(chosen.output) | {measured.name: measured}).values(), chosen.output)


if __name__ == "__main__":
    main()
