"""Farms of virtual machines on stock kernels: the package, its unit, a virtual IP, and what clients see of it.

One farm boots for each kernel and serves all tests. Every test says what it needs of it, and finds it so.
"""

import hashlib
import os
import random
import time
from contextlib import contextmanager
from math import inf

import pytest
from lan.bulk import download, upload
from lan.site import VIP
from lan.traffic import Failure, crowd
from vm import seen
from vm.kernels import kernel
from vm.machine import Build, Machine
from vm.servers import farm

KERNELS = os.environ.get("KERNELS", "6.1 6.12").split()
CASES = [(delivery, name) for delivery in ("directed", "flooded") for name in ("xdp", "tc", "nfqueue")]
STORIES = [("directed", "auto"), ("flooded", "auto")]
EXACT = "QUICK" not in os.environ
"Whether the package is built from just these sources, or the Python files laid over one with the same dependencies."
CLIENTS = 64
BULK = 20_000_000
PATIENCE = 20
"Seconds that a client waits: longer than a takeover, so that only what is really lost counts as failed."

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module", params=KERNELS)
def made(request):
    say(f"Linux {request.param}: three machines boot")
    with farm(Build(kernel=kernel(request.param)), exact=EXACT) as booted:
        yield booted


# Of a lower scope than the machines, so that these boot once for all cases.
@pytest.fixture(scope="class", params=CASES, ids="-".join)
def case(request):
    return request.param


@pytest.fixture(scope="class", params=STORIES, ids="-".join)
def story(request):
    return request.param


def say(text):
    print(f"\n{time.strftime('%H:%M:%S')} {text}", flush=True)


def ready(made, delivery, packet_filter):
    """Let all machines run and serve so, whatever a test before has done to them."""
    if dead := [name for name in made.names if not made.machines[name].is_running]:
        made.revive(*dead)
    if made.configured != (delivery, packet_filter):
        say(f"{delivery} delivery, filter {packet_filter}: the daemons start")
        made.configure(delivery=delivery, packet_filter=packet_filter)
    return made.start().serving()


def checked(made, what):
    return seen.check(made.machines["web1"].build.kernel, what)


@contextmanager
def newcomers(made):
    """Let clients of both families come all the time; gives the two crowds of them."""
    # An emulated queue in Python passes a packet in some milliseconds.
    rate = 3 if made.configured[1] == "nfqueue" else 15
    host = made.network.clients
    with crowd(host) as clients:
        coming = [
            clients.newcomers(VIP[family], host.clients(CLIENTS, family), rate=rate, timeout=PATIENCE)
            for family in (4, 6)
        ]
        for one in coming:
            one.wait_for_more(CLIENTS, limit=90)
        yield coming
        for one in coming:
            one.wait_for_more(CLIENTS, limit=90)


def attempts_of(coming, *, since=0.0):
    return [attempt for one in coming for attempt in one.attempts if attempt.began >= since]


def failed(coming, *, but_between=(inf, inf)):
    """Give the attempts that came to nothing, as lines to be read.

    Not those that were under way at some time between two moments, in which a server was given up: its connections are
    reset, and a slow machine takes a second over one.
    """
    given_up, replaced = but_between
    found = sorted(
        (attempt for one in coming for attempt in one.failed if attempt.ended < given_up or attempt.began > replaced),
        key=lambda attempt: attempt.began,
    )
    first = min((attempt.began for attempt in attempts_of(coming)), default=0)
    return [
        f"{attempt.began - first:.1f} s: {attempt.client} {'not ' if attempt.connected is None else ''}connected, "
        f"{attempt.failure.value} after {attempt.ended - attempt.began:.1f} s"
        for attempt in found
    ]


