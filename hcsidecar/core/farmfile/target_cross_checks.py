"""The checks between the targets and the nodes of a farm file."""

from collections.abc import Callable, Iterator

from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.raw_tables import RawTables, present, twice
from hcsidecar.core.farmfile.target_tables import FROM_METADATA, AwsTarget, HaproxyTarget


def _targets_have_names_of_their_own(parts: RawTables) -> Iterator[Problem]:
    # The name becomes a file name, and some file systems ignore case.
    names = ((("target", index, "name"), target.label) for index, target in present(parts.target))
    yield from twice(names, "is the name of another target: {}", key=str.lower)


def _ids_are_of_one_node(parts: RawTables) -> Iterator[Problem]:
    """Find ids of one server in the table itself, which is for every node."""
    several = len(parts.node) > 1
    for index, target in present(parts.target):
        if isinstance(target, AwsTarget) and several and target.id not in (None, FROM_METADATA):
            yield Problem(
                path=path_of(("target", index, "id")),
                message=f"is for one server, but the farm has {len(parts.node)} nodes",
                hint=f'nodes = {{ web1 = {{ id = "{target.id}" }} }}, or id = "{FROM_METADATA}"',
            )
        if isinstance(target, HaproxyTarget) and several and target.server is not None:
            yield Problem(
                path=path_of(("target", index, "server")),
                message=f"is for one server, but the farm has {len(parts.node)} nodes",
                hint="without it, each node uses its own name",
            )


def _ids_are_of_nodes_that_there_are(parts: RawTables) -> Iterator[Problem]:
    names = {node.name for _, node in parts.nodes}
    # A node that is wrong by itself may still have one of these names.
    if len(names) < len(parts.node):
        return
    for index, target in present(parts.target):
        if not isinstance(target, AwsTarget):
            continue
        for name in target.nodes:
            if name not in names:
                yield Problem(
                    path=path_of(("target", index, "nodes", name)),
                    message="is not a node of this farm",
                    hint=f"the nodes are {', '.join(sorted(names))}",
                )


def _nodes_have_ids_of_their_own(parts: RawTables) -> Iterator[Problem]:
    for index, target in present(parts.target):
        if isinstance(target, AwsTarget):
            ids = (
                (("target", index, "nodes", name, "id"), node.id)
                for name, node in target.nodes.items()
                if node.id is not None and node.id != FROM_METADATA
            )
            yield from twice(ids, "is the id of another node: {}")


TARGET_RULES: tuple[Callable[[RawTables], Iterator[Problem]], ...] = (
    _targets_have_names_of_their_own,
    _ids_are_of_one_node,
    _ids_are_of_nodes_that_there_are,
    _nodes_have_ids_of_their_own,
)
