"""What a changed farm file means for the targets of a node: which are taken over, which begin and which are left.

A target is the place where a node is registered at a balancer. A changed table that still means this place is taken
over: the node stays registered. Otherwise the node leaves the former place, and registers at the new one.
"""

from collections.abc import Mapping
from typing import Final

from hcsidecar.core.farmfile.target_tables import Target

_PLACE: Final[Mapping[str, tuple[str, ...]]] = {
    "aws": ("group",),
    "haproxy": ("socket", "address", "backend", "server"),
}
"""The keys that say where a node is registered, by kind. A former identity in a group of AWS, such as another port, is
deregistered by the kind itself. Of programs and the kinds of other packages only the name says it."""


def is_same_place(former: Target, present: Target) -> bool:
    """Return whether two tables mean the same place at the same balancer."""
    if (former.type, former.label) != (present.type, present.label):
        return False
    return all(getattr(former, key) == getattr(present, key) for key in _PLACE.get(former.type, ()))
