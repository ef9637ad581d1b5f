"""Receivers of notifications on this machine: a web server and a mail server, with certificates, that can misbehave."""

import asyncio
import base64
import json
import ssl
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(directory, host="127.0.0.1"):
    """Write host.crt and host.key for an address, signed by itself; give the names of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "host.crt").write_bytes(certificate.public_bytes(pem))
    (directory / "host.key").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))
    return "host.crt", "host.key"


def server_context(directory):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "host.crt", directory / "host.key")
    return context


class WebServer:
    """Remembers what is posted to it, as (path, headers, document)."""

    def __init__(self, *, status=200, answer=b"", hangs=False):
        self.status, self.answer, self.hangs = status, answer, hangs
        self.posts = []
        self.begun = 0

    async def serve(self, reader, writer):
        self.begun += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            request, *lines = head.split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            if self.hangs:
                await self.over.wait()
            self.posts.append((request.split()[1], headers, json.loads(body)))
            writer.write(
                b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (self.status, len(self.answer)) + self.answer
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()


class MailServer:
    """Speaks as much SMTP as a client needs, and remembers each mail as (sender, recipients, text)."""

    def __init__(self, *, context=None, login=None, refuses=(), hangs=False):
        self.context, self.login, self.refuses, self.hangs = context, login, refuses, hangs
        self.mails = []

    async def serve(self, reader, writer):
        try:
            await self._talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader, writer):
        def say(text):
            writer.write(text.encode() + b"\r\n")

        if self.hangs:
            await self.over.wait()
        say("220 mail.example.com")
        is_safe, is_known = self.context is None, self.login is None
        sender, recipients = "", []
        while line := (await reader.readline()).decode().strip():
            match line.split(":")[0].upper().split()[0]:
                case "EHLO" | "HELO":
                    say("250-mail.example.com")
                    say("250 AUTH PLAIN" if is_safe else "250 STARTTLS")
                case "STARTTLS":
                    say("220 go ahead")
                    await writer.start_tls(self.context)
                    is_safe = True
                case "AUTH":
                    _, user, password = base64.b64decode(line.split()[2]).decode().split("\0")
                    is_known = is_safe and (user, password) == self.login
                    say("235 welcome" if is_known else f"535 no such user or password: {password}")
                case "MAIL":
                    sender, recipients = line.split("<")[1].split(">")[0], []
                    say("250 ok" if is_safe and is_known else "530 log in first")
                case "RCPT":
                    recipient = line.split("<")[1].split(">")[0]
                    if recipient in self.refuses:
                        say("550 no such mailbox")
                    else:
                        recipients.append(recipient)
                        say("250 ok")
                case "DATA":
                    say("354 go on")
                    text = (await reader.readuntil(b"\r\n.\r\n")).decode()
                    self.mails.append((sender, recipients, text))
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("250 ok")
            await writer.drain()


@asynccontextmanager
async def listening(server, *, context=None, host="127.0.0.1"):
    """Let a server listen, with TLS from the first byte if there is a context; give its port."""
    server.over = asyncio.Event()
    listener = await asyncio.start_server(server.serve, host, 0, ssl=context)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        server.over.set()
        listener.close()


@contextmanager
def web_server(status=200):
    """Let a web server listen in a thread; give its URL and what is posted to it."""
    posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
