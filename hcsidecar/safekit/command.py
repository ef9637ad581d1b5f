"""The `safekit` command for the scripts of an imported module: `python -m hcsidecar.safekit.command ARGUMENTS`.

It asks the daemon over the unix socket that HCSIDECAR_SOCKET names. Scripts call it often, so it imports few modules,
all from the standard library. `-m MODULE` may stand anywhere and must name the module of the script.

    printi | printw | printe TEXT...        a line in the module's log: information, warning, error
    start | stop | restart | stopstart      an operator's command, which resets the restart budget
    restart | stopstart | stop | wait -i WHO    the application's own request, which counts on it (except stop)
    forcestop                               stop without waiting for connections
    waitstart | waitstop                    waits until the module is UP(Ready), or has stopped
    set -r RESOURCE -v up|down [-i WHO]     sets a custom check: custom.NAME, or NAME
    get -r RESOURCE                         prints up, down or init
    state [-v | -lq]                        prints the state; -lq prints nothing
    level                                   prints the version
    incloop -i WHO | resetloop | checkloop  counts a restart; resets the count; asks whether the budget is used up

Exit status: 0 done. 1 refused, not supported here, a wrong command, or no answer from the daemon; the reason is on
stderr. `incloop` and `checkloop`: 1 also when the budget is used up. `state -lq`: 0 STOP, 1 WAIT, 2 UP, 255 without an
answer.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping

from hcsidecar.safekit.client import OK, CommandError, NobodyError, ask, post, quoted, reason, state
from hcsidecar.system.streams import standard_streams

INTERVAL = 0.2
"Seconds between two questions of waitstart and waitstop."
LONGEST = 1000
"Characters of a line in the log; the daemon keeps no more."
SPENT, NOBODY = 1, 255
"Exit statuses."

_ROLES = {"STOP": 0, "WAIT": 1, "UP": 2}
_CLASSES = ("tcp", "ping", "intf", "ip", "module", "proc")
"The classes of resources that have checks, besides custom."
_LEVELS = {"printi": "info", "printw": "warning", "printe": "error"}


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Carry out one command. Return the exit status."""
    try:
        return _do(arguments, environment)
    except CommandError as error:
        print(f"safekit: {error}", file=sys.stderr)  # noqa: T201 - a command
        return NOBODY if isinstance(error, NobodyError) and "-lq" in arguments else 1


def _do(arguments: list[str], environment: Mapping[str, str]) -> int:
    # Bytes that are not text in the script's encoding must not cost the line.
    plain = [word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for word in arguments]
    verb, rest = _own_module(plain, environment)
    if verb in _LEVELS:
        return _print(verb, rest, environment)
    known = _COMMANDS.get(verb)
    if known is None:
        raise CommandError(f"`safekit {verb}` is not supported here; the module goes on without it")
    return known(_Options(verb, rest), environment)


class _Options:
    """The options of a command: those that take a value, and those that do not."""

    _VALUES = ("-i", "-r", "-v")

    def __init__(self, verb: str, words: list[str]) -> None:
        self.verb = verb
        self._given: dict[str, str | None] = {}
        waiting = list(words)
        takes = ("-i", "-r") if verb == "state" else self._VALUES
        while waiting:
            word = waiting.pop(0)
            if not word.startswith("-"):
                raise CommandError(f"{verb}: what is {word!a}? `safekit {verb}` takes options only")
            if word in takes and not waiting:
                raise CommandError(f"{verb}: {word} takes a value")
            self._given[word] = waiting.pop(0) if word in takes else None

    def only(self, *known: str) -> None:
        """Raise CommandError for any other option."""
        for word in self._given:
            if word not in known:
                raise CommandError(f"`safekit {self.verb} {word}` is not supported here")

    def has(self, option: str) -> bool:
        return option in self._given

    def get(self, option: str) -> str | None:
        return self._given.get(option)

    def need(self, option: str, what: str) -> str:
        value = self._given.get(option)
        if not value:
            raise CommandError(f"{self.verb}: {option} {what} is missing")
        return value


