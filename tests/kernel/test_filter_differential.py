"""The program in the kernel does what its specification says, to the last byte, on whatever comes."""

import contextlib
import os
import random
import shutil
import socket
import subprocess

import pytest
from kernel.twins import CLIENTS, DNS4, SAID_BY_TC, SAID_BY_XDP, VIPS, Twins
from lan.namespaces import configure, inside, made, unique_prefix

from l2mode.core.reasons import REASONS
from l2mode.kernel import libbpf
from l2mode.kernel.libbpf import BpfFilter

SEED = 20240607
FRAMES = int(os.environ.get("HCSIDECAR_FRAMES", "100_000"))
"A virtual machine whose processor is emulated tries fewer."
PER_TABLE = 1000

SOURCE = libbpf.OBJECT.with_suffix(".c")
COMPILER = ["clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-fno-strict-aliasing", "-Werror"]

# what is broken, what the source says, what it says then
MUTANTS = [
    ("the lease does not count", "bpf_ktime_get_ns() >= READ_ONCE(tables.lease)", "false"),
    ("TIME_WAIT counts as a socket", "found = state != TCP_LISTEN && state != TCP_TIME_WAIT;", "found = state != 10;"),
    ("a listener counts as a socket", "found = state != TCP_LISTEN && state != TCP_TIME_WAIT;", "found = state != 6;"),
    ("sockets are looked for everywhere", "(tables.dirty || !other || handed_to_me) &&", "(tables.dirty || true) &&"),
    ("a first fragment goes by its ports", "ip->fragment & bpf_htons(0x3fff)", "ip->fragment & bpf_htons(0x1fff)"),
    ("the checksum stays", "ip->checksum = ~sum;", ""),
    ("the last hop is used", "!ttl || *ttl <= 1", "!ttl || *ttl < 1"),
    ("the chain starts anew", "dirty_members & (~0ULL << (tables.me & 63)) << 1", "dirty_members"),
    ("the chain is not marked", "action == CHAIN ? CHAIN_MARK : 0", "0"),
    ("whatever an error quotes is believed", "ip->source.low == vip.low && ip->source.high == vip.high", "true"),
    ("a redirect is no neighbour discovery", "type <= 137", "type <= 136"),
    ("one extension header less is walked", "#define MAX_EXTENSIONS 6", "#define MAX_EXTENSIONS 5"),
    ("a SYN with RST opens", "(SYN | ACK | RST)) == SYN", "(SYN | ACK)) == SYN"),
    ("the other half's directors count", "sum(half * VIPS, vip)", "sum((1 - half) * VIPS, vip)"),
    ("datagrams of IPv6 go by address", "if (v6 || tables.by[group] == BY_PORT)", "if (tables.by[group] == BY_PORT)"),
    ("what is passed on goes uncounted as such", "cell & PASS_ON ? PASSED_ON : TO_OWNER", "TO_OWNER"),
    ("who is out of the view takes what a member sends", "sender == cell;", "sender == (cell & ~PASS_ON);"),
    ("what no share names goes from member to member", "&& sender_of(from) == NOBODY", ""),
    ("a frame to the virtual MAC keeps it", "if (tables.flooded && data + ETHERNET <= end)", "if (false)"),
]

ENDS = ("established", "half closed here", "half closed there", "closed here", "closed there")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to load programs into the kernel")


@contextlib.contextmanager
def connections():
    """Give the flows that have sockets here, and others, in a network namespace of this thread's own."""
    name = unique_prefix() + "twins"
    with contextlib.ExitStack() as stack:
        stack.enter_context(made([name]))
        own = [str(vip) for vip in VIPS] + [socket.inet_ntop(_family(client), client) for client in CLIENTS]
        configure(name, ["link set lo up", *(f"address add {_host(address)} dev lo" for address in own)])
        stack.enter_context(inside(name))
        alive, idle = [], []
        everywhere = stack.enter_context(
            socket.create_server(("::", 443), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
        )
        for vip in map(str, VIPS):
            listeners = {443: everywhere}
            for port in (80, 22, 53) if vip == str(DNS4) else (80, 22):
                listeners[port] = stack.enter_context(socket.create_server((vip, port), family=_family_of(vip)))
            for port, listener in listeners.items():
                for number, client in enumerate(CLIENTS):
                    if _family(client) is not _family_of(vip):
                        continue
                    address = socket.inet_ntop(_family(client), client)
                    for end in ENDS:
                        flow = _connect(stack, listener, address=address, vip=vip, port=port, end=end)
                        (idle if end.startswith("closed") else alive).append(flow)
                    # Outside of the ports that connections get by themselves.
                    idle.append(Twins.flow(address, 20000 + number, vip, port))
        yield alive, idle


def _connect(stack, listener, *, address, vip, port, end):
    """Open a connection, and leave it as `end` says; who closes first keeps the memory of it, in TIME_WAIT."""
    there = stack.enter_context(socket.create_connection((vip, port), timeout=5, source_address=(address, 0)))
    here = stack.enter_context(listener.accept()[0])
    flow = Twins.flow(address, there.getsockname()[1], vip, port)
    match end:
        case "half closed here":
            here.shutdown(socket.SHUT_WR)
        case "half closed there":
            there.shutdown(socket.SHUT_WR)
        case "closed here":
            here.close()
            there.close()
        case "closed there":
            there.close()
            here.close()
    return flow


def _family(address):
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _family_of(text):
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def _host(text):
    return f"{text}/128 nodad" if ":" in text else f"{text}/32"


def first_difference(twins, *, frames, seed=SEED):
    chance = random.Random(seed)
    for number in range(frames):
        if number % PER_TABLE == 0:
            source = twins.shuffle(chance)
        found = twins.difference(source.frame())
        if found:
            return f"frame {number} of seed {seed}: {found}"
    return None


@needs_root
def test_a_hundred_thousand_frames_meet_the_same_decision_and_come_out_the_same():
    with connections() as (alive, idle), contextlib.closing(BpfFilter([SAID_BY_TC, SAID_BY_XDP])) as loaded:
        twins = Twins(loaded, alive=alive, idle=idle)
        assert first_difference(twins, frames=FRAMES) is None
    # Every reason must have been met often enough to mean something, and hardly a frame been too short to be run.
    assert {reason for reason in REASONS if twins.reasons[reason] < FRAMES / 1000} == set()
    assert twins.refused < FRAMES / 10


@pytest.mark.soak
@needs_root
@pytest.mark.parametrize("seed", range(10))
def test_a_million_more(seed):
    with connections() as (alive, idle), contextlib.closing(BpfFilter([SAID_BY_TC, SAID_BY_XDP])) as loaded:
        assert first_difference(Twins(loaded, alive=alive, idle=idle), frames=FRAMES, seed=seed) is None


@needs_root
@pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang, to compile the broken program")
@pytest.mark.parametrize(("says", "then"), [row[1:] for row in MUTANTS], ids=[row[0] for row in MUTANTS])
def test_a_program_with_one_thing_broken_is_noticed(says, then, tmp_path):
    whole = SOURCE.read_text()
    assert whole.count(says) == 1
    broken = tmp_path / "broken.bpf.c"
    broken.write_text(whole.replace(says, then))
    compiled = broken.with_suffix(".o")
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run([*COMPILER, include, "-c", broken, "-o", compiled], check=True, timeout=60)
    with connections() as (alive, idle), contextlib.closing(BpfFilter([SAID_BY_TC, SAID_BY_XDP], path=compiled)) as it:
        assert first_difference(Twins(it, alive=alive, idle=idle), frames=FRAMES // 4)
