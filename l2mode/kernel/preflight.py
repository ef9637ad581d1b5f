"""Tries before the start whether this machine can serve virtual IPs, for `hcsidecar check-config --online`.

The filter is loaded but not attached: nothing on the machine changes, and a running daemon is not disturbed.
"""

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from l2mode.core.filter_kinds import FilterKind
from l2mode.core.filters import FilterChoice, PassedOver, candidates, problems_of, remedies_of
from l2mode.core.interface import Interface, obstacles
from l2mode.core.loading import missing_capabilities
from l2mode.core.settings import VirtualIp
from l2mode.core.survey import Finding, of_kind
from l2mode.core.verdict import Delivery
from l2mode.kernel import libbpf
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import interface_holding, read_addresses, read_interface

_PROGRAMS: Final = {
    FilterKind.XDP: libbpf.XDP,
    FilterKind.XDP_GENERIC: libbpf.XDP,
    FilterKind.TC: libbpf.TC,
}


def try_here(
    vips: Sequence[VirtualIp],
    *,
    delivery: Delivery,
    interface: str | None,
    address: str,
    wanted: str,
    object_file: Path = libbpf.OBJECT,
) -> list[Finding]:
    """Return what would keep this machine from serving the virtual IPs, and which filter it would get.

    `interface` None means the interface that holds `address`; `wanted` is the farm file's word for the filter.
    """
    try:
        facts = read_interface(interface or interface_holding(ip_address(address)))
        addresses = read_addresses()
    except FilterError as error:
        return [Finding(level="error", message=error.problem, remedy=error.remedy)]
    return [
        *of_kind(facts, delivery),
        *(Finding(level="error", message=one.problem, remedy=one.remedy) for one in obstacles(vips, facts, addresses)),
        *_filters(wanted, facts, delivery, object_file),
    ]


def _filters(wanted: str, facts: Interface, delivery: Delivery, object_file: Path) -> Iterator[Finding]:
    missing = missing_capabilities(libbpf.capabilities())
    if missing:
        message = f"which filter works was not tried: this process has no {', '.join(missing)}"
        yield Finding(level="unseen", message=message, remedy="ask again as root")
        return
    passed_over: list[PassedOver] = []
    for kind, why in candidates(wanted, facts):
        problem = _why_not(kind, delivery, object_file)
        if problem is None:
            choice = FilterChoice(kind=kind, why=why, passed_over=tuple(passed_over))
            yield Finding(level="info", message=f"the kernel takes the filter {kind.value}: {why}")
            if choice.fall_back is not None:
                level = "warning" if choice.degraded else "info"
                yield Finding(level=level, message=choice.fall_back, remedy=choice.remedy)
            return
        passed_over.append(PassedOver(kind=kind, problem=problem.problem, remedy=problem.remedy))
    yield Finding(level="error", message=problems_of(passed_over), remedy=remedies_of(passed_over))


def _why_not(kind: FilterKind, delivery: Delivery, object_file: Path) -> FilterError | None:
    if kind is FilterKind.NFQUEUE:
        return _why_no_queue(delivery)
    try:
        libbpf.BpfFilter([_PROGRAMS[kind]], path=object_file).close()
    except FilterError as error:
        return error
    return None


def _why_no_queue(delivery: Delivery) -> FilterError | None:
    """Return what nfqueue lacks, as far as that can be seen without rules and a queue."""
    needed = ["iptables", *(["nft"] if delivery is Delivery.FLOODED else [])]
    for command in needed:
        if shutil.which(command) is None:
            remedy = "install iptables, and nftables for flooded delivery"
            return FilterError(f"the command {command} is missing", remedy)
    if find_spec("netfilterqueue") is None:
        return FilterError("the Python package netfilterqueue is missing", "pip install 'hcsidecar[l2]'")
    return None
