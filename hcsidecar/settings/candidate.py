"""Checks on this machine a revision that is to be taken, before any of its files is put in place."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hcsidecar.core.farmfile.cross_checks import address_place
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.settings.named_files import travelling_name
from hcsidecar.core.settings.revision import FARM_FILE
from hcsidecar.farmfile.loading import is_local, see
from hcsidecar.farmfile.machine_checks import problems_here
from hcsidecar.farmfile.permissions import why_not_placed


def check_here(candidate: Path, me: NodeTable, *, farm_directory: Path) -> tuple[Problem, ...]:
    """Return all that keeps this node from going by the files in a directory, as `check-config` tells it.

    `me` is this node as it runs, and `farm_directory` the directory of its farm file: key file and certificates are
    there. Addresses that the node has now may be down for a moment; new ones must be here. A node that the candidate
    does not have any more needs none of what it names. Waits for the disk, and for other packages to load.
    """
    seen = see(candidate / FARM_FILE, look=problems_here, kinds_apart=True, machine=farm_directory)
    problems = list(seen.problems)
    if seen.farm is not None:
        index = next((index for index, node in enumerate(seen.farm.node) if node.name == me.name), None)
        if index is None:
            return ()
        problems += _of_new_addresses(index, seen.farm.node[index], me)
        problems += _of_places(seen.farm, farm_directory)
    return tuple(dict.fromkeys(_by_their_later_names(problem, candidate, farm_directory) for problem in problems))


def _of_new_addresses(index: int, new: NodeTable, me: NodeTable) -> Iterator[Problem]:
    for network, address in new.addresses.items():
        if address not in me.addresses.values() and not is_local(address):
            yield Problem(
                path=path_of(address_place(index, new, network)),
                message=f"is not an address of this machine: {address}",
                hint=f"ip address, on {new.name}",
            )


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
