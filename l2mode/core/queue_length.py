"""The number of packets that may wait for the filter in user space, chosen so that each is judged in time.

A packet that has waited too long is dropped, whatever it is; with a slow filter that would be the rest of every burst.
A packet that finds the queue full is dropped too, as by any switch, and TCP slows down. So the length of the queue
follows the speed of the filter.
"""

from typing import Final

_WITHIN: Final = 0.05
"Seconds in which a full queue is judged: half of the time that a packet may wait, since the reader must wake up too."
_START: Final = 64
_LEAST: Final = 8
_MOST: Final = 1024
_MEMORY: Final = 0.25
"Seconds of work that are remembered: a pause in which other processes had the processor is not a new speed."
_NEWS: Final = 1.25
"The ratio by which the length must be wrong before it is changed."


class QueueLength:
    """Follows the speed of the filter; `packets` is the number that may wait."""

    def __init__(self) -> None:
        self.packets = _START
        self._judged = 0.0
        self._seconds = 0.0

    def worked(self, packets: int, seconds: float) -> bool:
        """Take in the time that some packets took, one after the other. Return whether the length must change."""
        self._judged += packets
        self._seconds += seconds
        if self._seconds > _MEMORY:
            self._judged, self._seconds = self._judged / 2, self._seconds / 2
        due = _MOST
        if self._judged * _WITHIN < _MOST * self._seconds:
            due = max(_LEAST, int(self._judged * _WITHIN / self._seconds))
        if self.packets / _NEWS < due < self.packets * _NEWS:
            return False
        news, self.packets = due != self.packets, due
        return news
