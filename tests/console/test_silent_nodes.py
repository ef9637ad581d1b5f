"""A node that lets everybody wait: nobody waits for it twice, and everything else is shown."""

import asyncio

from console_nodes import console_here, eventually
from pages import browser

from hcsidecar.api.control import ApiAddress
from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.observer import FarmObserver
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.documents import FarmStatus, NodeFacts, NodeStatus
from hcsidecar.core.farmfile.values import HostPort


def told(tmp_path, story):
    """Tell a story of a farm whose web3 takes connections and never answers."""

    async def run():
        async with console_here(tmp_path) as console:
            ended = asyncio.Event()

            async def wait(_reader, writer):
                await ended.wait()
                writer.close()

            server = await asyncio.start_server(wait, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            console.nodes["web1"].control.nodes["web3"] = ApiAddress(address=HostPort("127.0.0.1", port))
            try:
                await story(console)
            finally:
                ended.set()
                server.close()

    asyncio.run(run())


def asked_of_web3(console):
    """Give what has been asked of web3, and forget what was asked so far."""
    found = [path.removeprefix("/api/v1/nodes/web3") for _, path in console.asked if "/nodes/web3/" in path]
    console.asked.clear()
    return found


def test_a_page_asks_a_silent_node_for_its_state_and_for_nothing_else(tmp_path):
    async def story(console):
        async with browser(console, AccessRole.MONITOR) as ask:
            asked_of_web3(console)
            status, _, page = await ask("GET", "/")
            assert (status, asked_of_web3(console)) == (200, ["/status"])
            assert "web3 has not answered within 0.72 s" in page
            assert page.count(">Ready<") >= 2

    told(tmp_path, story)


def test_documents_of_all_nodes_name_the_silent_one_without_asking_it_again(tmp_path):
    async def story(console):
        for path in ("checks", "series", "settings", "counters", "events"):
            await console.ask("GET", "/api/v1/farm")
            asked_of_web3(console)
            _, _, told = await console.ask("GET", f"/api/v1/{path}")
            assert asked_of_web3(console) == []
            problems = told.get("problems") or {each["node"]: each["problem"] for each in told["nodes"]}
            assert problems["web3"] == "web3 has not answered within 0.72 s"

    told(tmp_path, story)


def test_a_node_that_was_silent_is_asked_for_everything_as_soon_as_it_answers(tmp_path):
    async def story(console):
        silent = console.nodes["web1"].control.nodes["web3"]
        await console.ask("GET", "/api/v1/farm")
        port = console.nodes["web3"].server.sockets[0].getsockname()[1]
        assert port != silent.address.port
        console.nodes["web1"].control.nodes["web3"] = ApiAddress(address=HostPort("127.0.0.1", port))

        async def answers():
            _, _, farm = await console.ask("GET", "/api/v1/farm")
            return farm["nodes"][2]["answers"]

        await eventually(answers)
        _, _, checks = await console.ask("GET", "/api/v1/checks")
        assert checks["nodes"][2]["answers"]

    told(tmp_path, story)


class HangingClient:
    """Answers for web1 and web2; web3 lets the first request wait in vain, and further ones for ever."""

    def __init__(self):
        self.asked = []
        self.is_silent = False

    def why_silent(self):
        return None

    def why_node_silent(self, node):
        return "it is dead" if node == "web3" and self.is_silent else None

    async def document(self, path, _kind, *, node="web1", limit):
        self.asked.append((node, path))
        if path == "/facts":
            names = ("web1", "web2", "web3")
            return NodeFacts(farm="apache", node="web1", version="1", nodes=names, keep_ready=1, lame_duck=10.0)
        if node == "web3":
            if self.is_silent:
                await asyncio.Event().wait()
            self.is_silent = True
            raise NoAnswerError("it is dead", own=False)
        rows = tuple(NodeStatus(name=name, alive=True) for name in ("web1", "web2", "web3"))
        return FarmStatus(farm="apache", node=node, view=("web1", "web2"), nodes=rows)


def test_a_look_asks_a_node_that_was_silent_and_does_not_wait_for_it():
    async def story():
        client = HangingClient()
        observer = FarmObserver(client)
        await observer.overview()
        client.asked.clear()

        async def has_looked_again():
            overview = await observer.overview()
            assert [node.answers for node in overview.nodes] == [True, True, False]
            return client.asked

        await eventually(has_looked_again)
        assert ("web3", "/status") in client.asked
        # The request is still in progress: the next look begins no second one.
        client.asked.clear()
        await eventually(has_looked_again)
        assert ("web2", "/status") in client.asked
        assert ("web3", "/status") not in client.asked

    asyncio.run(story())
