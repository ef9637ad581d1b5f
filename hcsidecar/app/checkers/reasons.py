"""Why an attempt failed, in words that mean something to whoever runs the application."""

import os


def describe(error: OSError) -> str:
    """Say what the operating system said, without the address, which the check's own settings tell."""
    text = os.strerror(error.errno) if error.errno else "connection failed"
    return text[:1].lower() + text[1:]
