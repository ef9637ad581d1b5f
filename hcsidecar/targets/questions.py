"""The messages between the daemon and the helper process: one in each packet, as MessagePack."""

from typing import Any, Final

import msgspec

from hcsidecar.core.targets.registration import Call, Observation, Trouble

MOST: Final = 65_536
"Bytes of a message at most."
MOST_NOTES: Final = 4096
"Bytes of a balancer's notes at most."
_WORDS: Final = 500
"Characters of a text of the balancer at most."
_FORMER: Final = 64


class CallRequest(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """To the helper process: make a call."""

    number: int = 0
    "Unique within one process."
    target: str
    "The name of the target."
    call: Call
    kind: str
    table: dict[str, Any]
    "The table of the target, as in the farm file."
    here: dict[str, Any]
    "The fields of `kind.Here`, with paths as strings."
    notes: bytes
    "The notes of the last answer."


class GiveUp(msgspec.Struct, frozen=True, kw_only=True, tag="give up"):
    """To the helper process: give up a call. It is answered all the same."""

    number: int


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """To the helper process: close all connections, and end."""


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """From the helper process: it listens."""


class CallResult(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """From the helper process: the result of a call."""

    number: int
    seen: Observation | None = None
    "Set if the call was an observation and succeeded."
    trouble: Trouble | None = None
    "None if the call succeeded."
    text: str = ""
    notes: bytes = b""


class GarbledError(Exception):
    """Raised if a packet is not a message."""


_TO_HELPER: Final = msgspec.msgpack.Decoder(CallRequest | GiveUp | End)
_FROM_HELPER: Final = msgspec.msgpack.Decoder(Begun | CallResult)
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(message: CallRequest | GiveUp | End | Begun | CallResult) -> bytes:
    """Encode a message. Raise ValueError if it cannot be encoded, or is too long."""
    try:
        written = _ENCODER.encode(message)
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if len(written) > MOST:
        raise ValueError(f"it is {len(written)} bytes long, and may have {MOST}")
    return written


def decode_for_helper(packet: bytes) -> CallRequest | GiveUp | End:
    """Decode a packet of the daemon. Raise GarbledError."""
    try:
        message: CallRequest | GiveUp | End = _TO_HELPER.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledError(str(error)) from None
    return message


def decode_from_helper(packet: bytes) -> Begun | CallResult:
    """Decode a packet of the helper process. Raise GarbledError."""
    try:
        message: Begun | CallResult = _FROM_HELPER.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledError(str(error)) from None
    return message


def short(seen: Observation) -> Observation:
    """Return the observation with its texts cut to fit into a message."""
    return Observation(
        presence=seen.presence,
        reason=str(seen.reason)[:_WORDS],
        former=tuple(str(each)[:_WORDS] for each in seen.former[:_FORMER]),
        forgot=seen.forgot,
    )


def short_text(text: str) -> str:
    """Return the text, cut to fit into a message."""
    return text[:_WORDS]
