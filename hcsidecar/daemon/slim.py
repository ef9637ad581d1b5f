"""Loads aiohttp without what the daemon never uses of it. Imported before anything that imports aiohttp.

By itself aiohttp reads at its import the certificates of all authorities, for a client that names no trust of its own.
Every one of ours does; kinds of targets from other packages live in the helper process, which does without this module.
It reads the system's table of media types too, for files that nobody serves here, and loads a list in C++ with its
library. All that is 3 to 4 MiB in a process that runs for years, and 40 ms of its start.
"""

import mimetypes
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables for as long as the block lasts: the checks' programs and their trust must not see them."""
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
# OpenSSL's own variable, and that of the list's authors.
with _environment(SSL_CERT_FILE=os.devnull, FROZENLIST_NO_EXTENSIONS="1"):
    import aiohttp  # noqa: F401 - what follows finds it loaded
