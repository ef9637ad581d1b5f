"""Whether a web server answers a GET with the status, and the text, that it should."""

import aiohttp
from yarl import URL

from hcsidecar import __version__
from hcsidecar.app.checkers.reasons import describe
from hcsidecar.core.settings import HttpCheck

READ_LIMIT = 65536
"Bytes of an answer in which the text is looked for; the rest is not read."


def open_session() -> aiohttp.ClientSession:
    """Make the session that all probes share: it keeps no connections, cookies or proxies, and has no time limit."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        # What we do not unpack cannot grow in our memory.
        auto_decompress=False,
        headers={"User-Agent": f"hcsidecar/{__version__}", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(),
        trust_env=False,
    )


async def probe(check: HttpCheck, session: aiohttp.ClientSession) -> str | None:
    """Ask once; gives the reason when the answer is not as it should be. Redirects are answers and not followed.

    Has no time limit of its own, and may be cancelled.
    """
    url = URL.build(scheme="http", host=check.address, port=check.port, path=check.path, encoded=True)
    headers = {} if check.host is None else {"Host": check.host}
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if not check.accepts(response.status):
                return f"status {response.status} instead of {', '.join(str(good) for good in check.status)}"
            if check.body is not None and not await _contains(response.content, check.body.encode()):
                return f"{check.body!r} is not in the answer"
    except aiohttp.ServerDisconnectedError:
        return "connection closed without an answer"
    except OSError as error:
        return describe(error)
    except aiohttp.ClientPayloadError:
        return "answer broken off"
    except aiohttp.ClientError:
        return "no answer that is HTTP"
    return None


async def _contains(body: aiohttp.StreamReader, text: bytes) -> bool:
    """Look for a text in the first READ_LIMIT bytes, and read no further than it."""
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
