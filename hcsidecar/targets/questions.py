"""What the daemon and the helper process say to each other: one message in each packet, as MessagePack."""

from typing import Any, Final

import msgspec

from hcsidecar.core.targets.registration import Call, Observation, Trouble

MOST: Final = 65_536
"Bytes of a message."
MOST_NOTES: Final = 4096
"Bytes that a balancer's side may want to be told again."
_WORDS: Final = 500
"Characters of a text of the balancer's."
_FORMER: Final = 64


class CallRequest(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """To the helper: make a call."""

    number: int = 0
    "None is used twice by one process."
    target: str
    "The name that the target goes by."
    call: Call
    kind: str
    table: dict[str, Any]
    "Its table, as it is in the farm file."
    here: dict[str, Any]
    "The fields of `kind.Here`, paths as texts."
    notes: bytes
    "Those of the last answer."


class GiveUp(msgspec.Struct, frozen=True, kw_only=True, tag="give up"):
    """To the helper: nobody waits for the answer any more; it is answered all the same."""

    number: int


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """To the helper: close all connections, and end."""


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag="begun"):
    """From the helper: it listens."""


class CallResult(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """From the helper: what became of a call."""

    number: int
    seen: Observation | None = None
    "Of a look that has succeeded."
    trouble: Trouble | None = None
    "None of a call that has succeeded."
    text: str = ""
    notes: bytes = b""


class GarbledError(Exception):
    """What was received is no message."""


_TO_HELPER: Final = msgspec.msgpack.Decoder(CallRequest | GiveUp | End)
_FROM_HELPER: Final = msgspec.msgpack.Decoder(Begun | CallResult)
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(message: CallRequest | GiveUp | End | Begun | CallResult) -> bytes:
    """Write a message. Raises ValueError when it cannot be written, or is longer than one may be."""
    try:
        written = _ENCODER.encode(message)
    except (TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if len(written) > MOST:
        raise ValueError(f"it is {len(written)} bytes long, and may have {MOST}")
    return written


def decode_for_helper(packet: bytes) -> CallRequest | GiveUp | End:
    """Read what the daemon says. Raises GarbledError."""
    try:
        message: CallRequest | GiveUp | End = _TO_HELPER.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledError(str(error)) from None
    return message


def decode_from_helper(packet: bytes) -> Begun | CallResult:
    """Read what the helper says. Raises GarbledError."""
    try:
        message: Begun | CallResult = _FROM_HELPER.decode(packet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledError(str(error)) from None
    return message


def short(seen: Observation) -> Observation:
    """Return an observation that fits into a message: nobody reads a page of it."""
    return Observation(
        presence=seen.presence,
        reason=str(seen.reason)[:_WORDS],
        former=tuple(str(each)[:_WORDS] for each in seen.former[:_FORMER]),
        forgot=seen.forgot,
    )


def short_text(text: str) -> str:
    """Return a text that fits into a message."""
    return text[:_WORDS]