def drops_out_and_returns(made, story, what, *, strike, heal=lambda _: None, resets=False):
    """Let the director (directed) or another node drop out under clients, and come back; nobody may fail for it.

    `strike` and `heal` take its machine. `resets`: what it had when it dropped out may fail until it is replaced.
    """
    ready(made, *story)
    with checked(made, f"{story[0]}: {what}") as figures:
        victim = made.director(4) or "web2"
        with newcomers(made) as coming:
            struck = time.monotonic()
            strike(made.machines[victim])
            made.serving(*(name for name in made.names if name != victim))
            replaced = time.monotonic()
            heal(made.machines[victim])
            made.serving()
        assert failed(coming, but_between=(struck, replaced) if resets else (inf, inf)) == []
        figures.update(told(coming))


def longest_wait(coming):
    """Give the longest time in seconds that a client waited for an answer that came."""
    return max(attempt.ended - attempt.began for attempt in attempts_of(coming) if attempt.server)


def told(coming):
    """Give the figures of a story for the table."""
    return {
        "": f"{len(failed(coming))} of {len(attempts_of(coming))} failed",
        "longest wait": f"{longest_wait(coming):.1f} s",
    }


def test_every_client_of_both_families_is_served_by_one_machine(made, case):
    delivery, packet_filter = case
    ready(made, delivery, packet_filter)
    with checked(made, f"{delivery}, {packet_filter}: clients") as figures:
        assert {made.filter_of(name) for name in made.names} == {packet_filter}
        with newcomers(made) as coming:
            pass
        assert failed(coming) == []
        servers = {}
        for attempt in attempts_of(coming):
            servers.setdefault(attempt.client, set()).add(attempt.server)
        assert {client: names for client, names in servers.items() if len(names) > 1} == {}
        assert len(servers) == 2 * CLIENTS
        assert set().union(*servers.values()) == set(made.names)
        figures["each has one server:"] = f"{CLIENTS} + {CLIENTS} IPv6"


def test_large_files_come_and_go_by_way_of_the_director(made, case, tmp_path):
    delivery, packet_filter = case
    ready(made, delivery, packet_filter)
    with checked(made, f"{delivery}, {packet_filter}: 20 MB") as figures:
        host = made.network.clients
        director = made.director(4)
        client = next(one for one in host.clients(CLIENTS) if made.owner(one) != director)
        file = tmp_path / "bulk"
        file.write_bytes(random.Random(9).randbytes(BULK))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()

        began = time.monotonic()
        upload(host, client, VIP[4], file, "bulk", limit=500)
        up = BULK / 1e6 / (time.monotonic() - began)
        machine = made.machines[made.owner(client)]
        assert machine.sh("sha256sum /run/files/bulk", limit=120).split()[0] == digest

        began = time.monotonic()
        assert hashlib.sha256(download(host, client, VIP[4], "bulk", limit=500)).hexdigest() == digest
        down = BULK / 1e6 / (time.monotonic() - began)
        machine.sh("rm /run/files/bulk")
        figures.update(up=f"{up:.1f} MB/s", down=f"{down:.0f} MB/s")


def test_a_gentle_stop_costs_nobody_a_request(made, story):
    ready(made, *story)
    with checked(made, f"{story[0]}: `systemctl stop`") as figures:
        leaver = made.director(4) or "web2"
        with newcomers(made) as coming:
            made.stop(leaver)
            made.serving(*(name for name in made.names if name != leaver))
        assert made.unit(leaver) == "inactive"
        assert failed(coming) == []
        figures.update(told(coming))


def test_a_killed_daemon_is_started_again_and_nobody_fails(made, story):
    def kill(machine):
        machine.sh("systemctl kill --signal KILL --kill-whom main hcsidecar")

    drops_out_and_returns(made, story, "daemon killed", strike=kill)


def test_a_frozen_daemon_is_replaced_and_its_thaw_harms_nobody(made, story):
    def signalling(signal):
        return lambda machine: machine.sh(f"kill -{signal} $(systemctl show --property MainPID --value hcsidecar)")

    what = "daemon frozen and thawed"
    drops_out_and_returns(made, story, what, strike=signalling("STOP"), heal=signalling("CONT"), resets=True)


def test_a_machine_that_stood_still_is_replaced_and_its_thaw_harms_nobody(made, story):
    """Its clock stood still as well, so that it goes on with a lease which is over for all others."""
    what = "machine paused and resumed"
    drops_out_and_returns(made, story, what, strike=Machine.freeze, heal=Machine.thaw, resets=True)


