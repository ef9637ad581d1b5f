"""What `hcsidecar l2-check` makes of what the nodes say: one line per check, with the remedy where something is wrong.

Each node tells what it found on its own machine, who answered when it asked the network for the virtual IPs, and what
its filter does. Only together do they show whether exactly one machine answers, and whether every bucket has one taker.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hcsidecar.core.l2_documents import CheckLevel, LayerTwoCheck, VipAnswer
from l2mode.core.buckets import BUCKETS
from l2mode.core.conflicts import REMEDY
from l2mode.core.documents import VipStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """One check, and how it ended."""

    level: CheckLevel
    text: str
    remedy: str = ""


def judge(nodes: Mapping[str, LayerTwoCheck], silent: Mapping[str, str]) -> list[CheckLine]:
    """Judge what the nodes tell; `silent` says of those that could not be asked why not."""
    lines = [
        CheckLine(
            level=CheckLevel.PROBLEM,
            text=f"{name} could not be asked: {why}",
            remedy="start its daemon, or look at the network between the nodes; it is missing in what follows",
        )
        for name, why in silent.items()
    ]
    for name, node in nodes.items():
        lines += _machine(name, node)
    lines += _agreement(nodes)
    if nodes:
        for vip in next(iter(nodes.values())).vips:
            lines += _answers(vip.address, nodes)
        lines += _takers(nodes, complete=not silent)
        lines += _sight(nodes)
    return lines


def _machine(name: str, node: LayerTwoCheck) -> Iterator[CheckLine]:
    """What the node says of itself."""
    used = f"{name}: the filter is {node.filter.name} on {node.interface}, {node.delivery} delivery: {node.filter.why}"
    yield CheckLine(level=CheckLevel.OK, text=used)
    if node.filter.fall_back is not None:
        level = CheckLevel.WARNING if node.filter.degraded else CheckLevel.OK
        yield CheckLine(level=level, text=f"{name}: {node.filter.fall_back}", remedy=node.filter.remedy)
    for warning in node.filter.warnings:
        yield CheckLine(
            level=CheckLevel.WARNING, text=f"{name}: {warning}", remedy="see which program it is, and who needs it"
        )
    for finding in node.findings:
        yield CheckLine(level=finding.level, text=f"{name}: {finding.message}", remedy=finding.remedy)
    if name not in node.view:
        text = f"{name} is in no view and takes nothing"
        yield CheckLine(level=CheckLevel.WARNING, text=text, remedy="`hcsidecar status` says why")
    elif not node.lease_open:
        text = f"{name}: the lease is over, so its filter takes nothing"
        yield CheckLine(level=CheckLevel.PROBLEM, text=text, remedy="look in its log: are its heartbeats heard?")
    for conflict in node.conflicts:
        yield CheckLine(level=CheckLevel.PROBLEM, text=f"{name}: {conflict.text}", remedy=REMEDY)
    for packets in node.packets:
        if packets.persists:
            text = f"{name} drops packets again and again, {packets.count} by now: {packets.text}"
            yield CheckLine(
                level=CheckLevel.WARNING, text=text, remedy="its log says more, and the manual what it means"
            )


def _agreement(nodes: Mapping[str, LayerTwoCheck]) -> Iterator[CheckLine]:
    """Whether the nodes do the same."""
    deliveries = {node.delivery for node in nodes.values()}
    if len(deliveries) > 1:
        told = ", ".join(f"{name} {node.delivery}" for name, node in nodes.items())
        remedy = "let every node have the same farm file, and restart their daemons"
        yield CheckLine(level=CheckLevel.PROBLEM, text=f"the nodes differ in their delivery: {told}", remedy=remedy)
    views = {node.view for name, node in nodes.items() if name in node.view}
    if len(views) > 1:
        told = "; ".join(", ".join(view) for view in sorted(views))
        remedy = "the farm is split: see whose heartbeats are not heard, with `hcsidecar status --node`"
        yield CheckLine(level=CheckLevel.PROBLEM, text=f"there are {len(views)} views: {told}", remedy=remedy)


def _answers(vip: str, nodes: Mapping[str, LayerTwoCheck]) -> Iterator[CheckLine]:
    """Who answers for a VIP: in directed delivery its director alone, in flooded every node with the virtual MAC."""
    names = {mac: name for node in nodes.values() for name, mac in node.macs.items()}
    good: list[str] = []
    wrong = False
    for asker, node in nodes.items():
        place = next((each for each in node.vips if each.address == vip), None)
        if place is None or vip not in node.answers or asker not in node.view:
            continue
        heard = node.answers[vip]
        for answer in heard:
            if not _is_right(answer, place, names):
                wrong = True
                yield _stranger(vip, asker, answer, names, place)
        right = {names[answer.source_mac] for answer in heard if _is_right(answer, place, names)}
        lacking = _expected(asker, node, place) - right
        if lacking and not right:
            wrong = True
            yield CheckLine(
                level=CheckLevel.PROBLEM,
                text=f"{vip}: nobody answers when {asker} asks, but {_listed(lacking)} should",
                remedy="does the switch or the hypervisor pass what the nodes send? see the manual, Layer-2 mode",
            )
        elif lacking:
            wrong = True
            yield CheckLine(
                level=CheckLevel.WARNING,
                text=f"{vip}: when {asker} asks, {_listed(lacking)} should answer too",
                remedy="does the switch pass broadcasts and multicasts between all nodes?",
            )
        elif right:
            good.append(f"{_listed(right)} to {asker}")
    if good and not wrong:
        yield CheckLine(level=CheckLevel.OK, text=f"{vip}: answered by {'; '.join(good)}, and by nobody else")
    elif not wrong:
        remedy = "look from a client: ip neigh show, after a request"
        yield CheckLine(
            level=CheckLevel.WARNING, text=f"{vip}: there is no other member that could ask who answers", remedy=remedy
        )


def _is_right(answer: VipAnswer, place: VipStatus, names: Mapping[str, str]) -> bool:
    return answer.mac == place.mac and answer.source_mac in names


def _expected(asker: str, node: LayerTwoCheck, place: VipStatus) -> set[str]:
    """Who must answer a node; its own answer does not come back to it."""
    members = set(node.view) if place.director is None else {place.director}
    return members - {asker}


def _stranger(vip: str, asker: str, answer: VipAnswer, names: Mapping[str, str], place: VipStatus) -> CheckLine:
    who = names.get(answer.source_mac)
    if who is None:
        return CheckLine(
            level=CheckLevel.PROBLEM,
            text=f"{vip}: the machine {answer.source_mac}, which is no node, tells {asker} that it has the address",
            remedy="find that machine and take the address away from it, or choose another VIP",
        )
    return CheckLine(
        level=CheckLevel.PROBLEM,
        text=f"{vip}: {who} tells {asker} that it is at {answer.mac}, but it is at {place.mac or 'no known place'}",
        remedy=f"on {who}: is another program (keepalived, a static address) answering for the VIP?",
    )


def _takers(nodes: Mapping[str, LayerTwoCheck], *, complete: bool) -> Iterator[CheckLine]:
    """Whether every bucket has one taker; without a node's word its buckets cannot be told from nobody's."""
    for share in next(iter(nodes.values())).shares:
        mine = {
            name: sum(each.mine for each in node.shares if each.name == share.name)
            for name, node in nodes.items()
            if node.lease_open
        }
        taken = sum(mine.values())
        told = ", ".join(f"{name} {count}" for name, count in mine.items() if count) or "nobody has any"
        if taken == BUCKETS:
            yield CheckLine(
                level=CheckLevel.OK, text=f"{share.name}: every one of the {BUCKETS} buckets has its taker: {told}"
            )
        elif taken > BUCKETS:
            remedy = "ask again; if it stays, the farm is split: `hcsidecar status --node` of each node shows its view"
            yield CheckLine(
                level=CheckLevel.PROBLEM,
                text=f"{share.name}: {taken - BUCKETS} buckets are taken twice: {told}",
                remedy=remedy,
            )
        elif complete:
            remedy = "ask again; if it stays, the log of the node whose claim waits says for whom"
            yield CheckLine(
                level=CheckLevel.PROBLEM,
                text=f"{share.name}: {BUCKETS - taken} buckets have no taker: {told}",
                remedy=remedy,
            )


def _sight(nodes: Mapping[str, LayerTwoCheck]) -> Iterator[CheckLine]:
    """Whether the switch floods to every node."""
    if not any(node.delivery == "flooded" for node in nodes.values()):
        return
    told = Counter(name for node in nodes.values() for name in node.cut_off)
    # They look at different moments. What is so is soon seen by all, the node itself included.
    cut_off = sorted(name for name, count in told.items() if 2 * count > len(nodes))
    for name in cut_off:
        yield CheckLine(
            level=CheckLevel.PROBLEM,
            text=f"{name} sees under half of the packets that the others see: the switch does not flood to it",
            remedy="allow flooding, on a hypervisor promiscuous mode, on its port; or choose directed delivery",
        )
    if not cut_off:
        yield CheckLine(level=CheckLevel.OK, text="no node is known to be cut off by the switch")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))
