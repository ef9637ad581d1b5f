"""The checkers of a SafeKit module: the contents of <check>, which become checks of the farm file."""

import shlex
from collections.abc import Callable, Iterator, Mapping

from hcsidecar.core.farmfile.values import LAST_PORT, format_duration, parse_address
from hcsidecar.core.safekit.actions import Reaction, mirror_only, react
from hcsidecar.core.safekit.draft import Draft, DraftTable, DraftValues, usable_name
from hcsidecar.core.safekit.notes import LOOKS_FOR_FILES, Coverage, ElementReader, Notes
from hcsidecar.core.safekit.scripts import ModuleScripts
from hcsidecar.core.safekit.source import Element

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

_INTERVAL = (0.01, 3600.0)
_TIMEOUT = (0.01, 600.0)
_LOCAL = {"localhost": "127.0.0.1", "localhost6": "::1"}
_OTHERS = {"checkfile": LOOKS_FOR_FILES}
_SPLIT_BRAIN = (
    "is for mirror modules: in a farm every side of a split network goes on serving whom it reaches, "
    'unless [farm] partition = "majority"'
)


def read_checks(element: Element, draft: Draft, scripts: ModuleScripts, notes: Notes) -> None:
    """Read <check>."""
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "[[check]]")
    for child in element.children:
        why = mirror_only(child.attributes.get("when", "").strip())
        if why is not None:
            notes.drop(child, why)
        elif child.tag == "splitbrain":
            notes.drop(child, _SPLIT_BRAIN)
        elif child.tag == "custom":
            _read_custom(child, draft, scripts, notes)
        elif child.tag in _KINDS:
            with ElementReader(child, notes) as reader:
                _KINDS[child.tag](reader, draft)
        else:
            notes.drop(child, _OTHERS.get(child.tag, f"hcsidecar knows no checker <{child.tag}>"))


def _targets(reader: ElementReader, *, at_least: int = 1) -> Iterator[ElementReader]:
    """Yield each <to> of a checker, and note everything else in it as unknown."""
    targets = [child for child in reader.element.children if child.tag == "to"]
    for child in reader.element.children:
        if child.tag != "to":
            reader.notes.drop(child, f"hcsidecar knows no <{child.tag}> in <{reader.element.tag}>")
    if len(targets) < at_least:
        reader.refuse("", "has no <to>", "what is it to look at?")
    for child in targets:
        with ElementReader(child, reader.notes) as target:
            target.whole(TAKEN, "what the check looks at")
            target.nothing_below()
            yield target


def _address(target: ElementReader, name: str = "addr") -> str | None:
    """Return the address of a target, or None after a refusal."""
    text = target.need(name)
    if text is None:
        return None
    local = _LOCAL.get(text.lower())
    if local is not None:
        target.say(name, DIFFERENT, f"address = {local}: checks do not ask a name server")
        return local
    try:
        return parse_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        hint = "write the address: a check that asks a name server fails with it"
        target.refuse(name, f'is no IP address: "{text}"', hint)
        return None


def _is_outside(address: str, draft: Draft) -> bool:
    return not (address.startswith("127.") or address == "::1" or address in {*draft.vip_addresses, *draft.addresses})


def _add(reader: ElementReader, draft: Draft, values: DraftValues, *, ident: str | None = None) -> None:
    """Add the check that corresponds to a checker, under a name of its own."""
    ident = ident or reader.need("ident")
    name = draft.check_name(reader.element.tag, ident or "unnamed")
    verdict = TAKEN if name == ident else DIFFERENT
    reader.say("ident", verdict, f"name = {name}")
    comment = f"{reader.element.tag} checker, line {reader.element.line}"
    draft.checks.append(DraftTable(values={"type": values.pop("type"), "name": name, **values}, comment=comment))
    reader.whole(TAKEN, f"check {name}")


def _timing(target: ElementReader) -> DraftValues:
    interval = target.duration("interval", 10.0, unit="s", key="interval", bounds=_INTERVAL)
    timeout = target.duration("timeout", 5.0, unit="s", key="timeout", bounds=_TIMEOUT)
    return {"interval": format_duration(interval), "timeout": format_duration(timeout)}


def _port(target: ElementReader, default: int | None = None) -> int | None:
    if default is None and target.need("port") is None:
        return None
    port = target.integer("port", default or 1, least=1, most=LAST_PORT)
    target.say("port", TAKEN, f"port = {port}")
    return port


def _say_way(target: ElementReader) -> None:
    """Note the way that a check takes: its local address, and whether it is encrypted."""
    target.say("local_addr", NOT, "a check leaves by the address that the system chooses for it")
    if target.flag("secure", default=False):
        target.say(
            "secure", DIFFERENT, 'connects and hangs up, without TLS; a check of type http with tls = "on" asks more'
        )
    else:
        target.say("secure", TAKEN, "without TLS")


def _read_tcp(reader: ElementReader, draft: Draft) -> None:
    for target in _targets(reader):
        address, port, timing = _address(target), _port(target), _timing(target)
        _say_way(target)
        if address is None or port is None:
            continue
        if address in draft.vip_addresses:
            target.say("addr", TAKEN, f"address = {address}: on lo of every node, so that each looks at itself")
        target.say("addr", TAKEN, f"address = {address}") if not target.was_said("addr") else None
        reaction = react(reader, draft, when="both", action="restart", outside=_is_outside(address, draft))
        values: DraftValues = {"type": "tcp", "when": reaction.when, "action": reaction.action}
        _add(reader, draft, values | {"address": address, "port": port, **timing})


