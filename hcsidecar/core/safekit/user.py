"""The scripts' settings of a SafeKit module: <user> and its <var>s, which become [application]."""

import re

from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.safekit.draft import DraftValues
from hcsidecar.core.safekit.notes import Coverage, ElementReader, Notes
from hcsidecar.core.safekit.source import Element

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

_LIMITS = (0.1, 86400.0)
_LEAST_LOG, _MOST_LOG = 16, 1_048_576
"In kilobytes."


def read_user(element: Element, notes: Notes) -> DraftValues:
    """Read <user>. Return the keys of [application] that follow from it."""
    environment: dict[str, str] = {}
    with ElementReader(element, notes) as reader:
        reader.whole(
            DIFFERENT, "[application]; start_both has start_timeout, 1 minute, to start it, and no limit before"
        )
        nice = reader.duration("nicestoptimeout", 300.0, unit="s", key="stop_timeout", bounds=_LIMITS)
        force = reader.duration("forcestoptimeout", 300.0, unit="s", key="force_timeout", bounds=_LIMITS)
        size = reader.integer("userlogsize", 2048, least=0, most=10**9)
        log_kb = min(max(size, _LEAST_LOG), _MOST_LOG)
        verdict = TAKEN if log_kb == size else DIFFERENT
        reader.say("userlogsize", verdict, f"log_kb = {log_kb}: of each run of a script")
        if reader.choice("logging", "userlog", ("userlog", "none")) == "none":
            reader.say("logging", DIFFERENT, "the output of scripts is always kept, for log_keep")
        reader.say("logging", TAKEN, "a file for each run of a script") if not reader.was_said("logging") else None
        for child in element.children:
            if child.tag == "var":
                _read_variable(child, environment, notes)
            else:
                notes.drop(child, f"hcsidecar knows no <{child.tag}> in <user>")
    values: DraftValues = {
        "stop_timeout": format_duration(nice),
        "force_timeout": format_duration(force),
        "log_kb": log_kb,
        "safekit": True,
    }
    return values | ({"environment": environment} if environment else {})


def _read_variable(element: Element, environment: dict[str, str], notes: Notes) -> None:
    with ElementReader(element, notes) as reader:
        reader.nothing_below()
        name, value = reader.need("name"), element.attributes.get("value", "")
        reader.whole(TAKEN, "environment of the scripts")
        if name is None:
            return
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            reader.say("name", NOT, "no shell knows a variable of this name")
            reader.say("value", NOT, "goes with its name")
            return
        environment[name] = value
        reader.say("name", TAKEN, f"environment variable {name}")
        reader.say("value", TAKEN, "its value")
