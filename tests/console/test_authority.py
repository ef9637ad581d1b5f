"""The certificate of the farm's authority, which everybody may have from a console."""

import asyncio

from console_nodes import console_here

from hcsidecar.core.joining.console_certificate import ConsoleCertificateTerms

PEM = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
TERMS = ConsoleCertificateTerms(node="web1", farm="apache", authority=PEM, names=("web1",), nonce="0" * 32)


def told(tmp_path, story):
    async def run():
        async with console_here(tmp_path) as console:
            certificates = console.nodes["web1"].control.certificates
            await story(console, certificates)

    asyncio.run(run())


def asked(console):
    """Give how often the daemon was asked for it."""
    return console.asked.count(("GET", "/api/v1/certificates/console"))


def test_everybody_may_have_it_without_signing_in(tmp_path):
    async def story(console, certificates):
        certificates.terms = lambda: TERMS
        status, headers, content = await console.ask("GET", "/ca.pem", role=None)
        assert (status, content.decode()) == (200, PEM)
        assert headers["Content-Type"] == "application/x-x509-ca-cert"
        assert headers["Content-Disposition"] == 'attachment; filename="apache-ca.pem"'
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in headers

    told(tmp_path, story)


def test_many_strangers_ask_the_daemon_once(tmp_path):
    async def story(console, certificates):
        certificates.terms = lambda: TERMS
        answers = await asyncio.gather(*(console.ask("GET", "/ca.pem", role=None) for _ in range(50)))
        assert [status for status, _, _ in answers] == [200] * 50
        assert asked(console) == 1

    told(tmp_path, story)


def test_a_farm_without_an_authority_says_how_to_get_one(tmp_path):
    async def story(console, _certificates):
        status, _, content = await console.ask("GET", "/ca.pem", role=None)
        assert (status, "this farm has no certificate authority" in content.decode()) == (404, True)

    told(tmp_path, story)


def test_a_node_that_is_about_to_have_one_says_so(tmp_path):
    async def story(console, certificates):
        soon = ConsoleCertificateTerms(node="web1", farm="apache", problem="web1 has no certificate yet", soon=True)
        certificates.terms = lambda: soon
        status, _, content = await console.ask("GET", "/ca.pem", role=None)
        assert (status, "web1 has no certificate yet" in content.decode()) == (503, True)

    told(tmp_path, story)


def test_nothing_but_reading_it_is_served_there(tmp_path):
    async def story(console, _certificates):
        for method in ("POST", "PUT", "DELETE"):
            assert (await console.ask(method, "/ca.pem", role=None))[0] == 405
        assert (await console.ask("GET", "/ca.pem?x=1", role=None))[0] == 400
        assert (await console.ask("GET", "/ca.key", role=None))[0] == 404

    told(tmp_path, story)
