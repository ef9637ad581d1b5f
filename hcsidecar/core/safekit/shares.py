"""The load-balancing rules of a SafeKit module: groups with rules and powers, which become the shares of [l2]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hcsidecar.core.farmfile.values import LAST_PORT, parse_address
from hcsidecar.core.membership.heartbeat import MAX_POWER
from hcsidecar.core.safekit.draft import Draft, DraftTable, DraftValues
from hcsidecar.core.safekit.notes import Coverage, ElementReader, Notes
from hcsidecar.core.safekit.source import Element

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

_BY = {"on_addr": "address", "on_port": "port", "on_ipid": "datagram"}
_EVERY_PORT = (
    "write a <rule> for each port that clients use into the module's userconfig.xml, and import it again; "
    'what no share names is dropped, or with [l2] unmatched = "director" taken by the node that answers for the VIP'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """What the rules of one share have in common."""

    vip: str | None
    protocol: str
    by: str


@dataclass(slots=True)
class _Group:
    """The rules of a group, by kind: the ports, and the line of the first rule."""

    ports: dict[_Kind, list[int]] = field(default_factory=dict)


def read_shares(lists: Sequence[Element], draft: Draft, notes: Notes) -> None:
    """Read every <loadbalancing_list>: each group becomes a share, or several if its rules differ in kind."""
    for each in lists:
        with ElementReader(each, notes) as reader:
            reader.whole(TAKEN, "what is in it")
        groups = [child for child in each.children if child.tag == "group"]
        if not groups:
            notes.refuse(each.line, "loadbalancing_list", "has no <group>", "a group with a rule for each port")
        for group in notes.children(each, "group"):
            _read_group(group, draft, notes)


def _read_group(element: Element, draft: Draft, notes: Notes) -> None:
    group = _Group()
    powers: dict[str, int] = {}
    with ElementReader(element, notes) as reader:
        name = draft.share_name(reader.get("name") or "group")
        for child in element.children:
            if child.tag == "rule":
                _read_rule(child, group, draft, notes)
            elif child.tag == "cluster":
                powers |= _read_cluster(child, draft, notes)
            else:
                notes.drop(child, f"hcsidecar knows no <{child.tag}> in <group>")
        names = _add_shares(name, group, powers, draft, element.line)
        if not any(child.tag == "rule" for child in element.children):
            reader.refuse("", "has no <rule>", "one for each port")
        several = f": {', '.join(names)}, since its rules differ in VIP, protocol or filter" if len(names) > 1 else ""
        reader.whole(DIFFERENT if several else TAKEN, f"[[l2.share]]{several}")
        reader.say("name", TAKEN, f"name of the share: {name}; it gets no index")


def _add_shares(name: str, group: _Group, powers: Mapping[str, int], draft: Draft, line: int) -> list[str]:
    names = []
    for number, (kind, ports) in enumerate(group.ports.items()):
        wanted = name if number == 0 else f"{name}-{kind.protocol}-{kind.by}"
        values: DraftValues = {
            "name": draft.share_name(wanted),
            "protocol": kind.protocol,
            "ports": ports,
            "by": kind.by,
        }
        if kind.vip:
            values["vip"] = kind.vip
        if powers:
            values["power"] = dict(powers)
        draft.shares.append(DraftTable(values=values, comment=f"group, line {line}"))
        names.append(str(values["name"]))
    return names


def _read_rule(element: Element, group: _Group, draft: Draft, notes: Notes) -> None:
    with ElementReader(element, notes) as reader:
        reader.nothing_below()
        protocol, by = reader.need("proto"), reader.need("filter")
        if protocol == "arp":
            reader.whole(
                DIFFERENT, "one node, the director, answers ARP for a VIP; [l2] delivery says what it does then"
            )
            for name in ("proto", "filter", "port", "virtual_addr"):
                reader.say(name, DIFFERENT, "goes with the rule: ARP is not shared out")
            return
        vip, port = _read_vip_of(reader, draft), _read_port(reader)
        reader.whole(TAKEN, "part of its group's share")
        reader.say("proto", TAKEN, f"protocol = {protocol}")
        if protocol not in (None, "tcp", "udp"):
            reader.refuse("proto", f'is "{protocol}"', "tcp, udp or arp")
        if by is not None and by not in _BY:
            reader.refuse("filter", f'is "{by}"', f"one of {', '.join(_BY)}")
        elif by == "on_ipid" and protocol == "tcp":
            hint = 'filter="on_addr", or "on_port" to spread the connections of one client'
            reader.refuse("filter", "is on_ipid, which would scatter the packets of one TCP connection", hint)
        elif by is not None:
            reader.say("filter", TAKEN, f"by = {_BY[by]}")
        if protocol is not None and by in _BY and port is not None:
            ports = group.ports.setdefault(_Kind(vip=vip, protocol=protocol, by=_BY[by]), [])
            if port not in ports:
                ports.append(port)


def _read_port(reader: ElementReader) -> int | None:
    text = reader.get("port", "*" if "port" not in reader.element.unfilled else None)
    if text is None:
        return None
    if text == "*":
        reader.refuse("port", 'is "*", every port; a share names its ports', _EVERY_PORT)
        return None
    reader.say("port", TAKEN, "one of the ports of the share")
    problems = len(reader.notes.problems)
    port = reader.integer("port", 1, least=1, most=LAST_PORT)
    return port if len(reader.notes.problems) == problems else None


def _read_vip_of(reader: ElementReader, draft: Draft) -> str | None:
    text = reader.get("virtual_addr", "*")
    if text == "*":
        reader.say("virtual_addr", TAKEN, "all VIPs", unset="*")
        return None
    try:
        address = parse_address((text or "").removeprefix("[").removesuffix("]"))
    except ValueError:
        reader.refuse("virtual_addr", f'is no IP address: "{text}"', "write the address of one of the VIPs, or *")
        return None
    if address not in draft.vip_addresses:
        reader.refuse(
            "virtual_addr", f"is no VIP of this module: {address}", f"it has {', '.join(draft.vip_addresses)}"
        )
    reader.say("virtual_addr", TAKEN, f"vip = {address}")
    return address


def _read_cluster(element: Element, draft: Draft, notes: Notes) -> dict[str, int]:
    powers: dict[str, int] = {}
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "power of the share")
    for child in element.children:
        if child.tag != "host":
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <cluster>")
            continue
        with ElementReader(child, notes) as reader:
            reader.nothing_below()
            name = reader.need("name")
            power = reader.integer("power", 1, least=0, most=MAX_POWER)
            reader.whole(TAKEN, "power of a node in the share")
            reader.say("name", TAKEN, "the node")
            reader.say("power", TAKEN, f"power = {power}" + (": it takes nothing" if power == 0 else ""), unset="1")
            if name is not None and draft.nodes and name not in draft.node_names:
                hint = f"the nodes are {', '.join(draft.node_names)}: --node {name}=ADDRESS"
                reader.refuse("name", f'is no node of the farm: "{name}"', hint)
            elif name is not None:
                powers[name] = power
    return powers
