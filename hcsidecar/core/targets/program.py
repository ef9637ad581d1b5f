"""The protocol with a program that manages a balancer: its request, its answer and its exit status.

The program gets a JSON object on standard input, and answers `observe` with one on standard output. Its exit status
reports the result of a call, with the numbers of sysexits.h; the last line of standard error is the reason.
"""

from typing import Final

import msgspec

from hcsidecar.core.application.checks import last_line, why_not_good
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.plain_text import on_one_line, shortened
from hcsidecar.core.targets.registration import Call, Observation, Presence, TargetError, Trouble

_TROUBLES: Final = {
    64: Trouble.CONFIG,
    69: Trouble.THROTTLE,
    75: Trouble.RETRY,
    77: Trouble.AUTH,
    78: Trouble.CONFIG,
    126: Trouble.CONFIG,
    127: Trouble.CONFIG,
}
"""By exit status: EX_USAGE, EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM and EX_CONFIG; and those of a shell for a command
that it cannot run or find."""
_LONGEST: Final = 200
"The most characters of a text in an answer."


class ProgramRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The request to a program."""

    call: Call
    farm: str
    node: str
    address: str
    "The node's main address."
    target: str
    "The name of the target."
    health_url: str


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    presence: Presence
    reason: str = ""
    former: tuple[str, ...] = ()


def why_failed(status: int, errors: bytes) -> TargetError | None:
    """Return the error for an exit status, or None for success. A negative status is the signal that killed it."""
    why = why_not_good(status, errors)
    return None if why is None else TargetError(_TROUBLES.get(status, Trouble.RETRY), why)


def observation_in(output: bytes) -> Observation:
    """Return the observation in an answer to `observe`. Raise TargetError (RETRY) if the answer is not valid."""
    try:
        answer = read_json(output, _Answer)
    except JsonError as error:
        said = last_line(output)
        text = f'must print JSON like {{"presence": "healthy"}}, but has printed {said or "nothing"}: {error}'
        raise TargetError(Trouble.RETRY, text) from None
    return Observation(
        presence=answer.presence,
        reason=_short(answer.reason),
        former=tuple(_short(each) for each in answer.former),
    )


def _short(text: str) -> str:
    return shortened(on_one_line(text), _LONGEST)