def test_a_dead_machine_costs_only_those_whom_it_was_serving(made, story):
    ready(made, *story)
    with checked(made, f"{story[0]}: machine killed") as figures:
        victim = made.director(4) or "web2"
        with newcomers(made) as coming:
            killed = time.monotonic()
            made.machines[victim].kill()
            made.serving(*(name for name in made.names if name != victim))
        # Who had begun before got half an answer, or the new owner does not know the connection.
        assert [one for one in attempts_of(coming, since=killed) if one.failure] == []
        assert {one.failure for one in attempts_of(coming)} <= {None, Failure.RESET, Failure.TIMEOUT, Failure.CLOSED}
        figures.update(told(coming))


ADDRESSES = """\
ip address add {ipv4}/24 dev {interface}
ip address add {ipv6}/64 dev {interface} nodad
ip route replace default via 192.0.2.1
ip -6 route replace default via 2001:db8::1 dev {interface}
"""
VLAN = "ip link add link eth0 name eth0.20 type vlan id 20\nip link set eth0.20 up"
BOND = """\
ip link add bond0 type bond mode active-backup miimon 100
ip link set eth0 down
ip link set eth0 master bond0
ip link set eth1 master bond0
ip link set bond0 up
"""


@contextmanager
def moved(made, script, interface, undo):
    """Give every machine another interface with its addresses, until the end of the block."""
    made.stop()
    for machine in made.machines.values():
        machine.sh(f"ip address flush dev eth0\n{script}\n{addresses(machine, interface)}", limit=120)
    try:
        yield
    finally:
        made.stop()
        for machine in made.machines.values():
            if machine.is_running:
                machine.sh(f"{undo}\nip link set eth0 up\n{addresses(machine, 'eth0')}", limit=120)


def addresses(machine, interface):
    return ADDRESSES.format(ipv4=machine.addresses[4], ipv6=machine.addresses[6], interface=interface)


# The clients of a VLAN are on a machine too: this one's own kernel may know no VLANs.
CLIENTS_ON_A_VLAN = """\
for number in $(seq 140 171); do
  ip address add 192.0.2.$number/24 dev eth0.20
  ip address add 2001:db8::$number/64 dev eth0.20 nodad
done
for number in $(seq 140 171); do
  curl --silent --show-error --max-time {patience} --interface 192.0.2.$number http://{vip4}/
  curl --silent --show-error --max-time {patience} --interface 2001:db8::$number 'http://[{vip6}]/'
done
"""


def test_on_a_vlan_every_client_is_served(made):
    ready(made, "directed", "auto")
    with checked(made, "directed, on a VLAN") as figures, moved(made, VLAN, "eth0.20", "ip link delete eth0.20"):
        nodes = {"web1", "web2"}
        made.start(*nodes).serving(*nodes)
        assert made.ask("web1", "layer-two")["interface"] == "eth0.20"
        script = CLIENTS_ON_A_VLAN.format(patience=PATIENCE, vip4=VIP[4], vip6=VIP[6])
        answers = made.machines["web3"].sh(script, limit=300).split()
        assert set(answers) == nodes
        figures.update({"filter": made.filter_of("web1"), "": f"0 of {len(answers)} failed"})


def test_on_a_bond_every_client_is_served_when_a_cable_is_pulled_as_well(made):
    ready(made, "directed", "auto")
    with (
        checked(made, "directed, on a bond (active-backup)") as figures,
        moved(made, BOND, "bond0", "ip link delete bond0"),
    ):
        made.start().serving()
        pulled = made.machines[made.director(4)]
        with newcomers(made) as coming:
            pulled.pull_cable(0)
            for one in coming:
                one.wait_for_more(CLIENTS, limit=90)
            pulled.plug_cable(0)
        assert made.ask("web1", "layer-two")["interface"] == "bond0"
        assert failed(coming) == []
        figures.update({"filter": made.filter_of("web1")} | told(coming))
