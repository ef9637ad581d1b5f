"""The service and the cluster of a SafeKit module: <service>, <farm>, <lan> and the nodes."""

from collections.abc import Iterator, Sequence

from hcsidecar.core.farmfile.tables import PULSES_TO_DEATH
from hcsidecar.core.farmfile.values import LAST_PORT, HostPort, format_duration, is_ipv6, parse_address
from hcsidecar.core.safekit.draft import Draft, DraftTable, DraftValues, usable_name
from hcsidecar.core.safekit.notes import Coverage, ElementReader, Notes
from hcsidecar.core.safekit.source import Element, ImportOptions
from hcsidecar.core.why_not import WhyNot

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT

NAME_NODES = "--node NAME=ADDRESS, once for each server"
_HOUR, _DAY = 3600.0, 86400.0
_BOOT = {
    "on": (DIFFERENT, "the module starts with its daemon, unless `hcsidecar stop` was the operator's last word"),
    "auto": (TAKEN, "the daemon remembers whether the module was started"),
    "off": (DIFFERENT, "the daemon's unit decides: systemctl disable hcsidecar"),
    "ignore": (DIFFERENT, "instead of `safekit boot`: systemctl enable or disable hcsidecar"),
}
_OTHER_MODES = {
    "mirror": "is a mirror module: one node serves and replicates its data to the other, which hcsidecar does not do",
    "light": "is a light module: one node without a farm, which hcsidecar does not import",
}


def why_not_a_farm(service: Element) -> WhyNot | None:
    """Return why a module is of a kind that has no farm file, with the remedy; None if it is a farm."""
    mode = service.attributes.get("mode", "").strip().lower()
    if mode == "farm" or "mode" in service.unfilled:
        return None
    known = _OTHER_MODES.get(mode, f'has the mode "{mode}"' if mode else "has no mode")
    return WhyNot(known, 'only modules with mode="farm" can be imported')


def read_service(reader: ElementReader, draft: Draft) -> DraftValues:
    """Read the attributes of <service>. Return the keys of [application] that follow from them."""
    reader.whole(TAKEN, f"[farm] {draft.farm['name']}")
    reader.say("mode", TAKEN, "a farm")
    boot = reader.choice("boot", "ignore", _BOOT)
    reader.say("boot", *_BOOT[boot], unset="ignore")
    if reader.seconds("boot_delay", 0, unit="s"):
        remedy = "the daemon starts at once: a drop-in with ExecStartPre=/bin/sleep delays it"
        reader.say("boot_delay", NOT, remedy)
    reader.say("boot_delay", TAKEN, "no delay") if not reader.was_said("boot_delay") else None
    most = reader.integer("maxloop", 3, least=0, most=1000)
    reader.say("maxloop", TAKEN, f"max_restarts = {most}: the failure after that stops the module")
    window = reader.duration("loop_interval", 24 * _HOUR, unit="h", key="restart_window", bounds=(0, 365 * _DAY))
    if reader.flag("automatic_reboot", default=False):
        reader.say("automatic_reboot", NOT, "hcsidecar never reboots a machine: stopstart stops and starts the module")
    else:
        reader.say("automatic_reboot", TAKEN, "no reboot")
    for name in ("failover", "defaultprim"):
        reader.say(name, NOT, "is for mirror modules")
    return {"max_restarts": most, "restart_window": format_duration(window)}


def read_farm(element: Element, draft: Draft, options: ImportOptions, notes: Notes) -> None:
    """Read <farm> with its lans and nodes: [heartbeat], the nodes, and where they listen."""
    lans = [child for child in element.children if child.tag == "lan"]
    with ElementReader(element, notes) as reader:
        reader.whole(TAKEN, "[heartbeat]")
        _read_timing(reader, draft)
    for child in element.children:
        if child.tag != "lan":
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <farm>")
    if not lans:
        notes.refuse(element.line, "farm", "has no <lan>", "at least one: the network of the heartbeats")
    legacy = [pair for number, lan in enumerate(lans) for pair in _read_nodes(lan, number, options, notes)]
    by_name: dict[str, list[str]] = {}
    for name, address in options.nodes or legacy:
        by_name.setdefault(name, []).append(address)
    networks = _read_lans(lans, by_name, notes)
    if not by_name:
        notes.refuse(element.line, "farm", "names no servers, a SafeKit cluster has them elsewhere", NAME_NODES)
    for name, given in by_name.items():
        for address in given[max(len(lans), 1) :]:
            notes.refuse(0, f"--node {name}={address}", f"is address {len(given)} of {name}", f"lans: {len(lans)}")
        pairs = dict(zip(networks, given, strict=False))
        place: DraftValues = {"address": given[0]} if len(networks) < 2 else {"addresses": pairs}  # noqa: PLR2004 - several
        draft.nodes.append(DraftTable(values={"name": name, **place}))
    families = sorted({is_ipv6(given[0]) for given in by_name.values()})
    if True in families:
        draft.web["listen"] = [str(HostPort("::" if ipv6 else "0.0.0.0", 9010)) for ipv6 in families]


