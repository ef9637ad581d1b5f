"""Checks that a web server answers a request with the right status and text."""

import ssl
from typing import Final

import aiohttp
from yarl import URL

from hcsidecar import __version__
from hcsidecar.application.checkers.pattern import TooSlowError, count_matches
from hcsidecar.application.checkers.reasons import describe
from hcsidecar.core.farmfile.farm_file import HttpCheck
from hcsidecar.system.blocking_calls import BlockingCalls

READ_LIMIT: Final = 65536
"Bytes of an answer in which the text is searched for; the rest is not read."


def open_session() -> aiohttp.ClientSession:
    """Return the session that all probes share, without connections to reuse, cookies, proxies and time limits."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A compressed answer that is not unpacked cannot fill the memory.
        auto_decompress=False,
        headers={"User-Agent": f"hcsidecar/{__version__}", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(),
        trust_env=False,
    )


class HttpProbe:
    """One check of a web server. Keeps its TLS context, because loading the authorities takes long."""

    def __init__(self, check: HttpCheck, session: aiohttp.ClientSession, calls: BlockingCalls) -> None:
        self._check = check
        self._session = session
        self._calls = calls
        self._trust: ssl.SSLContext | None = None

    async def probe(self) -> str | None:
        """Send one request; return why the answer is wrong, or None. A redirect is an answer, and is not followed.

        Has no time limit; may be cancelled.
        """
        check = self._check
        if check.tls != "off" and self._trust is None:
            # Loading the certificates of all authorities takes about 20 ms.
            self._trust = await self._calls.run_in_turn(lambda: _trust(verified=check.tls == "on"))
        path, _, query = check.path.partition("?")
        url = URL.build(
            scheme="http" if check.tls == "off" else "https",
            host=check.address,
            port=check.port,
            path=path,
            query_string=query,
            encoded=True,
        )
        headers = {} if check.host is None else {"Host": check.host}
        try:
            async with self._session.request(
                check.method,
                url,
                headers=headers,
                allow_redirects=False,
                ssl=self._trust or True,
                server_hostname=None if self._trust is None else check.server_name,
            ) as response:
                return await self._why_not(response)
        except aiohttp.ServerDisconnectedError:
            return "connection closed without an answer"
        except aiohttp.ClientConnectorCertificateError as error:
            return f"certificate: {_certificate_problem(error.certificate_error)}"
        except aiohttp.ClientSSLError as error:
            return f"no TLS: {_tls_problem(error)}"
        except OSError as error:
            return describe(error)
        except aiohttp.ClientPayloadError:
            return "answer broken off"
        except aiohttp.ClientError:
            return "no answer that is HTTP"

    async def _why_not(self, response: aiohttp.ClientResponse) -> str | None:
        check = self._check
        if not check.accepts(response.status):
            return f"status {response.status} instead of {', '.join(str(good) for good in check.status)}"
        if check.pattern is None:
            if check.body is None or await _contains(response.content, check.body.encode()):
                return None
            return f"{check.body!r} is not in the answer"
        pattern = check.pattern
        beginning = await _beginning(response.content)
        if check.body is not None and check.body.encode() not in beginning:
            return f"{check.body!r} is not in the answer"
        text = beginning.decode(errors="replace")
        try:
            found = await self._calls.run_in_turn(lambda: count_matches(pattern, [text]))
        except TooSlowError as error:
            return str(error)
        return None if found else f"nothing in the answer matches {pattern!r}"


def _trust(*, verified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _certificate_problem(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return str(error)


def _tls_problem(error: aiohttp.ClientSSLError) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    reason = cause.reason if isinstance(cause, ssl.SSLError) and cause.reason else "handshake failed"
    return reason.replace("_", " ").lower()


async def _beginning(body: aiohttp.StreamReader) -> bytes:
    """Read the first READ_LIMIT bytes."""
    seen = b""
    while len(seen) < READ_LIMIT:
        chunk = await body.read(READ_LIMIT - len(seen))
        if not chunk:
            break
        seen += chunk
    return seen


async def _contains(body: aiohttp.StreamReader, text: bytes) -> bool:
    """Return whether a text is in the first READ_LIMIT bytes; stop reading when it is found."""
    seen = b""
    while len(seen) < READ_LIMIT:
        chunk = await body.read(READ_LIMIT - len(seen))
        if not chunk:
            return False
        old = len(seen)
        seen += chunk
        if seen.find(text, max(0, old - len(text))) >= 0:
            return True
    return False
