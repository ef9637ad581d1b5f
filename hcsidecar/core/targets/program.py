"""What is said to a program that talks to a balancer, and what its answer and its end mean.

The question is a JSON object on its standard input, the answer to `observe` one on its standard output. Its exit status
says what became of a call, in the numbers of sysexits.h, and the last line of its standard error says why.
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
"By exit status: EX_USAGE, EX_UNAVAILABLE, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG; and a shell's for a command not found."
_LONGEST: Final = 200
"Characters of a word of an answer."


class ProgramRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a program is asked for, and for whom."""

    call: Call
    farm: str
    node: str
    address: str
    "The node's main address."
    target: str
    "Name of the target."
    health_url: str


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    presence: Presence
    reason: str = ""
    former: tuple[str, ...] = ()


def why_failed(status: int, errors: bytes) -> TargetError | None:
    """Say what an end means; None when all went well. A signal is a negative status."""
    why = why_not_good(status, errors)
    return None if why is None else TargetError(_TROUBLES.get(status, Trouble.RETRY), why)


def observation_in(output: bytes) -> Observation:
    """Read the answer to `observe`; TargetError (RETRY) says what is wrong with it."""
    try:
        answer = read_json(output, _Answer)
    except JsonError as error:
        said = last_line(output)
        text = f'must print JSON like {{"presence": "healthy"}}, and has printed {said or "nothing"}: {error}'
        raise TargetError(Trouble.RETRY, text) from None
    return Observation(
        presence=answer.presence,
        reason=_short(answer.reason),
        former=tuple(_short(each) for each in answer.former),
    )


def _short(text: str) -> str:
    return shortened(on_one_line(text), _LONGEST)