def _read_timing(reader: ElementReader, draft: Draft) -> None:
    pulse = reader.seconds("pulse", 0.1, unit="ms", least=0.001, most=60)
    missed = reader.integer("slost_count", 10, least=1, most=1_000_000)
    timed = {"pulse", "slost_count"} & reader.element.attributes.keys()
    lost_after = min(max(missed, PULSES_TO_DEATH) * pulse, _HOUR)
    if timed:
        draft.heartbeat |= {"pulse": format_duration(pulse), "lost_after": format_duration(lost_after)}
        reader.say("pulse", TAKEN, f'pulse = "{format_duration(pulse)}"')
        verdict = TAKEN if lost_after == missed * pulse else DIFFERENT
        reader.say(
            "slost_count",
            verdict,
            f'lost_after = "{format_duration(lost_after)}": of any node, there is no leader here',
        )
    else:
        preset = "the preset lan: 50 ms, and a node is dead after 0.5 s of silence"
        reader.say("pulse", DIFFERENT, preset, unset="100ms")
        reader.say("slost_count", DIFFERENT, preset, unset="10")
    reader.integer("mlost_count", 20, least=1, most=1_000_000)
    reader.say("mlost_count", NOT, "there is no leader that could be lost: lost_after counts for every node")
    if "port" in reader.element.attributes:
        draft.heartbeat["port"] = reader.integer("port", 4803, least=1, most=LAST_PORT)
        reader.say("port", DIFFERENT, "UDP port of the heartbeats; SafeKit must not run at the same time")


def _read_nodes(lan: Element, number: int, options: ImportOptions, notes: Notes) -> Iterator[tuple[str, str]]:
    """Yield name and address of each <node> of a lan, as in modules before SafeKit 7.2."""
    for child in lan.children:
        if child.tag != "node":
            notes.drop(child, f"hcsidecar knows no <{child.tag}> in <lan>")
            continue
        with ElementReader(child, notes) as reader:
            if options.nodes:
                reader.whole(DIFFERENT, "the servers are those that were given with --node")
                for key in ("name", "addr"):
                    reader.say(key, DIFFERENT, "not used, since --node was given")
            else:
                reader.whole(TAKEN, f"[[node]], its address number {number + 1}")
                node, address = reader.need("name"), reader.need("addr")
                reader.say("name", TAKEN, "name of the node")
                reader.say("addr", TAKEN, "address of the node")
                if node and address:
                    yield node, _address(reader, address)
            reader.say("laddr", NOT, "a node has the address by which the others reach it, and no other behind a NAT")
            reader.nothing_below()


def _address(reader: ElementReader, text: str) -> str:
    try:
        return parse_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        reader.refuse("addr", f'is no IP address: "{text}"', f"give all servers: {NAME_NODES}")
        return text


def _read_lans(lans: Sequence[Element], nodes: dict[str, list[str]], notes: Notes) -> list[str]:
    """Return the names of the networks on which all nodes have an address."""
    usable = min((len(given) for given in nodes.values()), default=len(lans))
    networks: list[str] = []
    for number, lan in enumerate(lans):
        with ElementReader(lan, notes) as reader:
            named = reader.need("name")
            name = usable_name(named or f"lan{number + 1}")
            name = f"{name[:50]}-{number + 1}" if name in networks else name
            if number >= usable:
                why = f"no address of the nodes on it: name each node once more, --node NAME=ADDRESS {number + 1}"
                reader.whole(NOT, why)
                reader.say("name", NOT, "goes with <lan>")
                reader.say("command", NOT, "goes with <lan>")
                continue
            networks.append(name)
            reader.whole(TAKEN, "network of the heartbeats")
            reader.say("name", TAKEN, "the network of the nodes' addresses")
            is_first = number == 0
            verdict = TAKEN if reader.flag("command", default=is_first) is is_first else DIFFERENT
            reader.say("command", verdict, "what nodes ask of each other goes by the first network")
    return networks
