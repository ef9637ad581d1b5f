"""Whether the keys that a node starts with are those of its farm.

While a daemon runs it refuses a key file that shares nothing with the one in use. At a start it cannot: a farm whose
keys were all replaced on purpose must come up. So a start with other keys is told, and again, louder, when nodes of
the farm speak with keys that are not in the file. The keys are *confirmed*, and remembered for the next start, when a
node is heard that has them too.
"""

from collections.abc import Collection
from dataclasses import dataclass

from hcsidecar.core.events import Event, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPrint:
    """What may be kept, and told, of a key file: fingerprints, from which nobody gets at its secrets."""

    keys: frozenset[int]
    "The ids of its keys, which every datagram bears in clear."
    hash_seed: int

    def why_other(self, former: "KeyPrint") -> str | None:
        """Say why these are not the keys of the same farm after a step of a rotation, or None."""
        if self.hash_seed != former.hash_seed:
            return "it has another hash seed"
        if self.keys.isdisjoint(former.keys):
            return "they share no key"
        return None


class KeyChange:
    """The keys of one daemon.

    `file` is the path of its key file, `former` what an earlier daemon had, if one did; `alone`: the farm has no other
    node, so there is nobody to have other keys.
    """

    def __init__(self, present: KeyPrint, *, former: KeyPrint | None, alone: bool, file: str) -> None:
        self._present = present
        self._file = file
        self._why = None if former is None or alone else present.why_other(former)
        self._strangers: tuple[str, ...] = ()

    @property
    def confirmed(self) -> KeyPrint | None:
        """What the next daemon must know, or None while it must not take these keys for the farm's."""
        return None if self._why else self._present

    @property
    def complaint(self) -> str:
        """Say what is wrong, for the status document; empty while nothing is."""
        if not self._strangers:
            return ""
        return f"{', '.join(self._strangers)}: heard with keys that are not in {self._file}"

    def begin(self) -> list[Event]:
        """Tell what is odd about the keys at the start."""
        if self._why is None:
            return []
        told = (
            f"the key file {self._file} is not the one that this node had before ({self._why}): if the other nodes "
            "have another one, copy it from there and restart this daemon; if all keys were replaced, this ends as "
            "soon as another node is heard with the new ones"
        )
        return [_tell(Level.WARNING, told)]

    def reload(self, present: KeyPrint) -> None:
        """Take a step of a rotation, which a running daemon has accepted."""
        self._present = present

    def look(self, *, met: Collection[str], strangers: Collection[str]) -> list[Event]:
        """Take who is heard with the keys of the file, and in whose names others have come so far; what is new is told.

        Anybody can send a datagram in the name of a node with a key that nobody knows. So nothing follows from it but
        these words, and not even these where the keys are those that this node had before.
        """
        if self._why is None:
            return []
        if met:
            self._why, self._strangers = None, ()
            told = f"the keys of {self._file} are the farm's: heard from {', '.join(sorted(met))} too"
            return [_tell(Level.INFO, told)]
        known, self._strangers = self._strangers, tuple(sorted(strangers))
        if set(self._strangers) <= set(known):
            return []
        told = (
            f"{', '.join(self._strangers)}: heard with keys that are not in {self._file}, which is not the key file "
            "that this node had before: it is cut off; copy the key file from there and restart this daemon"
        )
        return [_tell(Level.ERROR, told)]


def _tell(level: Level, message: str) -> Event:
    return Event(level=level, origin="daemon", message=message)
