"""Who answers for a virtual IP on the local network, and who announces it when: the voice of the farm.

The kernels of the nodes are silent about the virtual IPs; this state machine speaks for them.

*directed*: each virtual IP has a director, and clients know its MAC. The director answers every question. Other nodes
leave questions to all to it, but answer one that is addressed to themselves, as a client's neighbour table does when
it checks what it has cached: with the director's MAC. So does a node out of the view, if it knows the director.

*flooded*: all members of the view answer, with the virtual MAC in the answer and their own as the frame's source, so
that the switch never learns where the virtual MAC is.

A node whose lease is over is silent: others may have taken its place, and its table may be old.

A virtual IP is announced when its director changes, for the clients that have the former one cached, and when the view
changes, for those of a part of the network that is back: at once, after 0.1 s and 1 s in case a frame was lost, then
once a minute. In flooded delivery the lowest name of the view does it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from l2mode.core.frames import Claim, Question, announcement, answer, correction, parse, virtual_mac
from l2mode.core.settings import LayerTwoSettings, VirtualIp
from l2mode.core.verdict import Delivery

RHYTHM: Final = (0.1, 0.9)
"Seconds between the first announcements."
SLOW_RHYTHM: Final = 60.0

ANSWERS_PER_SECOND: Final = 1000
"An answer takes some 30 us: a flood of questions must leave time for the heartbeats."
ANSWERS_AT_ONCE: Final = 200

PATIENCE: Final = 2.0
"Seconds until a claim by an unknown MAC is called a conflict: its heartbeat may be the later one."
CONFLICT_INTERVAL: Final = 60.0
"Seconds between two reports about one virtual IP."
MAX_SUSPECTS: Final = 32
"Claims that wait to be judged; further ones are forgotten, so that a flood of them does not fill the memory."


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """A machine outside the farm uses a virtual IP."""

    vip: VirtualIp
    mac: bytes

    def __str__(self) -> str:
        return f"{self.vip} is also claimed by {self.mac.hex(':')}: another machine uses this address"


class Speaker:
    """The voice of one node. It knows nothing, and is silent, until `update` and `renew` have told it."""

    def __init__(self, settings: LayerTwoSettings) -> None:
        self._me = settings.me
        self._vips = settings.vips
        self._virtual_mac = virtual_mac(settings) if settings.delivery is Delivery.FLOODED else None
        self._lease = -inf
        self._view: frozenset[str] = frozenset()
        self._macs: dict[str, bytes] = {}
        self._speakers: dict[VirtualIp, str | None] = dict.fromkeys(settings.vips)
        "The member that announces the virtual IP; in directed delivery its director."
        self._farm_macs = set() if self._virtual_mac is None else {self._virtual_mac}
        "Every MAC that a member ever had: an announcement may be older than the heartbeat."
        self._plan: dict[VirtualIp, tuple[float, int]] = {}
        "When a virtual IP is announced next, and how often it was since the latest reason."
        self._waits = False
        "An announcement is due as soon as the lease is open again."
        self._answers = _Allowance()
        self._conflicts = _Conflicts()

    # -- what the node is told ------------------------------------------------------------------------------------

    def update(
        self,
        *,
        view: Collection[str],
        directors: Sequence[str | None],
        macs: Mapping[str, bytes],
        now: float,
    ) -> None:
        """Take in the view, its director of each virtual IP, and the MACs of all nodes that are known, mine included.

        A node that is in no view gives the view that it hears others announce, with the directors of that.
        """
        members = frozenset(view)
        before, moved = self._speakers, self._macs.get(self._me) != macs.get(self._me)
        changed = members != self._view
        self._view = members
        self._macs = dict(macs)
        self._farm_macs.update(macs.values())
        lowest = min(members, default=None)
        speakers = directors if self._virtual_mac is None else [lowest] * len(self._vips)
        self._speakers = dict(zip(self._vips, speakers, strict=True))
        for vip, name in self._speakers.items():
            if name != self._me or name not in members or name not in macs:
                self._plan.pop(vip, None)
            elif changed or moved or before[vip] != name:
                self._plan[vip] = (now, 0)

    def renew(self, until: float) -> None:
        """Speak until then, in seconds of the monotonic clock; a moment in the past silences at once."""
        self._lease = until
        self._waits = False

    # -- what it says ---------------------------------------------------------------------------------------------

    def heard(self, frame: bytes, *, now: float) -> list[bytes]:
        """Give the frames that answer one from the network, at most two."""
        match parse(frame):
            case Question() as asked:
                if asked.asker is not None:
                    self._take_claim(asked.asker, asked.asker_mac, now)
                return self._answer(asked, now)
            case Claim() as claim:
                self._take_claim(claim.address, claim.mac, now)
        return []

    def due(self, *, now: float) -> list[bytes | Conflict]:
        """Give the announcements that are due, and the conflicts that have proved to be such."""
        said: list[bytes | Conflict] = []
        over = now >= self._lease
        for vip, (at, step) in list(self._plan.items()):
            if at > now:
                continue
            if over:
                self._waits = True
                continue
            mine = self._macs[self._me]
            said.append(announcement(vip, mac=self._virtual_mac or mine, source_mac=mine))
            self._plan[vip] = (now + (RHYTHM[step] if step < len(RHYTHM) else SLOW_RHYTHM), step + 1)
        said.extend(self._conflicts.due(self._farm_macs, now=now))
        return said

    def next_at(self) -> float:
        """When `due` is to be called; infinity: not before `update`, `heard` or `renew` has told something new."""
        announcing = min((at for at, _ in self._plan.values()), default=inf)
        return min(inf if self._waits else announcing, self._conflicts.next_at())

    # -- how it decides -------------------------------------------------------------------------------------------

    def _answer(self, asked: Question, now: float) -> list[bytes]:
        mac = self._mac_to_tell(asked, now)
        if mac is None or not self._answers.take(now=now):
            return []
        mine = self._macs[self._me]
        if mac in (mine, self._virtual_mac):
            return [answer(asked, mac=mac, source_mac=mine)]
        return correction(asked, mac=mac, source_mac=mine)

    def _mac_to_tell(self, asked: Question, now: float) -> bytes | None:
        """Give the MAC that this node answers with; None: it is silent."""
        mine, director = self._macs.get(self._me), self._speakers.get(asked.target)
        if mine is None or asked.target not in self._speakers:
            return None
        in_view, to_all = self._me in self._view, bool(asked.destination_mac[0] & 1)
        if in_view and now >= self._lease:
            return None
        if self._virtual_mac is not None:
            addressed = to_all or asked.destination_mac in (mine, self._virtual_mac)
            return self._virtual_mac if in_view and addressed else None
        if director == self._me:
            return mine if in_view and (to_all or asked.destination_mac == mine) else None
        if asked.destination_mac == mine and director is not None:
            return self._macs.get(director)
        return None

    def _take_claim(self, address: VirtualIp, mac: bytes, now: float) -> None:
        if address in self._speakers and mac not in self._farm_macs:
            self._conflicts.suspect(address, mac, now=now)


class _Allowance:
    """How many answers may still be given: a bucket of tokens that refills with time."""

    def __init__(self) -> None:
        self._tokens = float(ANSWERS_AT_ONCE)
        self._filled_at = -inf

    def take(self, *, now: float) -> bool:
        """Use up one answer if there is one."""
        refill = max(now - self._filled_at, 0) * ANSWERS_PER_SECOND
        self._tokens, self._filled_at = min(self._tokens + refill, ANSWERS_AT_ONCE), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _Conflicts:
    """Claims by MACs that are unknown so far."""

    def __init__(self) -> None:
        self._suspects: dict[tuple[VirtualIp, bytes], float] = {}
        "When a claim is ripe to be judged."
        self._quiet_until: dict[VirtualIp, float] = {}

    def suspect(self, vip: VirtualIp, mac: bytes, *, now: float) -> None:
        """Remember a claim, unless a conflict about this address was reported lately."""
        if now >= self._quiet_until.get(vip, -inf) and len(self._suspects) < MAX_SUSPECTS:
            self._suspects.setdefault((vip, mac), now + PATIENCE)

    def due(self, farm_macs: Collection[bytes], *, now: float) -> list[Conflict]:
        """Give the conflicts whose MACs are nobody's of the farm, even now."""
        found: list[Conflict] = []
        for vip, mac in [suspect for suspect, ripe_at in self._suspects.items() if ripe_at <= now]:
            del self._suspects[vip, mac]
            if mac not in farm_macs and now >= self._quiet_until.get(vip, -inf):
                self._quiet_until[vip] = now + CONFLICT_INTERVAL
                found.append(Conflict(vip=vip, mac=mac))
        return found

    def next_at(self) -> float:
        """When the next claim is ripe."""
        return min(self._suspects.values(), default=inf)
