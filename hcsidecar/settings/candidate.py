"""Checks on this machine a revision that is to be taken, before any of its files is put in place."""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hcsidecar.core.farmfile.cross_checks import address_place
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.farmfile.listeners import NodeListener, Transport, new_listeners
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.core.passing_errors import why_not_bound
from hcsidecar.core.settings.named_files import travelling_name
from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.farmfile.loading import is_local, see
from hcsidecar.farmfile.machine_checks import problems_here
from hcsidecar.farmfile.permissions import why_not_placed


def check_here(
    candidate: Path, me: NodeTable, *, farm_directory: Path, running: Sequence[FarmFile] = ()
) -> tuple[Problem, ...]:
    """Return all that keeps this node from going by the files in a directory, as `check-config` tells it.

    `me` is this node as it runs, and `farm_directory` the directory of its farm file: key file and certificates are
    there. `running` are the farm files by which its daemon goes: where they do not listen, the candidate's ports are
    bound for a moment. Addresses that the node has now may be down for a moment; new ones must be here. A node that the
    candidate does not have any more needs none of what it names. Waits for the disk, and for other packages to load.
    """
    seen = see(candidate / FARM_FILE, look=problems_here, kinds_apart=True, machine=farm_directory)
    problems = list(seen.problems)
    if seen.farm is not None:
        index = next((index for index, node in enumerate(seen.farm.node) if node.name == me.name), None)
        if index is None:
            return ()
        problems += _of_new_addresses(index, seen.farm.node[index], me)
        problems += _of_places(seen.farm, farm_directory)
        problems += _of_ports(seen.farm, me, running)
    return tuple(dict.fromkeys(_by_their_later_names(problem, candidate, farm_directory) for problem in problems))


def _of_new_addresses(index: int, new: NodeTable, me: NodeTable) -> Iterator[Problem]:
    for network, address in new.addresses.items():
        if address not in me.addresses.values() and not is_local(address):
            yield Problem(
                path=path_of(address_place(index, new, network)),
                message=f"is not an address of this machine: {address}",
                hint=f"ip address, on {new.name}",
            )


def _of_ports(farm: FarmFile, me: NodeTable, running: Sequence[FarmFile]) -> Iterator[Problem]:
    """Give the ports that this node could not use. An address that it has, or is to have, may be down for a moment."""
    may_come = {address for each in (farm, *running) for address in _own_addresses(each, me.name)}
    for listener in new_listeners(farm, me.name, running) if running else ():
        error = _try_to_bind(listener)
        if error is None or (error.errno == errno.EADDRNOTAVAIL and listener.endpoint.host in may_come):
            continue
        message = (
            f"cannot be used on {me.name}: {listener.transport} {listener.endpoint}: {why_not_bound(error).reason}"
        )
        yield Problem(path=listener.path, message=message, hint="choose another port or address, or free it")


def _own_addresses(farm: FarmFile, name: str) -> Iterator[str]:
    yield from farm.node_named(name).addresses.values()
    yield from (vip.address for vip in farm.l2.vip) if farm.l2 is not None else ()


def _try_to_bind(listener: NodeListener) -> OSError | None:
    """Bind a socket as the daemon does, and free it. Return why that is not possible, or None."""
    host, port = listener.endpoint
    is_tcp = listener.transport is Transport.TCP
    try:
        with socket.socket(
            socket.AF_INET6 if is_ipv6(host) else socket.AF_INET, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM
        ) as bound:
            if is_tcp and os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_ipv6(host):
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((host, port))
    except OSError as error:
        return error
    return None


def _of_places(farm: FarmFile, farm_directory: Path) -> Iterator[Problem]:
    """Give the scripts that nobody could trust where they are to be put, however they are here."""
    for key, name in farm.application.scripts.items() if farm.application is not None else ():
        if travelling_name(name) is not None:
            refusal = why_not_placed(farm_directory / name)
            if refusal is not None:
                yield Problem(path=f"application.{key}", message=refusal.message, hint=refusal.hint)


def _by_their_later_names(problem: Problem, candidate: Path, farm_directory: Path) -> Problem:
    """Name files by where the operator has them, and not by where the candidate is."""
    path, message, hint = (
        text.replace(f"{candidate}/", f"{farm_directory}/") for text in (problem.path, problem.message, problem.hint)
    )
    return replace(problem, path=path, message=message, hint=hint)
