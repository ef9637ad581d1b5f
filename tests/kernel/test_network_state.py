"""What a support snapshot tells of the kernel's network, in a namespace of its own."""

import socket
import subprocess
import sys

from daemons import network_namespace

from l2mode.kernel import network_state

SHOW = """
import socket
from l2mode.kernel import network_state as state
server = socket.create_server(("198.51.100.7", 8080))
client = socket.create_connection(("198.51.100.7", 8080))
for read in (state.links, state.addresses, state.routes, state.neighbours, state.sockets_by_port):
    print("\\n".join(read()))
print("\\n".join(state.filters("lo")))
"""


def test_addresses_routes_sockets_and_filters_are_told():
    with network_namespace("198.51.100.7/32") as name:
        done = subprocess.run(
            ["ip", "netns", "exec", name, sys.executable, "-c", SHOW], capture_output=True, text=True, check=True
        )

    lines = done.stdout.splitlines()
    assert "lo: 198.51.100.7/32" in lines
    assert any(line.startswith("lo: up, MTU 65536") for line in lines)
    assert "198.51.100.7/32 on lo from 198.51.100.7, table 255" in lines
    assert "port 8080: 1 ESTABLISHED, 1 LISTEN" in lines
    assert "XDP: none" in lines


def test_an_interface_that_is_gone_is_told():
    assert network_state.filters("gone0") == ["there is no interface gone0"]


def test_ports_that_nobody_listens_on_are_left_out():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        told = {line.split(":")[0] for line in network_state.sockets_by_port()}
        ports = [f"port {each.getsockname()[1]}" for each in (server, client)]

    assert [port in told for port in ports] == [True, False]
