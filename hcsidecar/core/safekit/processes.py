"""The processes and services that a SafeKit module watches: <errd> and <proc>, which become checks of processes."""

import re
import warnings

from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.safekit.actions import ACTIONS, mirror_only, suit
from hcsidecar.core.safekit.draft import Draft, DraftTable, DraftValues
from hcsidecar.core.safekit.notes import Coverage, ElementReader, Notes
from hcsidecar.core.safekit.source import Element

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

_INTERVAL = (0.01, 3600.0)
_MOST = 1_000_000
_LONGEST_NAME = 15
_POSIX = {
    "alpha": "A-Za-z",
    "digit": "0-9",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\s",
    "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~",
    "xdigit": "0-9A-Fa-f",
    "word": r"\w",
    "print": " -~",
    "graph": "!-~",
    "cntrl": r"\x00-\x1f\x7f",
}
"POSIX character classes as Python writes them between brackets."


def read_errd(element: Element, draft: Draft, notes: Notes) -> None:
    """Read <errd>."""
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "checks of type process")
        poll = reader.duration("polltimer", 30.0, unit="s", key="interval", bounds=_INTERVAL)
    for child in element.children:
        kind = child.attributes.get("class", "both").strip()
        if child.tag != "proc":
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <errd>")
        elif mirror_only(kind):
            notes.drop(child, f'class="{kind}" is for mirror modules')
        elif kind not in ("both", "pre"):
            notes.drop(child, f'class="{kind}" is watched only after `safekit errd enable`, which there is not here')
        else:
            with ElementReader(child, notes) as reader:
                reader.nothing_below()
                _read_process(reader, draft, kind, poll)


def _read_process(reader: ElementReader, draft: Draft, kind: str, poll: float) -> None:
    name = reader.need("name")
    what = _what(reader, name)
    least = reader.integer("atleast", 1, least=-1, most=_MOST)
    most = reader.integer("atmax", -1, least=-1, most=_MOST)
    if name is None or what is None:
        return
    if least in (-1, 0) and most == -1:
        reader.notes.drop(reader.element, "neither too few nor too many would be a failure: there is nothing to check")
        return
    counts: DraftValues = {"at_least": max(least, 0)}
    if most != -1:
        counts["at_most"] = most
    reader.say("atleast", TAKEN, f"at_least = {counts['at_least']}")
    reader.say("atmax", TAKEN, "no limit" if most == -1 else f"at_most = {most}")
    if most != -1 and most < max(least, 0):
        counts["at_least"] = 0
        reader.say("atleast", DIFFERENT, "at_least = 0: it cannot be more than at_most", unset="1")
    _delay_start(reader, draft, poll)
    reader.say("class", TAKEN, f"when = {kind}")
    reader.say("restart_services", NOT, "restart runs the whole stop script and the whole start script")
    reaction = suit(reader, draft, when=kind, action=_action(reader), outside=kind == "pre", at=("class", "action"))
    check_name = draft.check_name("proc", name)
    values: DraftValues = {"type": "process", "name": check_name, "when": reaction.when, "action": reaction.action}
    values |= {"interval": format_duration(poll), **what, **counts}
    reader.say("name", TAKEN if check_name == name else DIFFERENT, f"check {check_name}")
    reader.whole(TAKEN, f"check {check_name}: a failure is seen after one look, every {format_duration(poll)}")
    draft.checks.append(DraftTable(values=values, comment=f"proc, line {reader.element.line}"))


def _what(reader: ElementReader, name: str | None) -> DraftValues | None:
    """Return the keys for what is looked for: a unit, or a name and a command line."""
    what: DraftValues = {}
    is_service = reader.flag("service", default=False)
    patterns = [_pattern(reader, key) for key in ("nameregex", "argregex")]
    if name is None or any(pattern is None for pattern in patterns):
        return None
    by_name, by_arguments = patterns
    if is_service:
        unit = name if "." in name else f"{name}.service"
        reader.say("service", TAKEN, f"unit = {unit}")
        what["unit"] = unit
    else:
        reader.say("service", TAKEN, "a process")
        if by_name:
            reader.say(
                "nameregex", DIFFERENT, "looked for in the first word of the command line, without its directory"
            )
            by_name = _of_first_word(by_name)
        else:
            what["process"] = name[:_LONGEST_NAME]
    both = [pattern for pattern in (by_name, by_arguments) if pattern]
    if by_arguments:
        reader.say("argregex", TAKEN, "command_line")
    if both:
        what["command_line"] = both[0] if len(both) == 1 else rf"(?s)(?=.*({both[1]})){both[0]}"
    return what


def _of_first_word(pattern: str) -> str:
    """Return a pattern that finds in a command line what the given pattern finds in the name of its program."""
    begin = "" if pattern.startswith("^") else r"[^\s/]*"
    is_ended = pattern.endswith("$") and not pattern.endswith(r"\$")
    inner = pattern.removeprefix("^")[: -1 if is_ended else None]
    return rf"^([^\s]*/)?+{begin}({inner})" + (r"(\s|$)" if is_ended else "")


def _pattern(reader: ElementReader, key: str) -> str | None:
    """Return a POSIX regular expression in Python's syntax: "" for none, None if it is faulty."""
    text = reader.get(key, "") or ""
    pattern = re.sub(r"\[:(\w+):\]", lambda match: _POSIX.get(match[1], match[0]), text)
    try:
        with warnings.catch_warnings():
            # For example a set in a set, which a later version of Python may read differently.
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, Warning, RecursionError, OverflowError) as error:
        reader.refuse(key, f"is no regular expression here: {error}", "write it as Python's re has it")
        return None
    return pattern


def _action(reader: ElementReader) -> str:
    word = reader.get("action", "stopstart") or ""
    if word in ACTIONS:
        return ACTIONS[word]
    reader.say("action", NOT, "a program of one's own is not called: the check fails, and action = none")
    return "none"


def _delay_start(reader: ElementReader, draft: Draft, poll: float) -> None:
    """Convert the number of polls that a start may take to the time that it may take."""
    looks = reader.integer("start_after", 0, least=0, most=_MOST)
    delay = min(max(looks - 1, 0) * poll, 86400.0)
    reader.say(
        "start_after", TAKEN if delay == 0 else DIFFERENT, "until all checks have passed once, none is a failure"
    )
    if draft.application and delay > draft.start_timeout:
        draft.start_timeout = delay
        draft.application["start_timeout"] = format_duration(delay)
        reader.say("start_after", DIFFERENT, f"start_timeout = {draft.application['start_timeout']}, for all checks")