def _own_module(arguments: list[str], environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """Take `-m MODULE` out of the words; in text to be printed, only at the beginning."""
    words, own = list(arguments), environment.get("SAFEMODULE") or environment.get("HCSIDECAR_FARM")
    at = 0
    while at < len(words):
        if words[at] == "-m":
            named = words[at + 1 : at + 2]
            if own is None or named != [own]:
                raise CommandError(f"-m {''.join(named)}: only the script's own module can be meant, {own}")
            del words[at : at + 2]
        elif at > 0 and words[0] in _LEVELS:
            break
        else:
            at += 1
    if not words:
        raise CommandError("a command is missing: printi, stop, restart, set, get, state, …")
    return words[0], words[1:]


def _print(verb: str, words: list[str], environment: Mapping[str, str]) -> int:
    text = " ".join(words).strip()[:LONGEST]
    if text:
        post(environment, "/log", {"level": _LEVELS[verb], "text": text, "origin": "script", "by": ""})
    return 0


def _act(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-i")
    action = options.verb
    if options.has("-i"):
        if action == "start":
            raise CommandError("start -i is not supported here: a module starts itself again by restart or stopstart")
        post(environment, f"/requests/{action}", {"identity": options.need("-i", "WHO")})
    else:
        action = "restart" if action == "stopstart" else action
        post(environment, f"/actions/{action}", {})
    return 0


def _wait_action(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-i")
    post(environment, "/requests/wait", {"identity": options.need("-i", "WHO")})
    return 0


def _force_stop(options: _Options, environment: Mapping[str, str]) -> int:
    options.only()
    post(environment, "/actions/stop", {"force": True})
    return 0


def _wait(options: _Options, environment: Mapping[str, str]) -> int:
    options.only()
    while True:
        role, status = state(environment)
        if options.verb == "waitstop" and role == "STOP":
            return 0
        if options.verb == "waitstart" and role == "STOP":
            raise CommandError("waitstart: the module is stopped")
        if options.verb == "waitstart" and (role, status) == ("UP", "Ready"):
            return 0
        time.sleep(INTERVAL)


def _set(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-r", "-v", "-i", "-n", "-l")
    name, value = _resource(options), options.need("-v", "up|down")
    if value not in ("up", "down"):
        raise CommandError(f"set: -v is up or down, not {value!a}")
    post(environment, f"/reports/{quoted(name)}", {"value": value})
    return 0


def _get(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-r")
    # A check whose name another check had already is named with its class.
    names = dict.fromkeys((options.need("-r", "RESOURCE"), _resource(options)))
    for name in names:
        answer = ask(environment, "GET", f"/reports/{quoted(name)}")
        if answer.status == OK:
            print(answer.document.get("value"))  # noqa: T201 - a command
            return 0
    raise CommandError(reason(answer))


def _resource(options: _Options) -> str:
    """Return the name of the check for CLASS.NAME; a name alone is that of a custom check."""
    resource = options.need("-r", "RESOURCE")
    kind, dot, name = resource.partition(".")
    if not dot:
        return resource
    if kind in ("custom", "tcp", "ping", "intf", "ip", "module", "proc") and (
        options.verb == "get" or kind == "custom"
    ):
        return name
    raise CommandError(
        f"{options.verb} -r {resource} is not supported here: resources are those of checks, custom.NAME"
    )


def _show_state(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-v", "-lq")
    role, status = state(environment)
    if options.has("-lq"):
        return _ROLES[role]
    print(f"{role} {status}")  # noqa: T201 - a command
    return 0


def _level(options: _Options, _environment: Mapping[str, str]) -> int:
    options.only()
    from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked for

    print(f"hcsidecar {version('hcsidecar')}")  # noqa: T201 - a command
    return 0


def _count(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-i")
    post(environment, "/budget/count", {"identity": options.need("-i", "WHO")})
    return 0


def _reset(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-i")
    post(environment, "/budget/reset", {})
    return 0


def _check(options: _Options, environment: Mapping[str, str]) -> int:
    options.only("-i")
    answer = ask(environment, "GET", "/budget")
    if answer.status != OK:
        raise CommandError(reason(answer))
    print(f"{answer.document.get('used')} of {answer.document.get('most')} restarts")  # noqa: T201 - a command
    return SPENT if answer.document.get("reached") else 0


_COMMANDS: Mapping[str, Callable[[_Options, Mapping[str, str]], int]] = {
    **dict.fromkeys(("start", "stop", "restart", "stopstart"), _act),
    "wait": _wait_action,
    "forcestop": _force_stop,
    **dict.fromkeys(("waitstart", "waitstop"), _wait),
    "set": _set,
    "get": _get,
    "state": _show_state,
    "level": _level,
    "incloop": _count,
    "resetloop": _reset,
    "checkloop": _check,
}


if __name__ == "__main__":
    with standard_streams():
        sys.exit(main(sys.argv[1:], os.environ))
