"""The certificate of a console that is a process of its own, before a real daemon: whom it convinces, and how long."""

import contextlib
import http.client
import shutil
import socket
import ssl
import subprocess
import sys

import pytest
from daemons import UnixConnection, real_farm, wait_for
from health_node import tls_contexts
from own_directories import separate_farm
from real_consoles import command, console_of

from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.joining.authority import Authority

TAKES = 60
"Seconds for a look of the console, and for what it has made then, on a busy machine."


def authority_of(farm):
    Authority.create("apache").write(AuthorityFiles.beside(farm.directory / "farm.key"))


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    """Two nodes of one machine, with an authority, and with a certificate of the operator for the web port."""
    directory = tmp_path_factory.mktemp("farm")
    tls = '[web.tls]\ncert = "web1.pem"\nkey = "web1.pem"\n'
    with real_farm(directory, names=("web1", "web2"), extra=tls) as made:
        tls_contexts(directory)
        authority_of(made)
        made.start()
        for name in made.names:
            wait_for(lambda name=name: "made a certificate for this node" in made.log(name), limit=60)
        yield made


def shown(console, trusted, name="127.0.0.1"):
    """Connect as a browser that trusts an authority, by a name; give the names of the certificate. Raise SSLError."""
    browser = ssl.create_default_context(cadata=trusted)
    with (
        socket.create_connection(("127.0.0.1", console.port), timeout=30) as plain,
        browser.wrap_socket(plain, server_hostname=name) as secure,
    ):
        return [value for _, value in secure.getpeercert()["subjectAltName"]]


def ca(farm, name=None):
    directory = farm.directory if name is None else farm.own(name)
    return (directory / "ca.pem").read_text()


def test_whoever_trusts_the_farms_authority_trusts_the_console_of_each_node(farm):
    for node in farm.names:
        with console_of(farm, node, "--listen", "127.0.0.1:0") as console:
            for name in (node, "localhost", "127.0.0.1", farm.addresses[node]):
                names = shown(console, ca(farm), name)
            assert {node, farm.addresses[node]} <= {*names}
            for name in ({*farm.names} - {node}) | {"node.hcsidecar.internal", "example.org"}:
                with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                    shown(console, ca(farm), name)


def test_a_console_gives_away_what_to_trust_it_by(farm):
    with console_of(farm, "web1", "--listen", "127.0.0.1:0") as console:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", console.port, timeout=30, context=unverified)
        with contextlib.closing(connection):
            connection.request("GET", "/ca.pem")
            trusted = connection.getresponse().read().decode()
        assert shown(console, trusted)
        assert trusted == ca(farm)


def test_the_operators_certificate_is_used_where_the_console_is_given_one(farm):
    pem = farm.directory / "web1.pem"
    with console_of(farm, "web1", "--certificate", pem, "--key", pem) as console:
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            shown(console, ca(farm))
        assert console.farm()


def test_a_console_ends_when_it_is_told_to_and_says_so_where_it_cannot_listen(farm):
    with console_of(farm, "web1", "--listen", "127.0.0.1:0") as console:
        words = [sys.executable, "-P", "-m", "hcsidecar.console.start", "--listen", f"127.0.0.1:{console.port}"]
        socket = farm.socket("web1").with_name("console.sock")
        other = subprocess.run([*words, "--socket", socket], capture_output=True, text=True, timeout=60, check=False)
        assert other.returncode == 1
        assert f"the console cannot listen on 127.0.0.1:{console.port}: " in other.stderr
        assert "Traceback" not in other.stderr
        console.process.terminate()
        assert console.process.wait(30) == 0
        assert "the console has ended" in console.log.read_text()


def test_no_other_node_has_a_certificate_made_for_a_console_here(farm):
    for path in ("/api/v1/nodes/web2/certificates/console", "/api/v1/certificates/console"):
        connection = UnixConnection(farm.socket("web1").with_name("console.sock"))
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:20]) == (
                (400, b'{"reason":"a console') if "nodes" in path else (200, b'{"node":"web1","farm')
            )


def test_a_console_takes_the_authority_of_a_farm_that_gets_one_and_another_after_a_rotation(tmp_path):
    with separate_farm(tmp_path, names=("web1", "web2")) as farm:
        farm.start().all_ready()
        with console_of(farm, "web1", "--listen", "127.0.0.1:0") as console:
            assert "hcsidecar ca new makes one" in console.log.read_text()
            made = new_authority(farm)
            wait_for(lambda: verifies(console, made), limit=TAKES, what="a certificate of the authority")
            for name in farm.names:
                wait_for(lambda name=name: "made a certificate for this node" in farm.log(name), limit=TAKES)
            rotated = command(farm, "web1", "key", "rotate")
            assert rotated.returncode == 0, rotated.stdout + rotated.stderr
            assert ca(farm, "web1") != made
            wait_for(lambda: verifies(console, ca(farm, "web1")), limit=TAKES, what="one of the new authority")
            assert not verifies(console, made)
            assert console.process.poll() is None


def new_authority(farm):
    """Make an authority on one node and copy it to the others, as the manual says; give its certificate."""
    done = subprocess.run(
        [sys.executable, "-m", "hcsidecar", "ca", "new", "--config", farm.farm_file("web1")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for file in ("ca.key", "ca.pem"):
        shutil.copy2(farm.own("web1") / file, farm.own("web2"))
    return ca(farm, "web1")


def verifies(console, trusted):
    try:
        return shown(console, trusted)
    except ssl.SSLCertVerificationError:
        return None
