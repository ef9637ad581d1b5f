"""The reasons of failed attempts, in words for the operator."""

import os

from hcsidecar.core.exhaustion import explained
from hcsidecar.system.threads import NoThreadError


def describe(error: OSError) -> str:
    """Return the text of the operating system's error, without the address, which the check's settings have."""
    if isinstance(error, NoThreadError):
        return str(error.strerror)
    text = explained(error.errno) or (os.strerror(error.errno) if error.errno else "connection failed")
    return text[:1].lower() + text[1:]
