"""Connections of clients: sockets on machines, each packet routed by the real `judge` over the kernels' tables."""

from simulation.network import NEVER

from l2mode.core.cells import NOBODY, PENDING
from l2mode.core.handover import BucketState
from l2mode.core.verdict import Action, Delivery, Ownership, Packet, Reason, Verdict, judge

DEAD = Verdict(Reason.LEASE_OVER)
NOWHERE = Verdict(Reason.NO_MAC)
UNMATCHED = Verdict(Reason.UNMATCHED)


class Flow:
    """One connection: its port (`group`) and bucket, and the machine whose kernel has its socket."""

    __slots__ = ("bucket", "group", "home", "lost_since", "number")

    def __init__(self, *, number, group, bucket, home):
        self.number, self.group, self.bucket, self.home = number, group, bucket, home
        self.lost_since = None


class Flows:
    """All connections of one world; opens new ones where the filters take them, and keeps some alive."""

    __slots__ = (
        "_budget", "_delivery", "_flows", "_number", "_random", "_strays", "_world", "looped", "resets", "sent",
        "taken", "worst_silence",
    )  # fmt: skip

    def __init__(self, world, *, budget, delivery, strays, random):
        self._world, self._budget, self._random = world, budget, random
        self._delivery = Delivery(delivery)
        self._strays = strays
        self._flows = []
        self._number = 0
        self.sent = self.taken = self.resets = 0
        self.worst_silence = 0.0
        "Seconds for which the packets of a connection of a living machine reached nobody."

    def beat(self):
        """Send a packet of each connection, end some, open new ones."""
        for flow in tuple(self._flows):
            self._speak(flow)
        random = self._random
        if self._flows and random.random() < 0.1:
            self._flows.remove(random.choice(self._flows))
        if len(self._flows) < self._budget:
            self._open(random.randrange(self._world.groups), random.randrange(self._world.buckets))

    def scan(self, machine):
        """Give the machine's daemon the masks of the buckets in which its kernel has sockets."""
        ports = machine.share.ports
        held = [0] * len(ports)
        for flow in self._flows:
            if flow.home is machine and flow.group in ports:
                held[ports.index(flow.group)] |= 1 << flow.bucket
        machine.scanned(held)

    def power_off(self, machine):
        """Forget the sockets of a kernel that is gone; the connections live on at the clients until a reset."""
        for flow in self._flows:
            if flow.home is machine:
                flow.home = None

    def drained(self, machine):
        """End the connections of a machine, as a drain does at its limit at the latest."""
        self._flows = [flow for flow in self._flows if flow.home is not machine]

    def _open(self, group, bucket):
        self._number += 1
        flow = Flow(number=self._number, group=group, bucket=bucket, home=None)
        takers = self._route(flow, opens=True)
        if takers:
            flow.home = takers[0][0]
            self._flows.append(flow)

    def _speak(self, flow):
        self.sent += 1
        answers = self._route(flow, opens=False)
        alive = flow.home is not None and flow.home.running and not flow.home.leaving
        if not alive or any(action is Action.TAKE for _, action in answers):
            self.taken += 1
            flow.lost_since = None
        else:
            flow.lost_since = flow.lost_since or self._world.now
            self.worst_silence = max(self.worst_silence, self._world.now - flow.lost_since)
        for machine, action in answers:
            if action is Action.RESET:
                self.resets += 1
                self._judge_reset(flow, machine)
                self._flows.remove(flow)
                return

    def _judge_reset(self, flow, machine):
        world, home = self._world, flow.home
        if (
            home is None
            or home is machine
            or not home.running
            or home.leaving
            or NEVER in (home.up_since, machine.up_since)
        ):
            return
        if home.stuck_until is not None or machine.stuck_until is not None:
            return
        since = max(world.observer.hear_each_other_since(home, machine), home.unstuck_at, machine.unstuck_at)
        if world.now - since > world.hearing_time:
            world.observer.breach(
                "no reset",
                f"{machine.name} resets connection {flow.number} in bucket {flow.group}/{flow.bucket} of {home.name}",
            )

    def _route(self, flow, *, opens):
        """Give who takes or resets the packet."""
        world = self._world
        if self._delivery is Delivery.FLOODED:
            answers = [(machine, self._judge(machine, flow, opens=opens).action) for machine in world.machines]
            return [answer for answer in answers if answer[1] in (Action.TAKE, Action.RESET)]
        entries = [machine for machine in world.machines if machine.powered and self._directs(machine)]
        # A router may have missed the latest announcement.
        if not entries or self._random.random() < self._strays:
            entries = world.machines
        return self._follow(flow, self._random.choice(entries), opens=opens)

    def untaken(self):
        """Give the buckets, all groups together, in which a new connection would find nobody to take it.

        In directed delivery: none that a client begins by way of the machine that announced itself last.
        """
        world, found = self._world, 0
        if world.aim is None:
            return world.all_buckets
        shares = [machine.share for machine in world.machines if machine.share is not None]
        dirty = [mask for machine in world.machines if machine.share for mask in machine.dirty_members().values()]
        taken = {}
        "By what all tables say of a bucket: a few cases, and many buckets."
        for group in world.steady:
            cells = [share.cells_now[group] for share in shares]
            for bucket in range(world.buckets):
                case = (*[table[bucket] for table in cells], *[mask >> bucket & 1 for mask in dirty])
                if case not in taken:
                    probe = Flow(number=0, group=group, bucket=bucket, home=None)
                    taken[case] = bool(self._follow(probe, world.aim, opens=True))
                if not taken[case]:
                    found |= 1 << (group * world.buckets + bucket)
        return found

    def _follow(self, flow, machine, *, opens):
        """Give who takes or resets a packet in directed delivery that a client sends to this machine."""
        world, sender, chained = self._world, None, False
        seen = set()
        while True:
            if (machine.index, chained) in seen:
                world.observer.breach("no loop", f"connection {flow.number} comes back to {machine.name}")
                return []
            seen.add((machine.index, chained))
            verdict = self._judge(machine, flow, opens=opens, sender=sender, chained=chained)
            if verdict.action in (Action.TAKE, Action.RESET):
                return [(machine, verdict.action)]
            if verdict.to is None:
                return []
            target = world.machines[verdict.to]
            if not world.network.carries(machine.index, target.index):
                return []
            machine, sender, chained = target, machine.index, verdict.action is Action.CHAIN

    @staticmethod
    def _directs(machine):
        return machine.share.director_now == machine.name

    def _judge(self, machine, flow, *, opens, sender=None, chained=False):
        """Ask the machine's kernel; its tables stand still while its daemon does."""
        share = machine.share
        dead = share is None or not machine.powered or self._world.now >= machine.open_until
        if dead:
            return DEAD
        if flow.group not in share.cells_now:
            return UNMATCHED
        packet = Packet(opens=opens, known=lambda: flow.home is machine, sender=sender, chained=chained)
        # As `classify` reads the tables.
        cell = share.cells_now[flow.group][flow.bucket]
        standing = Ownership(
            me=machine.index,
            phase={machine.index: BucketState.MINE, PENDING: BucketState.PENDING}.get(cell, BucketState.OTHER),
            dirty=share.filter_dirty,
            dirty_members=sum((mask >> flow.bucket & 1) << node for node, mask in machine.dirty_members().items()),
            owner={NOBODY: None, PENDING: machine.index}.get(cell, cell),
        )
        verdict = judge(packet, standing, self._delivery)
        return NOWHERE if verdict.to == machine.index else verdict
