"""Which node answers for a virtual IP on the local network, and when a node announces it.

The kernels of the nodes are silent about the virtual IPs; this state machine speaks for them.

In *directed* delivery, each virtual IP has a director, whose MAC the clients know. The director answers every question.
The other nodes ignore questions that are addressed to everybody. They answer a question that is addressed to
themselves, such as a client sends to check the entry in its neighbour table, with the director's MAC. A node out of the
view does so too, if it knows the director.

In *flooded* delivery, all members of the view answer. The answer contains the virtual MAC, and the source of its frame
is the member's own MAC, so that the switch never learns where the virtual MAC is.

A node whose lease is over is silent: others may have taken its place, and its table may be old.

A virtual IP is announced when its director changes, for clients that have the former one in their tables, and when the
view changes, for clients in a part of the network that is back: at once, after 0.1 s, 1 s and 5 s in case a frame was
lost, then once a minute. In flooded delivery the member with the lowest name announces it. The announcing member also
asks whether another machine has the address, as every member does once in a new view. All nodes listen for claims of
others (`Conflicts`).
"""

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import Final

from l2mode.core.conflicts import Conflict, ConflictOver, Conflicts
from l2mode.core.frames import (
    AddressClaim,
    AddressQuestion,
    announcement,
    answer,
    correction,
    parse,
    question,
    virtual_mac,
)
from l2mode.core.settings import LayerTwoSettings, VirtualIp
from l2mode.core.verdict import Delivery

RHYTHM: Final = (0.1, 0.9, 4.0)
"Seconds between the first announcements. A port that has just come up may pass nothing for some seconds."
SLOW_RHYTHM: Final = 60.0

ANSWERS_PER_SECOND: Final = 1000
"An answer takes about 30 us: a flood of questions must leave time for the heartbeats."
ANSWERS_AT_ONCE: Final = 200

ASK_SOON: Final = 1.5
"Seconds from a change of the view until a member asks who else has its virtual IPs."
ASK_AGAIN: Final = 4.0
"Seconds between two questions for an address while another machine has it: well below `GONE_AFTER`."