def _read_ping(reader: ElementReader, draft: Draft) -> None:
    for target in _targets(reader):
        address, timing = _address(target), _timing(target)
        target.say("local_addr", NOT, "a check leaves by the address that the system chooses for it")
        if address is None:
            continue
        target.say("addr", TAKEN, f"address = {address}") if not target.was_said("addr") else None
        reaction = react(reader, draft, when="pre", action="wait", outside=True)
        values: DraftValues = {"type": "ping", "when": reaction.when, "action": reaction.action}
        _add(reader, draft, values | {"address": address, **timing})


def _read_intf(reader: ElementReader, draft: Draft) -> None:
    for target in _targets(reader):
        address = _address(target, "local_addr")
        if address is None:
            continue
        if address in draft.addresses and len(draft.nodes) > 1:
            target.say("local_addr", DIFFERENT, "the interface of each node's own address")
            where: DraftValues = {}
        else:
            target.say("local_addr", TAKEN, f"address = {address}: fails on a node that does not have it")
            where = {"address": address}
        reaction = react(reader, draft, when="pre", action="wait", outside=True)
        _add(reader, draft, {"type": "interface", "when": reaction.when, "action": reaction.action, **where})


def _read_ip(reader: ElementReader, draft: Draft) -> None:
    for target in _targets(reader):
        address = _address(target)
        target.say("interval", DIFFERENT, "the kernel tells of every change at once")
        if address is None:
            continue
        if address in draft.vip_addresses:
            target.say("addr", DIFFERENT, "a VIP, which the daemon puts back when somebody removes it")
            reader.whole(DIFFERENT, "no check: the daemon holds the VIP itself")
            for name in ("ident", "when", "action"):
                reader.say(name, DIFFERENT, "no check of it")
            continue
        target.say("addr", TAKEN, f"address = {address}: fails on a node that does not have it")
        reaction = react(reader, draft, when="both", action="stopstart", outside=False)
        values: DraftValues = {
            "type": "interface",
            "when": reaction.when,
            "action": reaction.action,
            "address": address,
        }
        _add(reader, draft, values)


def _read_module(reader: ElementReader, draft: Draft) -> None:
    reaction = react(reader, draft, when="pre", action="wait", outside=True)
    elsewhere = False
    for target in _targets(reader, at_least=0):
        elsewhere = True
        _ask_module(reader, target, reaction, draft)
    if not elsewhere:
        with ElementReader(Element(tag="to", line=reader.element.line), reader.notes) as target:
            _ask_module(reader, target, reaction, draft)


def _ask_module(reader: ElementReader, target: ElementReader, reaction: Reaction, draft: Draft) -> None:
    module = reader.need("name")
    secure = target.flag("secure", default=False)
    has_address = "addr" in target.element.attributes or "addr" in target.element.unfilled
    address = _address(target) if has_address else "127.0.0.1"
    port, timing = _port(target, 9453 if secure else 9010), _timing(target)
    if module is None or address is None:
        return
    target.say("addr", TAKEN, f"address = {address}") if not target.was_said("addr") else None
    target.say("secure", TAKEN, "tls = unverified" if secure else "without TLS")
    path = f"/var/modules/{module}/ready.txt"
    reader.say("name", DIFFERENT, f"asks for {path} there; that it was restarted meanwhile is not noticed")
    values: DraftValues = {"type": "http", "when": reaction.when, "action": reaction.action, "address": address}
    values |= {"port": port, "path": path, "status": [200]} | ({"tls": "unverified"} if secure else {})
    _add(reader, draft, values | timing, ident=reader.get("ident") or usable_name(f"{module}_{address}"))


def _read_custom(element: Element, draft: Draft, scripts: ModuleScripts, notes: Notes) -> None:
    program = element.attributes.get("exec", "").strip()
    if scripts.is_for_windows(program):
        why = f'{program} is for Windows: port it, and add a check of type custom with command = ["bin/…"]'
        notes.drop(element, why)
        return
    with ElementReader(element, notes) as reader:
        reader.nothing_below()
        given, arguments = reader.need("exec"), _arguments(reader)
        ident = reader.need("ident")
        if ident is not None and ident != usable_name(ident):
            reader.refuse("ident", f'is not usable: "{ident}"', "letters, digits, dot, hyphen and underscore")
        if given is None or ident is None:
            return
        if (where := scripts.place_of(given)) is None:
            reader.refuse("exec", f'leads out of bin/: "{given}"', "the name of a program in bin/")
            return
        if scripts.lacks(given):
            reader.say("exec", DIFFERENT, f"{where} did not come with the module: put it there")
        reader.say("exec", TAKEN, f"runs {where}") if not reader.was_said("exec") else None
        reaction = react(reader, draft, when="both", action="noaction", outside=False)
        command = [where, draft.module, f"custom.{ident}", *arguments]
        _add(reader, draft, {"type": "custom", "when": reaction.when, "action": reaction.action, "command": command})


def _arguments(reader: ElementReader) -> list[str]:
    text = reader.get("arg", "") or ""
    try:
        words = shlex.split(text)
    except ValueError:  # an odd quote, meant as such
        words = text.split()
    reader.say("arg", TAKEN, f"arguments after the module and the resource: {len(words)}")
    return [word for word in words if word]


_KINDS: Mapping[str, Callable[[ElementReader, Draft], None]] = {
    "tcp": _read_tcp,
    "ping": _read_ping,
    "intf": _read_intf,
    "ip": _read_ip,
    "module": _read_module,
}
