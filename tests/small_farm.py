"""Small farms in one process for tests of the core: heartbeats by hand, time in literals."""

from hcsidecar.core.membership.effects import Broadcast, Tell
from hcsidecar.core.membership.heartbeat import Heartbeat
from hcsidecar.core.membership.membership import Membership
from hcsidecar.core.membership.node import Node, NodeOutput
from hcsidecar.core.membership.timing import Timing

P, T = 0.05, 0.5
LAN = Timing(pulse=P, lost_after=T)


class FakeShare:
    """A share that only remembers what it was told."""

    def __init__(self):
        self.holding = False
        self.dirty = False
        self.dirty_buckets = b""
        self.until = 0.0
        self.calls = []

    def adopt(self, view):
        self.calls.append(("adopt", view))
        self.holding = self.holding and bool(view)

    def claim(self):
        self.calls.append(("claim",))
        self.holding = True

    def release(self):
        self.calls.append(("release",))
        self.holding = False

    def renew(self, until):
        self.until = until

    def meet(self, neighbours):
        self.neighbours = tuple(neighbours)


class Farm:
    """Nodes joined by a network without delay or loss; `cut` holds pairs (from, to) that do not reach."""

    def __init__(self, *names, farm_names=None, now=0.0, partition="serve"):
        self.now = now
        self.farm_names = farm_names or names
        self.partition = partition
        self.nodes = {}
        self.cut = set()
        self.story = []
        for name in names:
            self.boot(name)

    def boot(self, name, *, boot=1, wants=True):
        self.nodes[name] = Node(
            name=name,
            boot=boot,
            nodes=self.farm_names,
            farm="apache",
            timing=LAN,
            settings_digest=b"digest",
            powers=(1,),
            share=FakeShare(),
            now=self.now,
            partition=self.partition,
        )
        if wants:
            self.deliver(name, self.nodes[name].set_wants(True, now=self.now))
        return self.nodes[name]

    def deliver(self, sender, output: NodeOutput):
        self.story += [(round(self.now, 4), sender, event.message) for event in output.events]
        for send in output.sends:
            for to in send.to:
                if to in self.nodes and (sender, to) not in self.cut:
                    self.deliver(to, self.nodes[to].receive(send.heartbeat, now=self.now))

    def run(self, until):
        while True:
            due = min(node.next_tick_at() for node in self.nodes.values())
            if due > until:
                self.now = until
                return self
            self.now = max(self.now, due)
            for name, node in list(self.nodes.items()):
                if node.next_tick_at() <= self.now:
                    self.deliver(name, node.tick(now=self.now))

    def views(self):
        return {name: [member for member, _ in node.membership.view] for name, node in self.nodes.items()}

    def holders(self):
        return sorted(name for name, node in self.nodes.items() if node.share.holding)

    def said(self, text):
        return [line for line in self.story if text in line[2]]


def membership(name="web1", names=("web1", "web2", "web3"), boot=7, now=0.0, **more):
    """A node that has said its first word, which others may list: (name, boot, 1)."""
    node = Membership(
        name=name,
        boot=boot,
        farm="apache",
        nodes=names,
        timing=LAN,
        settings_digest=b"digest",
        powers=(1,),
        now=now,
        **more,
    )
    node.compose(now=now)
    return node


def heartbeat(node="web2", boot=1, seq=1, heard=(), **more):
    """A heartbeat; `heard` lists (name, boot, seq)."""
    return Heartbeat(
        farm="apache",
        node=node,
        boot=boot,
        seq=seq,
        settings_digest=more.pop("settings_digest", b"digest"),
        heard_boots=tuple((name, its_boot) for name, its_boot, _ in heard),
        heard_seqs=tuple(its_seq for _, _, its_seq in heard),
        **more,
    )


def said(effects, text):
    return [effect for effect in effects if isinstance(effect, Tell) and text in effect.event.message]


def live(node, until):
    """Let a lone machine live through its ticks; gives the effects with the time of each."""
    effects = []
    while node.next_tick_at() < until:
        now = node.next_tick_at()
        for effect in node.tick(now=now):
            effects.append((now, effect))
            if isinstance(effect, Broadcast):
                node.compose(now=now)
    return effects


ME = [("web1", 7, 1)]
"What one lists that has heard the first word of the node under test."


def views_of(*names):
    return tuple((name, (1,)) for name in names)
