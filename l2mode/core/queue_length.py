"""How many packets may wait for a judge in user space, so that each is judged in time on a machine of any speed.

What waits too long is dropped whatever it is, and behind a slow judge that is the rest of every burst. What comes to a
full queue is dropped as by any switch, and TCP slows down. So the queue is as long as its judge is fast.
"""

from typing import Final

_WITHIN: Final = 0.05
"Seconds in which a full queue is judged: half of what a packet may wait, for the judge has to be woken too."
_START: Final = 64
_LEAST: Final = 8
_MOST: Final = 1024
_MEMORY: Final = 0.25
"Seconds of work that are remembered: a pause in which others had the processor is no new speed."
_NEWS: Final = 1.25
"Times that a length must be off before it is changed."


class QueueLength:
    """Follows the speed of a judge; `packets` is how many may wait."""

    def __init__(self) -> None:
        self.packets = _START
        self._judged = 0.0
        self._seconds = 0.0

    def worked(self, packets: int, seconds: float) -> bool:
        """Take in how long it took to judge some packets, one after the other; True when another length is due."""
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
