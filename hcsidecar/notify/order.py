"""What the daemon and the process that sends a message say to each other."""

from typing import Any

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A message and its receiver. The keys of the receiver are those of its table in the farm file."""

    type: str
    directory: str
    "The directory of the farm file, to which names of files are relative."
    timeout: float
    "Seconds for the whole attempt."
    farm: str
    node: str
    subject: str
    text: str
    document: Any
    "The JSON for a webhook."
    ca_file: str | None = None
    url: str | None = None
    url_file: str | None = None
    token_file: str | None = None
    header: str = ""
    server: str = ""
    tls: str = ""
    login_file: str | None = None
    sender: str = ""
    to: tuple[str, ...] = ()


class SendOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order."""

    taken: bool
    text: str = ""
    "Why the message was not taken, or what to know although it was."
