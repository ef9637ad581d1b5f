"""Writes the decisions of the handover into the tables of one filter."""

from typing import Final

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import NOBODY
from l2mode.core.handover import Handover, director_of
from l2mode.core.regrouping import Regrouping
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.tables import Tables
from l2mode.core.transit import View

_NOBODYS: Final = bytes([NOBODY]) * BUCKETS


class TableWriter:
    """Writes the tables of a filter that was configured with these settings.

    While the handover still goes by former settings, `regrouping` says how the groups of the filter follow from them:
    what is the same is taken as before, and nothing else is.
    """

    def __init__(self, tables: Tables, settings: LayerTwoSettings, regrouping: Regrouping | None = None) -> None:
        self.tables = tables
        self._settings = settings
        self._regrouping = regrouping
        self._numbers = {name: number for number, name in enumerate(settings.nodes)}
        self._dirty: dict[int, int] = {}
        "The dirty members in the tables."

    def go_over(self) -> None:
        """Note that the handover goes by the settings of this filter now."""
        self._regrouping = None

    def turn(self, handover: Handover, others: View) -> None:
        """Turn the filter to the present buckets and directors.

        `others` is the view by which this node sends packets on while it is in none.
        """
        former, dirty = self._dirty, self._dirty_members(handover)
        # During the swap, a node counts as dirty if it is so by the old or the new tables: otherwise the filter would
        # answer packets with resets.
        self.tables.set_dirty(
            me=True, members={node: former.get(node, 0) | dirty.get(node, 0) for node in {*former, *dirty}}
        )
        self.tables.swap(
            [self._cells(handover, group, others) for group in range(len(self._settings.groups))],
            self._directors(handover, others),
        )
        self._write_dirty(handover, dirty)

    def write_dirty(self, handover: Handover) -> None:
        """Write which nodes are dirty."""
        self._write_dirty(handover, self._dirty_members(handover))

    def write_macs(self, own: bytes, handover: Handover) -> None:
        """Write the MACs of this node and of those that it hears."""
        known = {
            self._numbers[node.name]: node.mac
            for node in handover.neighbours
            if node.mac and node.name in self._numbers
        }
        self.tables.set_macs(own, known)

    def _write_dirty(self, handover: Handover, members: dict[int, int]) -> None:
        # A filter of other groups than the handover's has no buckets in some of them, and connections all the same.
        self.tables.set_dirty(handover.dirty or self._regrouping is not None, members)
        self._dirty = members

    def _dirty_members(self, handover: Handover) -> dict[int, int]:
        found = handover.dirty_members()
        return {self._numbers[name]: buckets for name, buckets in found.items() if name in self._numbers}

    def _cells(self, handover: Handover, group: int, others: View) -> bytes:
        by_handover = group if self._regrouping is None else self._regrouping.groups[group]
        if by_handover is None:
            return _NOBODYS
        # A node that has just left the view still takes the buckets that move.
        if others and not handover.moving:
            return handover.cells_of_others(others, by_handover, self._numbers)
        return handover.cells(by_handover, self._numbers)

    def _directors(self, handover: Handover, others: View) -> list[int]:
        if self._regrouping is not None and not self._regrouping.unmatched_alike:
            return [NOBODY] * len(self._settings.vips)
        directors = [director_of(handover.view or others, vip.packed) for vip in self._settings.vips]
        # The others' view may be of another farm file, with nodes that this one does not know.
        return [NOBODY if name is None else self._numbers.get(name, NOBODY) for name in directors]
