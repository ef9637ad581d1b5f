"""The merged story of a simulated farm: who did what when, for the reader of a failure and for the digest."""

import hashlib

TAIL = 80
"Lines of the story that a failure prints."


class Story:
    """Lines in order of time; times are in seconds of the simulation's own clock."""

    __slots__ = ("_lines",)

    def __init__(self):
        self._lines = []

    def add(self, at, who, what):
        self._lines.append((at, who, what))

    def __len__(self):
        return len(self._lines)

    def tells(self, who, what, *, since):
        """Tell whether one has said something since a time."""
        return any(name == who and what in line and at >= since for at, name, line in self._lines)

    def times(self, what):
        """List when anybody has said something."""
        return [at for at, _, line in self._lines if what in line]

    def tail(self, count=TAIL):
        return [f"{at:10.4f}  {who:<6} {what}" for at, who, what in self._lines[-count:]]

    def digest(self):
        summary = hashlib.blake2b(digest_size=16)
        for line in self._lines:
            summary.update(repr(line).encode())
        return summary.hexdigest()