class Speaker:
    """The ARP and neighbour discovery of one node. It is silent until `update` and `renew` have been called."""

    def __init__(self, settings: LayerTwoSettings) -> None:
        self._me = settings.me
        self._vips = settings.vips
        self._virtual_mac = virtual_mac(settings) if settings.delivery is Delivery.FLOODED else None
        self._lease = -inf
        self._view: frozenset[str] = frozenset()
        self._macs: dict[str, bytes] = {}
        self._speakers: dict[VirtualIp, str | None] = dict.fromkeys(settings.vips)
        "The member that announces each virtual IP; in directed delivery its director."
        self._farm_macs = set() if self._virtual_mac is None else {self._virtual_mac}
        "Every MAC that a member has ever had: an announcement may be older than the heartbeat."
        self._plan: dict[VirtualIp, tuple[float, int]] = {}
        "When each virtual IP is announced next, and how often it has been since the latest reason."
        self._waits = False
        "An announcement is due as soon as the lease runs again."
        self._answers = _Allowance()
        self._ask_at: dict[VirtualIp, float] = {}
        "When the network is next asked who else has each virtual IP."
        self._conflicts = Conflicts()

    # -- input --------------------------------------------------------------------------------------------------------

    def change_vips(self, vips: Sequence[VirtualIp]) -> None:
        """Speak for these virtual IPs from the next `update` on, and not any more for those that are not named."""
        for gone in set(self._vips) - set(vips):
            self._plan.pop(gone, None)
            self._ask_at.pop(gone, None)
            self._conflicts.forget(gone)
        self._vips = tuple(vips)
        self._speakers = {vip: self._speakers.get(vip) for vip in self._vips}

    def update(
        self,
        *,
        view: Collection[str],
        directors: Sequence[str | None],
        macs: Mapping[str, bytes],
        now: float,
    ) -> None:
        """Take in the view, its director for each virtual IP, and the MACs of all known nodes, this one included.

        A node that is in no view passes the view that it hears others announce, with the directors of that view.
        """
        members = frozenset(view)
        before, moved = self._speakers, self._macs.get(self._me) != macs.get(self._me)
        changed = members != self._view
        self._view = members
        if changed or moved:
            may_ask = self._me in members and self._me in macs
            self._ask_at = dict.fromkeys(self._vips, now + ASK_SOON) if may_ask else {}
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
        """Speak until `until`, in seconds of the monotonic clock; a time in the past silences this node at once."""
        self._lease = until
        self._waits = False

    # -- output -------------------------------------------------------------------------------------------------------

    def heard(self, frame: bytes, *, now: float) -> list[bytes]:
        """Return the frames, at most two, that answer a frame from the network."""
        match parse(frame):
            case AddressQuestion() as asked:
                if asked.asker is not None:
                    self._take_claim(asked.asker, asked.asker_mac, now)
                return self._answer(asked, now)
            case AddressClaim() as claim:
                # Another farm of the same name has the same virtual MAC. Only an announcement proves it: devices that
                # answer for others, as switches do, use a source MAC of their own too.
                told_by_virtual_mac = claim.mac == self._virtual_mac and claim.to_all
                self._take_claim(claim.address, claim.source_mac if told_by_virtual_mac else claim.mac, now)
        return []

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The virtual IPs that a machine outside the farm uses, each with that machine's MAC."""
        return self._conflicts.open

    def due(self, *, now: float) -> list[bytes | Conflict | ConflictOver]:
        """Return the announcements and questions that are due, and the changes in what is known of conflicts."""
        said: list[bytes | Conflict | ConflictOver] = []
        over = now >= self._lease
        for vip, (at, step) in list(self._plan.items()):
            if at > now:
                continue
            if over:
                self._waits = True
                continue
            mine = self._macs[self._me]
            said.append(announcement(vip, mac=self._virtual_mac or mine, source_mac=mine))
            if step > len(RHYTHM):
                said.append(_who_has(vip, mine))
            self._plan[vip] = (now + (RHYTHM[step] if step < len(RHYTHM) else SLOW_RHYTHM), step + 1)
        for known in self._conflicts.due(self._farm_macs, now=now):
            said.append(known)
            if isinstance(known, Conflict):
                self._ask_at[known.vip] = now
            else:
                self._ask_at.pop(known.conflict.vip, None)
        return said + self._questions(now)

    def next_at(self) -> float:
        """The time at which `due` must be called; infinity: not before the next `update`, `heard` or `renew`."""
        announcing = min((at for at, _ in self._plan.values()), default=inf)
        asking = min(self._ask_at.values(), default=inf)
        return min(inf if self._waits else announcing, asking, self._conflicts.next_at())

    # -- decisions ----------------------------------------------------------------------------------------------------

    def _answer(self, asked: AddressQuestion, now: float) -> list[bytes]:
        mac = self._mac_to_tell(asked, now)
        if mac is None or not self._answers.take(now=now):
            return []
        mine = self._macs[self._me]
        if mac in (mine, self._virtual_mac):
            return [answer(asked, mac=mac, source_mac=mine)]
        return correction(asked, mac=mac, source_mac=mine)

    def _mac_to_tell(self, asked: AddressQuestion, now: float) -> bytes | None:
        """Return the MAC that this node answers with; None: it is silent."""
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
            self._conflicts.claimed(address, mac, now=now)

    def _questions(self, now: float) -> list[bytes]:
        """Return the questions for addresses that are due.

        They ask who else has the address: once in a new view, and repeatedly while somebody has it, to learn when that
        ends.
        """
        mine = self._macs.get(self._me)
        due = [vip for vip, at in self._ask_at.items() if at <= now]
        for vip in due:
            del self._ask_at[vip]
        again = {conflict.vip for conflict in self._conflicts.open}.intersection(due)
        self._ask_at |= dict.fromkeys(again, now + ASK_AGAIN)
        return [] if mine is None else [_who_has(vip, mine) for vip in due]


def _who_has(vip: VirtualIp, mine: bytes) -> bytes:
    """Return the question of a host that would like to have the address: only the machine that has it answers.

    A router that answers for others (proxy ARP) stays silent; see RFC 5227 and RFC 4862.
    """
    return question(source_mac=mine, asker=None, target=vip)


class _Allowance:
    """The number of answers that may still be given: a token bucket that refills with time."""

    def __init__(self) -> None:
        self._tokens = float(ANSWERS_AT_ONCE)
        self._filled_at = -inf

    def take(self, *, now: float) -> bool:
        """Use up one answer. Return whether there was one."""
        refill = max(now - self._filled_at, 0) * ANSWERS_PER_SECOND
        self._tokens, self._filled_at = min(self._tokens + refill, ANSWERS_AT_ONCE), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
