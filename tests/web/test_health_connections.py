import asyncio
import socket

from waiting import until

from hcsidecar.web.connections import ConnectionLimiter, Limits, close_our_half


class Held:
    """A connection that remembers how it was ended."""

    def __init__(self, connections, deadline):
        self.connections = connections
        self.deadline = deadline
        self.ended = []

    def expire(self):
        self.ended.append("expired")
        self.connections.forget(self)

    def crowd_out(self):
        self.ended.append("crowded out")


def test_each_connection_ends_at_its_own_deadline():
    async def story():
        connections = ConnectionLimiter(Limits(sweep_interval=0.01))
        now = asyncio.get_running_loop().time()
        over, later = Held(connections, now), Held(connections, now + 3600)
        connections.admit(later)
        connections.admit(over)
        await until(lambda: over.ended)
        assert over.ended == ["expired"]
        assert later.ended == []
        later.deadline = now
        await until(lambda: later.ended)
        assert len(connections) == 0

    asyncio.run(story())


def test_nobody_looks_while_nobody_is_here():
    async def story():
        connections = ConnectionLimiter(Limits(sweep_interval=0.01))
        for _ in range(3):
            held = Held(connections, 0.0)
            connections.admit(held)
            await until(lambda held=held: held.ended)
            await until(lambda: connections._sweep is None)

    asyncio.run(story())


def test_a_connection_of_the_api_has_no_deadline():
    async def story():
        connections = ConnectionLimiter(Limits(sweep_interval=0.01))
        api, probe = Held(connections, 0.0), Held(connections, 0.0)
        connections.admit(api)
        connections.hand_over(api)
        connections.admit(probe)
        await until(lambda: probe.ended)
        assert api.ended == []
        connections.end_all()
        assert api.ended == ["crowded out"]

    asyncio.run(story())


def test_closing_our_half_to_who_has_just_reset_the_connection_ends_it():
    async def story():
        made = asyncio.get_running_loop().create_future()

        class Server(asyncio.Protocol):
            def connection_made(self, transport):
                made.set_result(transport)

        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        client = socket.socket()
        client.setblocking(False)  # noqa: FBT003 - the socket module takes it so
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await asyncio.get_running_loop().sock_connect(client, server.sockets[0].getsockname())
        transport = await made
        client.close()
        close_our_half(transport)
        assert transport.is_closing()
        server.close()
        await server.wait_closed()

    asyncio.run(story())
