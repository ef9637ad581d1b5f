"""The failover rules of a SafeKit module, which are not imported: in a farm file each check has its action."""

import re

from hcsidecar.core.safekit.notes import Coverage, ElementReader, Notes
from hcsidecar.core.safekit.source import Element

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

_RULE = re.compile(r"\b(?P<label>[A-Za-z_]\w{0,80})[ \t]*:[ \t\r\n]*if\b(?P<rest>[^;]{0,500})")
_ACTION = re.compile(r"\b(stopstart|restart|stop|wait|swap|wakeup)\b[ \t]*\([ \t]*\)[ \t\r\n]*$")
_IMPLICIT = {
    "interface_failure": "wait",
    "ip_failure": "stopstart",
    "tcp_failure": "restart",
    "ping_failure": "wait",
    "module_failure": "wait",
    "splitbrain_failure": "wait",
    "implicit_wakeup": "wakeup",
}
"The rules that SafeKit makes by itself, and what they do."
_MANY = 200


def read_failover(element: Element, notes: Notes) -> None:
    """Read <failover>: note every rule that can be recognised."""
    with ElementReader(element, notes) as reader:
        reader.whole(
            DIFFERENT, "each check has its action; a module that waits starts when its `pre` checks pass again"
        )
        reader.say("period", NOT, "a check is judged when its result comes")
        reader.say("handle_time", NOT, "fall, of a check, says how often in a row it must fail")
        reader.say("extends", NOT, "there are no rules that could be extended")
        reader.nothing_below()
    text = element.text
    if "if_then" in text or "--Lua" in text:
        notes.say(element.line, "rules in Lua", NOT, "give each check its action, and compare both")
        return
    found = list(_RULE.finditer(text))
    for match in found[:_MANY]:
        line = element.line + text.count("\n", 0, match.start())
        action = _ACTION.search(match["rest"])
        does = action[1] if action else "something"
        if _IMPLICIT.get(match["label"].lower()) == does:
            notes.say(line, f"rule {match['label']}", TAKEN, "is what the checks of this kind do by themselves")
        else:
            remedy = "have a check of its own do it: action = …, with `pre` checks for wait"
            notes.say(line, f"rule {match['label']}", NOT, f"{does} is not taken over; {remedy}")
    if len(found) > _MANY:
        notes.say(element.line, "rules", NOT, f"{len(found) - _MANY} more, none of them taken over")
    if not found and text.strip():
        notes.say(element.line, "rules", NOT, "not understood, and not taken over; give each check its action")
