"""The stream of changes as server-sent events (HTML standard, section 9.2), and how a client goes on where it was.

What a client gets first is the state of the farm; then comes what has changed. An event of a journal is known farm-wide
by its node and number. So the id of a message says the number of the last event of each node that the client has, and
with it a client goes on at any console of the farm without missing an event: states and rolling commands come as whole
documents anyway, and the newest one is all that is needed.
"""

import re
from collections.abc import Mapping
from typing import Final

QUEUE: Final = 512
"Messages that wait for a client; one that is slower is disconnected, and goes on where it was."
MOST_STREAMS: Final = 128
MOST_STREAMS_EACH: Final = 64
"Of one address: an office has one."
HEARTBEAT: Final = 15.0
"Seconds without a message after which a comment is sent, so that nobody on the way takes the stream for dead."
RETRY: Final = 1000
"Milliseconds after which a browser connects again."
MOST_REPLAYED: Final = 2000
"Events of one node that are sent again to a client that has been away."

_LONGEST_ID: Final = 6000
_PLACE: Final = re.compile(r"([A-Za-z0-9._-]{1,63})=([0-9]{1,16})", re.ASCII)

EventPlaces = Mapping[str, int]
"By node: the number of the last event that a client has."


def read_id(text: str) -> dict[str, int]:
    """Return the places in the id that a client names; what is no id says nothing."""
    if len(text) > _LONGEST_ID:
        return {}
    matches = [_PLACE.fullmatch(part) for part in text.split(",")]
    return {match[1]: int(match[2]) for match in matches if match is not None}


def write_id(places: EventPlaces) -> str:
    """Return the id for these places."""
    return ",".join(f"{node}={number}" for node, number in sorted(places.items()))


def message(kind: str, data: bytes, places: EventPlaces | None = None) -> bytes:
    """Return one message. Data of several lines is sent as so many lines, which the client joins again."""
    head = f"event: {kind}\n" + (f"id: {write_id(places)}\n" if places else "")
    return head.encode() + b"data: " + data.replace(b"\n", b"\ndata: ") + b"\n\n"


COMMENT: Final = b": still here\n\n"
OPENING: Final = f"retry: {RETRY}\n\n".encode()
