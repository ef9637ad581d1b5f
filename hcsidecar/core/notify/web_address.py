"""Which URL a webhook may have, and where a secret may be sent without TLS."""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_URL: Final = re.compile(r"https?://[A-Za-z0-9\[][A-Za-z0-9.:\]-]*(/[^\s]*)?")


def why_not_url(value: str) -> str | None:
    """Return why a text is not the URL of a webhook, to complete a sentence, or None."""
    if "@" in value.partition("://")[2].partition("/")[0]:
        return "has a password in it, which would be in every copy of the farm file"
    try:
        is_url = _URL.fullmatch(value) is not None and urlsplit(value).port != 0
    except ValueError:
        is_url = False
    return None if is_url else "is not a URL of http or https"


def is_this_machine(host: str) -> bool:
    """Return whether a host is the machine itself, so that nobody else sees what is sent to it."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def sends_in_clear(url: str) -> bool:
    """Return whether a token sent to this URL could be read on the way."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_this_machine(parts.hostname or "")
