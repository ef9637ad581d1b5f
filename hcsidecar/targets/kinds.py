"""Finds the kinds of balancers: those of hcsidecar, and those that other packages add with entry points.

A kind is imported only if a farm file has a target of it: a farm behind HAProxy needs no SDK of a cloud.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from hcsidecar.targets.kind import Balancer, Here, Kind, Target

GROUP = "hcsidecar.targets"
"The group of entry points with which packages add kinds; the name of the entry point is the `type` in the farm file."
_OURS: Mapping[str, EntryPoint] = {
    name: EntryPoint(name=name, value=f"hcsidecar.targets.{name}:KIND", group=GROUP)
    for name in ("aws", "haproxy", "command")
}


class KindError(Exception):
    """Raised if a kind cannot be used; the text says why."""


def known_kinds() -> Mapping[str, EntryPoint]:
    """Return all kinds by their type. Those of hcsidecar cannot be replaced."""
    return {point.name: point for point in entry_points(group=GROUP)} | dict(_OURS)


def kind_of(type_: str) -> Kind:
    """Return the kind of a type. Raise KindError if it cannot be used."""
    point = _OURS.get(type_) or known_kinds().get(type_)
    if point is None:
        raise KindError(f"there is no kind {type_}; there are {', '.join(sorted(known_kinds()))}")
    try:
        kind: Kind = point.load()
    except Exception as error:  # another package may raise anything when it is imported
        text = f"the package that adds {type_} ({point.value}) does not load: {type(error).__name__}: {error}"
        raise KindError(text) from error
    table = getattr(kind, "table", None)
    if not isinstance(table, type) or not issubclass(table, Target) or not callable(getattr(kind, "open", None)):
        raise KindError(f"the package that adds {type_} ({point.value}) gives no kind: see hcsidecar.targets.kind")
    return kind


def open_balancer(table: Target, here: Here) -> Balancer:
    """Return the balancer of a target. Raise KindError if there is none."""
    return kind_of(table.type).open(table, here)
