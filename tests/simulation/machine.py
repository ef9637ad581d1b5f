"""One simulated server: a clock of its own, a kernel filter that outlives the daemon, and the daemon's real `Node`."""

import copy

from hcsidecar.core.membership.heartbeat import decode, encode
from hcsidecar.core.membership.node import Node
from l2mode.core.cells import NOBODY
from l2mode.core.handover import Handover

INBOX = 20_000
"Datagrams that a socket buffer holds for a daemon that does not read."

VIP = b"192.0.2.50"


class KernelShare(Handover):
    """The real handover, each change of which is written to the machine's kernel filter before it returns.

    `ports` are those that have a share group, in the order of the groups.
    """

    def __init__(self, machine, *, ports, **more):
        super().__init__(name=machine.name, groups=len(ports), **more)
        self._machine = machine
        self._director = self.director_now = None
        self.ports = self.filter_ports = ports
        "The second are those that the filter knows, which is replaced before this node goes over."
        self.cells_now = {port: bytes([NOBODY]) * self.count for port in ports}
        "What the filter goes by, as its tables have it: an owner's number for each bucket, by port."

    @property
    def filter_dirty(self):
        """What the filter goes by: one of other settings than the node's looks at its sockets in any case."""
        return self.dirty or self.filter_ports != self.ports

    def replace_filter(self, ports):
        """Put a filter with these share groups in the place of the former one, which takes what both know."""
        self.filter_ports = ports
        self._write()

    def go_over(self, ports, settings):
        """Go by these share groups."""
        former = [self.ports.index(port) if port in self.ports else None for port in ports]
        self.regroup(former, settings=settings)
        self.ports = self.filter_ports = ports
        self._write()

    def adopt(self, view):
        super().adopt(view)
        self._director = self.director(VIP)
        self._write()
        if self._director == self.name:
            self._machine.do(self._machine.announce)

    def claim(self):
        super().claim()
        self._write()

    def release(self):
        super().release()
        self._write()

    def meet(self, neighbours):
        if moved := super().meet(neighbours):
            self._write()
        return moved

    def renew(self, until):
        super().renew(until)
        self._machine.do(self._machine.write_lease, until)

    def _write(self):
        cells, mask = {port: bytes([NOBODY]) * self.count for port in self.filter_ports}, 0
        for group, port in enumerate(self.ports):
            if port in cells:
                cells[port] = self.cells(group, self._machine.numbers)
                mask |= self._mine[group] << (port * self.count)
        self._machine.do(self._turn, cells, mask, self._director)

    def _turn(self, cells, mask, director):
        self.cells_now, self.director_now = cells, director
        self._machine.write_mask(mask)
        self._machine.tables_turned()


