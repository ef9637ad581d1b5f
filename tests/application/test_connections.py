"""Connections to the application, counted in the kernel's own tables."""

import asyncio
import contextlib
import errno
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from hcsidecar.application.connections import ConnectionCounter, own_sockets
from hcsidecar.core.farmfile.farm_file import HttpCheck, L2Table, TcpCheck
from hcsidecar.core.farmfile.tables import ShareTable, VipTable

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/net/tcp")
PROC = Path("/proc/net")
CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))):
    sys.stdin.read()
"""


def check(port, address="127.0.0.1"):
    return TcpCheck(type="tcp", name="TCP", address=address, port=port)


def of_others():
    """Say that the sockets of this process are not the daemon's: here they play the clients."""
    return ()


def count(*checks, proc=PROC, own=of_others):
    return asyncio.run(ConnectionCounter(checks, proc=proc, own=own).count())


def become(wanted, *checks, own=of_others):
    """Wait until the count is as wanted: a connection takes a moment to get from one state to the next."""
    counted = []

    async def scene():
        connections = ConnectionCounter(checks, own=own)

        async def look():
            while counted[-1:] != [wanted]:
                counted.append(await connections.count())

        looking = asyncio.create_task(look())
        await until(looking.done, what=f"{wanted}")

    asyncio.run(scene())
    return True


class Server:
    """A listening socket, and pairs of connected ones; all closed at the end."""

    def __init__(self, stack, address="127.0.0.1"):
        self.stack = stack
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = stack.enter_context(socket.socket(family))
        self.listener.bind((address, 0))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]

    def connect(self, address="127.0.0.1"):
        """Give the client's and the server's end of a new connection."""
        client = self.stack.enter_context(socket.create_connection((address, self.port), timeout=5))
        server = self.stack.enter_context(self.listener.accept()[0])
        server.settimeout(5)
        return client, server


@pytest.fixture
def stack():
    with contextlib.ExitStack() as open_ones:
        yield open_ones


@linux
def test_a_port_without_clients_has_none(stack):
    server = Server(stack)
    assert count(check(server.port)) == {server.port: 0}


@linux
def test_connections_are_counted_by_port_and_those_of_others_are_not(stack):
    one, two, other = Server(stack), Server(stack), Server(stack)
    for server in (one, one, one, two, other):
        server.connect()
    assert count(check(one.port), check(two.port)) == {one.port: 3, two.port: 1}


@linux
def test_a_port_with_two_checks_is_counted_once(stack):
    server = Server(stack)
    server.connect()
    both = check(server.port), HttpCheck(type="http", name="HTTP", address="127.0.0.1", port=server.port)
    assert count(*both) == {server.port: 1}


@linux
def test_a_closed_connection_is_gone_though_the_kernel_remembers_it(stack):
    server = Server(stack)
    first, second = server.connect(), server.connect()
    first[0].close()
    first[1].close()
    second[1].close()  # this one goes to FIN_WAIT2, then TIME_WAIT
    assert become({server.port: 0}, check(server.port))


@linux
def test_a_client_that_has_said_all_still_waits_for_its_answer(stack):
    server = Server(stack)
    client, accepted = server.connect()
    client.shutdown(socket.SHUT_WR)
    assert accepted.recv(1) == b""
    assert count(check(server.port)) == {server.port: 1}


@linux
def test_an_answer_that_is_still_on_its_way_counts_although_the_application_has_closed(stack):
    server = Server(stack)
    client, accepted = server.connect()
    accepted.settimeout(0)
    with contextlib.suppress(BlockingIOError):
        while True:
            accepted.send(b"x" * 65536)
    accepted.close()
    assert count(check(server.port)) == {server.port: 1}
    while client.recv(1 << 20):
        pass
    assert become({server.port: 0}, check(server.port))


# Who is no client


@linux
@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.5", "::1"])
def test_a_connection_of_the_daemon_itself_is_no_client(stack, address):
    if ":" in address and not (PROC / "tcp6").exists():
        pytest.skip("needs IPv6")
    server = Server(stack, address)
    server.connect(address.removeprefix("::ffff:"))
    at = check(server.port, address.removeprefix("::ffff:"))
    assert count(at) == {server.port: 1}
    assert count(at, own=own_sockets) == {server.port: 0}


@linux
def test_a_connection_of_another_process_of_this_machine_is_a_client(stack):
    server = Server(stack)
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(server.port)], stdin=subprocess.PIPE)
    try:
        stack.enter_context(server.listener.accept()[0])
        server.connect()
        assert count(check(server.port), own=own_sockets) == {server.port: 1}
    finally:
        client.communicate(timeout=10)


@linux
def test_a_client_that_has_given_up_is_none_though_the_application_has_not_noticed(stack):
    """As a check that found the application hanging."""
    server = Server(stack)
    client, _ = server.connect()
    client.close()
    assert become({server.port: 0}, check(server.port))


