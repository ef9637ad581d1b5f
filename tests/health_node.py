"""A node's health listeners without a daemon, and the plainest of clients."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.web.aiohttp_bridge import counting_logger, health_middleware
from hcsidecar.web.listener import HealthServer

OK = HealthAnswer(ok=True, node="web1", state="UP(Ready)")
DOWN = HealthAnswer(ok=False, node="web1", state="UP(NotReady)", reason="check HTTP_APACHE: connection refused")
DRAINING = HealthAnswer(ok=False, node="web1", state="UP(Ready)", reason="drained by root", draining=True)
LONG_ANSWER = 20_000_000
LIMIT = 10.0
"Seconds that any step of a test may take."


@dataclass
class HealthNode:
    """What a test needs of a running server."""

    face: HealthFace
    server: HealthServer
    address: tuple[str, int]

    def say(self, answer):
        self.face.set_answer(answer, now=asyncio.get_running_loop().time())

    async def connect(self, **kwargs):
        return await asyncio.open_connection(*self.address, **kwargs)

    async def ask(self, request, **kwargs):
        """Send bytes on a connection of their own, and give all that comes until the server closes."""
        reader, writer = await self.connect(**kwargs)
        try:
            writer.write(request)
            return await asyncio.wait_for(reader.read(), LIMIT)
        finally:
            writer.close()

    async def is_answered(self):
        """Tell whether a new probe gets its answer."""
        return await self.ask(b"GET /health HTTP/1.0\r\n\r\n") == self._expected()

    def _expected(self):
        return self.face._responses["GET", "HTTP/1.0", False]


@asynccontextmanager
async def health_node(*, answer=OK, limits=None, tls=None, tls_beside=lambda: None, app=None, host="127.0.0.1"):
    """Run a server on a free port; with an `app`, hand over to it what is no probe."""
    face = HealthFace(farm="apache", path="/health", answer=answer, now=asyncio.get_running_loop().time())
    server = HealthServer(face, limits=limits)
    runner = None
    if app is not None:
        app.middlewares.append(health_middleware(face))
        logger = counting_logger(server.connections.refusals)
        runner = web.AppRunner(app, access_log=None, logger=logger, shutdown_timeout=0.2)
        await runner.setup()
    try:
        await server.start(((host, 0),), tls=tls, tls_beside=tls_beside, api=runner and runner.server)
        yield HealthNode(face, server, server.addresses[0])
    finally:
        await server.close()
        if runner is not None:
            await runner.cleanup()


def echo_app():
    """An API that says what it was asked, has one long answer and one bug."""

    async def echo(request):
        body = await request.read()
        return web.Response(text=f"{request.method} {request.path} {len(body)}\n")

    async def long_answer(request):
        response = web.StreamResponse(headers={"Connection": "close"})
        await response.prepare(request)
        for _ in range(LONG_ANSWER // 10_000):
            await response.write(b"x" * 10_000)
        return response

    async def bug(request):
        raise RuntimeError("a bug of ours")

    app = web.Application(client_max_size=2**20)
    app.router.add_get("/long", long_answer)
    app.router.add_get("/bug", bug)
    app.router.add_route("*", "/{path:.*}", echo)
    return app


async def read_answer(reader, *, bodiless=False):
    """Read one HTTP answer of a connection that stays: head and body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT)
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: "))
    return head + (b"" if bodiless else await asyncio.wait_for(reader.readexactly(length), LIMIT))


def tls_contexts(directory):
    """Give a server's TLS context and one for clients that trust it; the certificate is for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / "web1.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))
