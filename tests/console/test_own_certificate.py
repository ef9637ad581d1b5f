"""The certificate of a console: it is the farm's where that can be, and is renewed while connections go on."""

import asyncio
import contextlib
import logging
import ssl
import time

import pytest
from api_nodes import running
from console_certificates import ECHO, certificates_of_web1
from waiting import on_a_loop

from hcsidecar.api.console import AdmitConsole
from hcsidecar.api.local import local_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import serve_unix
from hcsidecar.console.daemon_client import DaemonClient
from hcsidecar.console.own_certificate import AFTER_FAILURE, AWAY, LOOK, SOON, FarmAuthority, OwnCertificate
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.joining.certificates import CertificateReport
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.joining.authority import Authority

DAY = 86400
CANNOT = "cannot have a certificate of the farm's authority"
OWN = (
    "has a certificate that it has made for itself, which browsers do not know; as soon as it can have one of"
    " the farm's authority, it takes that"
)


class Console:
    """A server with the certificate of a console, and the clocks of both ends."""

    def __init__(self, client, daemon, clock):
        self.daemon, self.clock = daemon, clock
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.later = 0
        self.certificate = OwnCertificate(
            client, FarmAuthority(client), self.context, wall_clock=lambda: time.time() + self.later
        )

    async def connect(self, authority=""):
        """Connect as a browser that trusts the authority, or whatever comes; give the ends of the connection."""
        browser = ssl.create_default_context(cadata=authority or None)
        if not authority:
            browser.check_hostname, browser.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection(*self.address, ssl=browser, server_hostname="localhost")

    async def shown(self, authority=""):
        """Give the certificate that a new connection is shown, as DER."""
        _, writer = await self.connect(authority)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return found


@contextlib.asynccontextmanager
async def console(directory, *, begins=True, **more):
    certificates, _, clock = certificates_of_web1(directory, **more)
    path = directory / "console.sock"

    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async with running(["web1"], directory) as nodes, DaemonClient(path) as client:
        nodes["web1"].control.certificates = certificates
        app = local_app(
            Api(nodes["web1"].control),
            nodes["web1"].relay,
            admit=AdmitConsole(console=None, record=AccessRecord),
        )
        found = Console(client, certificates, clock)
        async with serve_unix(app, path) as found.socket:
            if begins:
                await found.certificate.begin()
            server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=found.context)
            async with server:
                found.address = server.sockets[0].getsockname()
                yield found


def authority(directory):
    return (directory / "ca.pem").read_text()


def warnings(caplog):
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@on_a_loop
async def test_who_trusts_the_farms_authority_trusts_the_console(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    async with console(tmp_path) as found:
        assert await found.shown(authority(tmp_path))
    [line] = [record.message for record in caplog.records if "authority" in record.message]
    assert line.startswith("has a certificate of the farm's authority (SHA-256 ")
    assert line.endswith(": there was none")


@on_a_loop
async def test_a_certificate_that_is_good_is_not_made_anew(tmp_path):
    async with console(tmp_path) as found:
        before = await found.shown()
        found.later = 59 * DAY
        assert await found.certificate.look() == LOOK
        assert await found.shown() == before


@pytest.mark.parametrize("why", ["age", "another authority"])
@on_a_loop
async def test_it_is_renewed_while_connections_go_on(tmp_path, why):
    async with console(tmp_path) as found:
        before = await found.shown(authority(tmp_path))
        reader, writer = await found.connect()
        if why == "age":
            found.later = 61 * DAY
        else:
            made = Authority.create("apache")
            made.write(AuthorityFiles.beside(tmp_path / "farm.key"), replace=True)
            found.daemon._tls.report = CertificateReport(authority=made.certificate.decode())
        await found.certificate.look()
        assert await found.shown(authority(tmp_path)) != before
        writer.write(b"still there\n")
        assert await reader.readline() == b"still there\n"
        writer.close()


@on_a_loop
async def test_without_an_authority_it_makes_one_for_itself_and_takes_the_farms_when_there_is_one(tmp_path, caplog):
    async with console(tmp_path, authority=False) as found:
        own = await found.shown()
        assert own
        assert warnings(caplog) == [
            f"{CANNOT}: this farm has no certificate authority: hcsidecar ca new makes one",
            OWN,
        ]
        assert await found.certificate.look() == LOOK
        assert len(warnings(caplog)) == 2
        made = Authority.create("apache")
        made.write(AuthorityFiles.beside(tmp_path / "farm.key"))
        assert await found.certificate.look() == SOON
        found.daemon._tls.report = CertificateReport(authority=made.certificate.decode())
        await found.certificate.look()
        assert await found.shown(authority(tmp_path)) != own


@on_a_loop
async def test_it_waits_a_moment_for_a_daemon_that_just_makes_its_own_certificate(tmp_path, caplog):
    async with console(tmp_path, begins=False, certified=False) as found:
        assert await found.certificate.look() == SOON
        begun = asyncio.create_task(found.certificate.begin())
        await asyncio.sleep(0)
        found.daemon._tls.report = CertificateReport(authority=authority(tmp_path))
        await begun
        assert await found.shown(authority(tmp_path))
    assert warnings(caplog) == []


@on_a_loop
async def test_it_does_not_wait_for_ever_for_a_daemon_that_cannot_make_its_own_and_says_so(tmp_path, caplog):
    async with console(tmp_path, begins=False, certified=False) as found:
        await found.certificate.begin(patience=SOON)
        assert await found.shown()
    assert warnings(caplog) == [
        f"{CANNOT}: the daemon of this node has no certificate of it either; its log says why",
        OWN,
    ]


@on_a_loop
async def test_a_daemon_that_is_away_is_news_only_before_the_first_certificate(tmp_path, caplog):
    async with console(tmp_path) as found, DaemonClient(tmp_path / "nobody") as away:
        before = await found.shown()
        found.certificate._authority = FarmAuthority(away)
        assert await found.certificate.look() == LOOK
        assert await found.shown() == before
        assert warnings(caplog) == []
        other = Console(away, found.daemon, found.clock)
        await other.certificate.begin()
        assert await other.certificate.look() == AWAY
        why = f"its daemon does not run: nobody listens on {tmp_path}/nobody"
        assert warnings(caplog) == [f"{CANNOT}: {why}", OWN]


@on_a_loop
async def test_where_no_new_one_is_made_it_goes_on_with_the_one_that_it_has(tmp_path, caplog):
    async with console(tmp_path) as found:
        before = await found.shown()
        found.daemon._command, found.later = ECHO, 61 * DAY
        for _ in range(2):
            assert await found.certificate.look() == AFTER_FAILURE
        assert await found.shown() == before
    assert warnings(caplog) == [
        f"{CANNOT}: web1; it goes on with the one that it has",
    ]


@on_a_loop
async def test_a_certificate_for_another_key_is_never_shown(tmp_path, caplog):
    issued = []

    async with console(tmp_path) as found:
        before = await found.shown()
        genuine = found.daemon.certify

        async def others(body):
            issued.append(await genuine(body))
            return issued[0]

        found.daemon.certify = others
        found.later = 61 * DAY
        await found.certificate.look()  # it is its own, and the first
        renewed = await found.shown()
        assert renewed != before
        found.later = 61 * DAY + 61 * DAY
        await found.certificate.look()  # and that of the first again
        assert await found.shown() == renewed
    assert [line for line in warnings(caplog) if "the certificate that was made cannot be used" in line]