@linux
def test_a_client_of_this_machine_that_the_kernel_has_forgotten_is_none(tmp_path):
    clients = {"0100007F:C350 0100007F:0050 06": 0, "0100007F:C351 0100007F:0050 01": 77}
    servers = ["0100007F:0050 0100007F:C34F", "0100007F:0050 0100007F:C351", "0100007F:0050 050200C0:C34F"]
    lines = [f"{line} {'0:0 0:0 0 0 0'} {inode} 1" for line, inode in clients.items()]
    lines += [f"{line} 08 0:0 0:0 0 0 0 5 1" for line in servers]
    (tmp_path / "tcp").write_text("".join(f"   {number}: {line}\n" for number, line in enumerate(lines)))
    # Left are the one with a living near end, and the one from another machine.
    assert count(check(80), proc=tmp_path) == {80: 2}


# Which addresses count


@linux
def test_a_check_on_loopback_stands_for_all_addresses(stack):
    server = Server(stack)
    for_clients = stack.enter_context(socket.socket())
    for_clients.bind(("127.0.0.5", server.port))
    for_clients.listen()
    stack.enter_context(socket.create_connection(("127.0.0.5", server.port)))
    assert count(check(server.port)) == {server.port: 1}


@linux
def test_a_server_on_all_addresses_is_counted_with_all_of_them(stack):
    server = Server(stack, "0.0.0.0")
    server.connect("127.0.0.1")
    server.connect("127.0.0.5")
    assert count(check(server.port, "127.0.0.5")) == {server.port: 2}


@linux
def test_two_nodes_on_one_machine_do_not_count_each_others_connections(stack):
    one = Server(stack, "127.0.0.5")
    two = stack.enter_context(socket.socket())
    two.bind(("127.0.0.6", one.port))
    two.listen()
    one.connect("127.0.0.5")
    stack.enter_context(socket.create_connection(("127.0.0.6", one.port)))
    assert count(check(one.port, "127.0.0.5")) == {one.port: 1}


@linux
@pytest.mark.skipif(not (PROC / "tcp6").exists(), reason="needs IPv6")
def test_ipv6_is_counted(stack):
    server = Server(stack, "::1")
    server.connect("::1")
    assert count(check(server.port, "::1")) == {server.port: 1}


@linux
@pytest.mark.skipif(not (PROC / "tcp6").exists(), reason="needs IPv6")
def test_ipv4_clients_of_an_ipv6_socket_are_counted(stack):
    server = Server(stack, "::ffff:127.0.0.5")
    server.connect("127.0.0.5")
    assert count(check(server.port, "127.0.0.5")) == {server.port: 1}


# When it cannot be told


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7"])
def test_an_application_on_another_machine_is_unknown(address):
    assert count(check(80, address)) is None


@linux
def test_what_else_is_checked_on_other_machines_does_not_matter(stack):
    server = Server(stack)
    server.connect()
    assert count(check(server.port), check(5432, "198.51.100.7")) == {server.port: 1}


def test_without_checks_there_is_nothing_to_wait_for():
    assert count() == {}


def test_a_system_without_the_tables_says_unknown(tmp_path):
    assert count(check(80), proc=tmp_path) is None


@linux
def test_a_kernel_without_ipv6_is_no_hindrance(stack, tmp_path):
    server = Server(stack)
    server.connect()
    shutil.copy(PROC / "tcp", tmp_path / "tcp")
    assert count(check(server.port), proc=tmp_path) == {server.port: 1}


def test_lines_that_are_no_sockets_are_passed_over(tmp_path):
    (tmp_path / "tcp").write_bytes(b"  sl  local_address rem_address   st\n\xff\xfe\n\n   0: 0100007F:0050\n")
    assert count(check(80), proc=tmp_path) == {80: 0}


@linux
@pytest.mark.parametrize("vip", [None, "127.0.0.9"])
def test_connections_to_a_shared_port_count_at_its_virtual_ip_without_any_check(vip):
    with contextlib.ExitStack() as stack:
        server = Server(stack, "0.0.0.0")
        server.connect("127.0.0.9")
        # Built without validation: a farm file must not share a loopback address.
        vips = tuple(VipTable.model_construct(address=address) for address in ("127.0.0.9", "127.0.0.8"))
        share = ShareTable.model_construct(name="WEB", protocol="tcp", ports=(server.port,), vip=vip)
        l2 = L2Table.model_construct(vip=vips, share=(share,))
        assert asyncio.run(ConnectionCounter((), l2, own=of_others).count()) == {server.port: 1}
        dns = ShareTable.model_construct(name="DNS", protocol="udp", ports=(server.port,), vip=vip)
        assert (
            asyncio.run(ConnectionCounter((), L2Table.model_construct(vip=vips, share=(dns,)), own=of_others).count())
            == {}
        )


def test_without_a_descriptor_to_look_at_its_own_sockets_a_daemon_counts_nothing():
    def refused():
        raise OSError(errno.EMFILE, "Too many open files")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert count(check(listener.getsockname()[1]), own=refused) is None
