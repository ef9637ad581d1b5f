"""A node is stopped by its button in the browser while clients ask: none of them may notice."""

import http.client
import subprocess
import threading
from collections import Counter
from contextlib import contextmanager

import pytest
from applications import Application
from browser.test_farm_page import card, sign_in
from daemons import UnixConnection, real_farm, wait_for
from haproxy import BACKEND, HEAD, needs_haproxy
from playwright.sync_api import expect

from hcsidecar.core.access.roles import AccessRole

pytestmark = needs_haproxy

START = """
    cd "$(dirname "$0")/../pages/$HCSIDECAR_NODE"
    address=$(cat address)
    setsid "$HCSIDECAR_PYTHON" -m http.server --bind "$address" 8080 >/dev/null 2>&1 &
    echo $! >"$HCSIDECAR_STATE_DIR/application.pid"
    for _ in $(seq 100); do
        "$HCSIDECAR_PYTHON" -c "import socket; socket.create_connection(('$address', 8080), 1)" 2>/dev/null && exit 0
        sleep 0.1
    done
    exit 1
"""
STOP = """
    kill "$(cat "$HCSIDECAR_STATE_DIR/application.pid")" 2>/dev/null
    exit 0
"""
FARM = """
[application]
start = "bin/start"
stop = "bin/stop"
"""


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    directory = tmp_path_factory.mktemp("farm")
    application = Application(directory)
    application.write("start", START)
    application.write("stop", STOP)
    with real_farm(directory, extra=FARM) as made:
        for name, address in made.addresses.items():
            page = directory / "pages" / name
            page.mkdir(parents=True)
            (page / "address").write_text(address)
            (page / "index.html").write_text(name)
        try:
            yield made.start().all_ready()
        finally:
            # A daemon that is ended in haste leaves its application running.
            made.cli("stop", "--all")


@contextmanager
def balanced(directory, farm):
    """Run HAProxy before the farm; give the socket for clients."""
    clients = directory / "clients.sock"
    servers = [
        f"    server {name} {address}:8080 check port 9010 inter 200ms fall 1 rise 1"
        for name, address in farm.addresses.items()
    ]
    config = directory / "haproxy.cfg"
    config.write_text(
        HEAD.format(socket=directory / "haproxy.sock") + BACKEND.format(directory=directory) + "\n".join(servers) + "\n"
    )
    process = subprocess.Popen(["haproxy", "-db", "-q", "-f", config])
    try:
        wait_for(clients.exists, what="HAProxy's socket")
        yield clients
    finally:
        process.terminate()
        process.wait(10)


class Clients:
    """Clients who ask HAProxy one after the other, each on a connection of its own."""

    def __init__(self, make):
        self.served, self.failed = Counter(), []
        self._make, self._over = make, threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def _ask(self):
        while not self._over.is_set():
            connection = self._make()
            try:
                connection.request("GET", "/")
                response = connection.getresponse()
                said = response.read().decode()
                if response.status == 200:
                    self.served[said] += 1
                else:
                    self.failed.append(f"{response.status} {said[:100]}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()
            self._over.wait(0.005)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()


def test_no_client_notices_that_a_node_is_stopped_and_started_by_its_buttons(browsing, consoles, farm, tmp_path):
    page = sign_in(browsing.open(), consoles["web1"], AccessRole.CONTROL)
    dialog = page.get_by_role("dialog")
    with balanced(tmp_path, farm) as clients, Clients(lambda: UnixConnection(clients)) as load:
        wait_for(lambda: len(load.served) == 3, what="all three serve")
        # Clients may be refused while HAProxy has not checked any server yet.
        load.failed.clear()
        card(page, "web2").get_by_role("button", name="Stop web2").click()
        expect(dialog).to_contain_text("Then 2 of 3 nodes are Ready.")
        dialog.get_by_role("button", name="Stop").click()
        expect(card(page, "web2").locator(".card.stopped")).to_be_visible()
        load.served.clear()
        wait_for(lambda: sum(load.served.values()) > 50, what="more requests")
        assert set(load.served) == {"web1", "web3"}
        dialog.get_by_role("link", name="Close").click()
        card(page, "web2").get_by_role("button", name="Start web2").click()
        dialog.get_by_role("button", name="Start").click()
        expect(card(page, "web2").locator(".card.good")).to_be_visible()
        wait_for(lambda: load.served["web2"] > 10, what="web2 serves again")
    assert load.failed == []
