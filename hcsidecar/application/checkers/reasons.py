"""Why an attempt failed, in words that mean something to whoever runs the application."""

import os

from hcsidecar.core.exhaustion import explained
from hcsidecar.system.threads import NoThreadError


def describe(error: OSError) -> str:
    """Say what the operating system said, without the address, which the check's own settings tell."""
    if isinstance(error, NoThreadError):
        return str(error.strerror)
    text = explained(error.errno) or (os.strerror(error.errno) if error.errno else "connection failed")
    return text[:1].lower() + text[1:]