class Machine:
    """A server of the farm. What the operator wants of it (`wants`, `powers`, `settings`) outlives its daemon.

    `open_mask` and `open_until` are the kernel's filter, in the simulation's time: all that a client can see of it.
    """

    __slots__ = (
        "_clock_offset",
        "_clock_rate",
        "_errands",
        "_inbox",
        "_last",
        "_snapshot",
        "_timer",
        "_timer_by_clock",
        "_work",
        "_world",
        "boot",
        "index",
        "known",
        "label",
        "labour",
        "lateness",
        "leaving",
        "name",
        "names",
        "node",
        "numbers",
        "open_mask",
        "open_until",
        "others",
        "partition",
        "paused",
        "powered",
        "powers",
        "running",
        "said",
        "settings",
        "share",
        "stuck_until",
        "timing",
        "unstuck_at",
        "up_since",
        "wants",
    )

    def __init__(self, *, world, index, name, label, powers, timing, clock_offset, clock_rate, lateness, labour):
        self._world = world
        self.index, self.name, self.label = index, name, label
        self._clock_offset, self._clock_rate = clock_offset, clock_rate
        self.lateness = lateness
        "Timers fire up to so many seconds late."
        self.labour = labour
        "Each thing that the daemon does (closing, sending and the like) takes up to so many seconds."
        self.powers, self.settings, self.wants = powers, b"digest", True
        self.others = {}
        "By name: index and arrive method of each other machine that runs under it."
        self.timing = timing
        "By its farm file, which the next start reads."
        self.names = world.names_at_first
        "Of the nodes in its farm file."
        self.partition = world.partition
        self.numbers = {}
        "By name: index of every machine; of two that run under one name, of the first."
        self.boot = 0
        self.known = {}
        "What its daemon wrote down of the other nodes."
        self.node = self.share = None
        self.running = self.powered = False
        self.paused = False
        "The whole machine stands still, and its clock with it."
        self._snapshot = None
        self.leaving = False
        "Says its last words: it gives up its connections."
        self.stuck_until = None
        "The daemon neither reads nor fires timers until then (frozen, or a slow loop)."
        self.unstuck_at = 0.0
        self.up_since = float("inf")
        self.open_mask, self.open_until = 0, 0.0
        self.said = None
        "The last heartbeat sent: what the others can know."
        self._inbox, self._errands = [], []
        self._work = []
        "What the daemon is at, in order; until it is done nothing is read."
        self._timer = self._timer_by_clock = float("inf")
        self._last = float("-inf")

    # -- what befalls it ----------------------------------------------------------------------------------------

    def start(self):
        """Start the daemon: a kernel filter that an earlier one left open is still open until the node closes it."""
        world = self._world
        self.running = self.powered = True
        self.stuck_until, self.up_since, self.leaving = None, world.now, False
        self._inbox.clear()
        self._errands.clear()
        self._work = []
        self.share = world.share(
            self,
            ports=world.ports_by(self.settings),
            count=world.buckets,
            directed=world.directed,
            settings=self.settings,
        )
        self._be_born()
        self._say_wants()

    def kill(self, *, power_off):
        """End the daemon at once; with the power off, the kernel with its filter and sockets is gone as well."""
        self.running, self._timer, self.up_since = False, float("inf"), float("inf")
        self.paused = False
        self.said = None
        self._inbox.clear()
        self._work = []
        if power_off:
            self.powered = False
            self.write_mask(0)

    def stick(self, seconds):
        """Stop reading and firing timers for so long."""
        self.stuck_until = self._world.now + seconds
        self._world.schedule(self.stuck_until, self._come_free, self.up_since)

    def _come_free(self, started_at):
        world = self._world
        if self.up_since != started_at or self.stuck_until is None or world.now < self.stuck_until:
            return
        self.stuck_until, self.unstuck_at = None, world.now
        self._go_on()

    def _go_on(self):
        """Go on; what was queued, the timer and the operator's errands come in any order, as with a real loop."""
        world = self._world
        if self.engaged:
            return
        letters, self._inbox = self._inbox, []
        errands, self._errands = self._errands, []
        boot = self.boot
        timer_turn, errand_turn = (world.random.choice((0, len(letters))) for _ in range(2))
        for turn in range(len(letters) + 1):
            if turn == errand_turn:
                for errand in errands:
                    self._ask(errand)
            if turn == timer_turn and self._timer <= world.now:
                self._fire(self._timer)
            # A new boot has discarded what was queued.
            if turn < len(letters) and self.boot == boot:
                self.arrive(letters[turn])

    @property
    def engaged(self):
        """True while the daemon reads nothing: it stands still, or is at something that takes its time."""
        return self.stuck_until is not None or bool(self._work)

    def do(self, call, *arguments):
        """Have the daemon do something after all that it is at; on a busy machine it takes its time."""
        if not self.labour:
            call(*arguments)
            return
        self._work.append((call, arguments))
        if len(self._work) == 1:
            self._labour()

    def _labour(self):
        world = self._world
        world.schedule(world.now + world.random.random() * self.labour, self._done, self._work)

    def _done(self, work):
        if work is not self._work or not work:
            return
        if self.stuck_until is not None:
            self._world.schedule(max(self.stuck_until, self._world.now), self._done, work)
            return
        call, arguments = work[0]
        call(*arguments)
        if work is not self._work:
            return
        work.pop(0)
        if work:
            self._labour()
        else:
            self._go_on()

    def pause(self, seconds):
        """Stop the whole machine, kernel and clock, for so long."""
        self.paused = True
        self.stuck_until = self._world.now + seconds
        self._world.schedule(self.stuck_until, self._resume, (self.up_since, seconds))

    def _resume(self, paused):
        started_at, seconds = paused
        if self.up_since != started_at or not self.paused:
            return
        self.paused = False
        self._clock_offset -= seconds * self._clock_rate
        self.open_until += seconds
        self._world.back_again(self)
        if self._timer < float("inf"):
            # The timer of the machine stood still as well.
            self._timer = float("inf")
            self._set_timer(self._timer_by_clock)
        self._come_free(started_at)

    def take_snapshot(self):
        """Keep all that this machine's memory, disk and clock hold."""
        if self.running and not self.paused and not self.engaged and not self.leaving:
            whole = {id(self): self, id(self._world): self._world, id(self.share): self.share}
            self._snapshot = (
                copy.deepcopy(self.node, whole),
                copy.deepcopy(dict(vars(self.share)), whole),
                self.boot,
                dict(self.known),
                self.clock(),
                self.open_mask,
                self._timer_by_clock,
                self.up_since,
            )

    def resume_snapshot(self):
        """Go on from the snapshot, as if nothing had been since: the peers know more of this machine than it does."""
        if self._snapshot is None or not self.running or self.paused or self._snapshot[-1] != self.up_since:
            return False
        self.node, shares, self.boot, self.known, clock, mask, timer, _ = copy.deepcopy(
            self._snapshot, {id(self): self, id(self._world): self._world, id(self.share): self.share}
        )
        vars(self.share).update(shares)
        self.stuck_until = None
        self._inbox.clear()
        self._errands.clear()
        self._work = []
        self._clock_offset = clock - self._world.now * self._clock_rate
        self._last = clock
        self.write_mask(mask)
        self.write_lease(self.node.membership.lease)
        self._timer = float("inf")
        self._set_timer(timer)
        # What was said meanwhile is lost with the memory: the operator says it again.
        self._say_wants()
        self._say_powers()
        self._say_settings()
        return True

    def lose_state(self):
        """Lose the disk while the clock is behind: the next boot number is lower than the last."""
        self.boot, self.known = 0, {}

    # -- what the operator does ---------------------------------------------------------------------------------

    def set_wants(self, wants):
        self.wants = wants
        self._ask(self._say_wants)

    def set_powers(self, powers):
        self.powers = powers
        self._ask(self._say_powers)

    def set_settings(self, settings):
        self.settings = settings
        self._ask(self._replace_filter)

    def set_names(self, names):
        self.names = names
        self._ask(self._say_names)

    def leave(self):
        self._ask(self._say_farewell)

    def _ask(self, errand):
        """Have the daemon do it; one that is engaged does it as soon as it is free."""
        if self.running:
            if self.engaged:
                self._errands.append(errand)
            else:
                errand()

    def _say_wants(self):
        self._carry_out(self.node.set_wants(self.wants, now=self.clock()))

    def _say_powers(self):
        ports = self.share.ports
        self._carry_out(self.node.set_powers(tuple(self.powers[port] for port in ports), now=self.clock()))

    def _replace_filter(self):
        """Have the kernel take another filter, which takes its time; go over to its settings after that."""
        world = self._world
        self.share.replace_filter(world.ports_by(self.settings))
        world.schedule(world.now + world.random.random() * world.replacing, self._filter_is_replaced, self.share)

    def _filter_is_replaced(self, share):
        if share is self.share:
            self._ask(self._say_settings)

    def _say_settings(self):
        ports = self._world.ports_by(self.settings)
        if self.settings != self.node.membership.settings_digest:
            self.share.go_over(ports, self.settings)
        powers = tuple(self.powers[port] for port in ports)
        self._carry_out(self.node.set_layer_two(settings_digest=self.settings, powers=powers, now=self.clock()))

    def _say_names(self):
        self._carry_out(self.node.set_nodes(self.names, now=self.clock()))

    def _say_farewell(self):
        self.leaving = True
        self._carry_out(self.node.leave(now=self.clock()))

    def scanned(self, held):
        """Tell the share in which buckets connections live here; a look takes its time on a busy machine."""
        if not self.labour:
            self._look_is_over(held, self.share.drops)
        else:
            look = (held, self.share.drops, self.share)
            world = self._world
            world.schedule(world.now + world.random.random() * 20 * self.labour, self._look_ends, look)

    def _look_ends(self, look):
        held, drops, share = look
        if share is self.share:
            self._ask(lambda: self._look_is_over(held, drops))

    def _look_is_over(self, held, drops):
        if self.running and not self.engaged:
            self.share.scanned(held, drops=drops)
            self._carry_out(self.node.set_dirty(now=self.clock()))

    # -- the kernel ---------------------------------------------------------------------------------------------

    def write_mask(self, mask):
        if mask != self.open_mask:
            before, self.open_mask = self.open_mask, mask
            self._world.filter_changed(self, before)

    def write_lease(self, until):
        before, self.open_until = self.open_until, (until - self._clock_offset) / self._clock_rate
        if before <= self._world.now < self.open_until and self.open_mask:
            self._world.filter_changed(self, self.open_mask)

    def tables_turned(self):
        """Let clients find out what the filter goes by from now on."""
        self._world.tables_turned(self)

    def announce(self):
        """Have clients send to this machine from now on, as the director does with each new view."""
        self._world.aim = self

    def open_now(self):
        """Mask of the buckets that the filter takes at this moment."""
        return self.open_mask if self._world.now < self.open_until and not self.paused else 0

    # -- the daemon's shell -------------------------------------------------------------------------------------

    def clock(self):
        """Read this machine's monotonic clock."""
        now = self._clock_offset + self._world.now * self._clock_rate
        # Rounding must not turn it back.
        self._last = now = max(self._last, now)
        return now

    def arrive(self, letter):
        """Take a datagram from the network."""
        if self.engaged:
            if self.running and len(self._inbox) < INBOX:
                self._inbox.append(letter)
        elif self.running:
            self._world.deliveries += 1
            heartbeat = letter if letter.__class__ is not bytes else decode(letter)
            self._carry_out(self.node.receive(heartbeat, now=self.clock()))

    def _fire(self, timer):
        if timer != self._timer or not self.running or self.engaged:
            return
        self._timer = float("inf")
        # The two clocks convert with rounding: a timer must not fire a hair before the time that it was set to.
        self._last = max(self._last, self._timer_by_clock)
        self._carry_out(self.node.tick(now=self.clock()))

    def _be_born(self, above=-1):
        world = self._world
        if self in world.twins:
            # Their clocks are behind: with clocks that are right it needs the same millisecond for the same number.
            self.boot = world.next_boot(last=self.boot, above=above, wall_clock=0.0, chance=world.random)
        else:
            self.boot = max(self.boot, above) + 1
        self.node = Node(
            name=self.name,
            boot=self.boot,
            nodes=self.names,
            farm="sim",
            timing=self.timing,
            settings_digest=self.settings,
            powers=tuple(self.powers[port] for port in world.ports_by(self.settings)),
            share=self.share,
            partition=self.partition,
            known=self.known,
            now=self.clock(),
            membership=world.membership,
        )
        self._timer = float("inf")

    def _carry_out(self, output):
        world = self._world
        for send in output.sends:
            self.do(self._send, send)
        for event in output.events:
            world.story.add(world.now, self.label, event.message)
        if output.known_peers is not None:
            self.known = output.known_peers
        if output.reborn_above is not None:
            self._inbox.clear()
            former = self.node.membership
            self._be_born(output.reborn_above)
            # What was said of the application is said once, as to the daemon: see `Heartbeats`.
            self.node.membership.inherit(former)
            if self in world.twins:
                # Whoever hears the new boot hears the other twin no more, as at a start.
                for twin in world.twins:
                    world.back_again(twin)
            self._arm()
            return
        if self.running and self.node.membership.said_farewell:
            self.do(self._end)
        if self.running:
            self._arm()

    def _send(self, send):
        world, others = self._world, self.others
        self.said = heartbeat = send.heartbeat
        # Through the real wire form; decoded once, for what is decoded is frozen.
        letter = decode(encode(heartbeat)) if world.through_wire else heartbeat
        world.record(self, letter)
        world.network.carry(
            self.index, [address for name in send.to for address in others[name]], letter, now=world.now
        )

    def _end(self):
        self._world.story.add(self._world.now, self.label, "ends after its farewell")
        self.kill(power_off=False)

    def _arm(self):
        self._set_timer(self.node.next_tick_at())

    def _set_timer(self, by_clock):
        world = self._world
        due = (by_clock - self._clock_offset) / self._clock_rate
        # Never later than promised before, like the daemon's timer.
        if due < self._timer:
            due = max(due, world.now)
            if self.lateness:
                due += world.random.random() * self.lateness
            if due < self._timer:
                self._timer, self._timer_by_clock = due, by_clock
                world.schedule(due, self._fire, due)

    def dirty_members(self):
        """Give who is dirty and in which buckets, as this machine's kernel tables have it: masks by number."""
        return {self.numbers[name]: buckets for name, buckets in self.share.dirty_members().items()}
