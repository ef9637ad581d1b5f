"""The virtual IPs of a SafeKit module: the interfaces of <vip>, which become [l2] and its VIPs."""

from collections.abc import Sequence

from hcsidecar.core.farmfile.values import parse_address
from hcsidecar.core.safekit.draft import Draft, DraftTable, DraftValues
from hcsidecar.core.safekit.notes import Coverage, ElementReader, Notes
from hcsidecar.core.safekit.shares import read_shares
from hcsidecar.core.safekit.source import Element

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

_DELIVERIES = {"vmac_directed": "directed", "vmac_invisible": "flooded"}
_ON_LO = "the VIP stands on lo of every node while its daemon runs; the daemon puts it back when somebody removes it"


def read_vip(element: Element, draft: Draft, notes: Notes) -> None:
    """Read <vip>."""
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "[l2]")
        _read_switches(reader)
    lists = [child for child in element.children if child.tag == "interface_list"]
    sharing = [child for child in element.children if child.tag == "loadbalancing_list"]
    for child in element.children:
        if child not in (*lists, *sharing):
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <vip>")
    _read_interfaces(lists, draft, notes)
    read_shares(sharing, draft, notes)
    if draft.vips and not sharing:
        hint = "a <loadbalancing_list> with a <group> and a <rule> for each port"
        notes.refuse(element.line, "vip", "has no rule that says what is shared", hint)
    if not draft.vips and draft.shares and not notes.problems:
        notes.refuse(element.line, "vip", "has no virtual_addr that the rules could be for")


def _read_switches(reader: ElementReader) -> None:
    if reader.flag("tcpreset", default=True):
        reader.say(
            "tcpreset",
            DIFFERENT,
            "a stop waits for connections to end, `drain` at most; what is left then is reset at its next packet",
            unset="on",
        )
    else:
        reader.say("tcpreset", NOT, "what a stop leaves of connections is reset at its next packet, always")
    order = "clients are let in once the start script has ended and every check passes, and out before the stop script"
    if reader.flag("scriptcontrol", default=False):
        reader.say("scriptcontrol", NOT, f"{order}: the scripts need not do it, and cannot")
    else:
        reader.say(
            "scriptcontrol",
            DIFFERENT,
            f"{order}; SafeKit lets them in before the one and out after the other",
            unset="off",
        )


def _read_interfaces(lists: Sequence[Element], draft: Draft, notes: Notes) -> None:
    for each in lists:
        with ElementReader(each, notes) as reader:
            reader.whole(TAKEN, "what is in it")
        for interface in notes.children(each, "interface"):
            _read_interface(interface, draft, notes)


def _read_interface(element: Element, draft: Draft, notes: Notes) -> None:
    name = element.attributes.get("name", "").strip() or None
    ours = draft.l2.get("interface")
    if draft.vips and name != ours:
        where = f"interface {ours}" if ours else "the interface of the nodes' main addresses"
        notes.drop(element, f"all VIPs of a farm are on one interface, and the first ones are on {where}")
        return
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "[l2] interface")
        if name:
            draft.l2["interface"] = name
        reader.say("name", TAKEN, "interface of [l2], the same on every node")
        for key in ("arpreroute", "arpinterval", "arpelapse"):
            reader.say(key, DIFFERENT, "announced when the director or the view changes, then once a minute, always")
        _read_interface_check(reader, name, draft)
        for child in element.children:
            if child.tag == "virtual_interface":
                _read_virtual_interface(child, draft, notes)
            elif child.tag == "real_interface":
                notes.drop(child, "is for mirror modules: one node has its addresses; here all nodes have the VIPs")
            else:
                notes.drop(child, f"hcsidecar knows no <{child.tag}> in <interface>")


def _read_interface_check(reader: ElementReader, name: str | None, draft: Draft) -> None:
    if not reader.flag("check", default=True):
        reader.say("check", TAKEN, "no check of the interface")
        return
    kind: DraftValues = {"type": "interface"}
    if any(row.values.items() >= kind.items() and row.values.get("interface") == name for row in draft.checks):
        reader.say("check", TAKEN, "its check is there already", unset="on")
        return
    values = kind | {"name": draft.check_name("intf", name or "network"), "when": "pre", "action": "wait"}
    if name:
        values["interface"] = name
    draft.checks.append(DraftTable(values=values, comment=f"interface check, line {reader.element.line}"))
    reader.say("check", TAKEN, f"check {values['name']}: an interface that is down means WAIT, at once", unset="on")


def _read_virtual_interface(element: Element, draft: Draft, notes: Notes) -> None:
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "[l2] delivery")
        kind = reader.choice("type", "vmac_directed", _DELIVERIES)
        delivery = _DELIVERIES[kind]
        chosen = draft.l2.setdefault("delivery", delivery)
        if chosen != delivery:
            reader.say(
                "type", DIFFERENT, f"delivery = {chosen}: a farm has one for all its VIPs, the first of the module"
            )
        elif "type" in element.attributes:
            reader.say("type", TAKEN, f"delivery = {delivery}")
        else:
            reader.say("type", DIFFERENT, f"delivery = {delivery}", unset="")
        if kind == "vmac_directed":
            reader.say("addr", TAKEN, "has no effect with vmac_directed")
        else:
            reader.say(
                "addr", NOT, "the virtual MAC follows from the name of the farm and its VIPs, and begins with 0a:"
            )
        for address in notes.children(element, "virtual_addr"):
            _read_virtual_addr(address, draft, notes)


def _read_virtual_addr(element: Element, draft: Draft, notes: Notes) -> None:
    where = element.attributes.get("where", "alias").strip()
    if where != "alias":
        notes.drop(element, f'where="{where}" is for mirror modules: one node has the address; here all have')
        return
    with ElementReader(element, notes) as reader:
        text = reader.need("addr")
        reader.say("where", TAKEN, "on all nodes", unset="alias")
        reader.say("netmask", TAKEN, "not needed: the VIP is on lo, with the mask of one address")
        if reader.flag("check", default=True):
            reader.say("check", DIFFERENT, f"{_ON_LO}, and does not restart the module for it", unset="on")
        else:
            reader.say("check", DIFFERENT, _ON_LO)
        if reader.flag("connections", default=False):
            reader.say("connections", DIFFERENT, "`hcsidecar status` counts connections while a node drains")
        reader.say("connections", TAKEN, "not counted") if not reader.was_said("connections") else None
        reader.nothing_below()
        if text is None:
            return
        try:
            address = parse_address(text.removeprefix("[").removesuffix("]"))
        except ValueError:
            reader.refuse("addr", f'is no IP address: "{text}"', "write the address: a name would need a name server")
            return
        if address in draft.vip_addresses:
            reader.whole(TAKEN, "the VIP is there already")
        else:
            draft.vips.append(DraftTable(values={"address": address}, comment=f"virtual_addr, line {element.line}"))
            reader.whole(TAKEN, "[[l2.vip]]")
        reader.say("addr", TAKEN, f"VIP {address}")
