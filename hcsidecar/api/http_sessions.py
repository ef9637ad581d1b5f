"""What the HTTP clients of the daemon and of the console have in common: their session, and answers with a limit."""

import aiohttp


def plain_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """Return a session without cookies and proxies, which does not unpack answers, so that none fills the memory."""
    return aiohttp.ClientSession(
        connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )


async def read_answer(response: aiohttp.ClientResponse, *, at_most: int) -> bytes:
    """Return the body of an answer. Raise aiohttp.ClientPayloadError if it has more than `at_most` bytes."""
    answer = bytearray()
    async for chunk in response.content.iter_any():
        answer += chunk
        if len(answer) > at_most:
            raise aiohttp.ClientPayloadError("the answer is too long")
    return bytes(answer)
