"""Imports aiohttp without what the daemon never uses. Must be imported before anything that imports aiohttp.

When it is imported, aiohttp loads the certificates of all authorities, for clients without a TLS context. All of our
clients have one, and kinds of targets from other packages run in the helper process, which does not use this module.
aiohttp also reads the system's table of media types, for serving files, and loads a C++ library for a list. Together
that would take 3 to 4 MiB in a process that runs for years, and 40 ms of its start.
"""

import mimetypes
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables within the block only, because the programs and the TLS of checks must not see them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


mimetypes.knownfiles.clear()
# The first variable is OpenSSL's, the second that of the package with the list.
with _environment(SSL_CERT_FILE=os.devnull, FROZENLIST_NO_EXTENSIONS="1"):
    import aiohttp  # noqa: F401 - what follows finds it loaded
