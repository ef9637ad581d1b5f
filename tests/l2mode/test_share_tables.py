"""What the filter finds in its tables at every moment in which they are written, while buckets move."""

import asyncio
from ipaddress import ip_address

from l2mode.core.buckets import BUCKETS
from l2mode.core.heard_share import HeardShare
from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.table_writer import TableWriter
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery
from l2mode.share import LayerTwo

NODES = ("web1", "web2", "web3")
FARM = tuple((name, (1,)) for name in NODES)
WITHOUT = FARM[1:]


class WatchedTables(Tables):
    """Looks at itself after each store, as a packet in that moment would."""

    def __init__(self, buffer, look):
        super().__init__(buffer)
        self.look = look

    def _set(self, name, value):
        super()._set(name, value)
        self.look(self)


class Silent:
    """A voice that says nothing."""

    def update(self, **_):
        pass

    def renew(self, until):
        pass


def says(name, view, *, claimed=True):
    mac = b"\x02\0\0\0\0" + name[-1:].encode()
    return HeardShare(name=name, mac=mac, dirty=False, dirty_buckets=b"", view=view, claimed=claimed)


def share_of(name, look, directory):
    """A share in directed delivery, with tables and without a kernel."""
    settings = LayerTwoSettings(
        farm="apache",
        me=name,
        nodes=NODES,
        vips=(ip_address("203.0.113.50"),),
        groups=(ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80,)),),
        seed=bytes(16),
        delivery=Delivery.DIRECTED,
    )
    share = LayerTwo(
        settings,
        interface="none",
        address="203.0.113.1",
        own_addresses=("203.0.113.1",),
        wanted_filter="tc",
        directory=directory,
        tell=lambda *_: None,
        changed=lambda: None,
        obstructed=lambda _: None,
    )
    share._host_setup.mac = b"\x02\0\0\0\0\0"
    share._voice = Silent()
    tables = WatchedTables(bytearray(Tables.SIZE), lambda _: None)
    tables.configure(settings, b"")
    tables.look = look
    share._writers = [TableWriter(tables, settings)]
    return share


def watch(directory, name, story):
    """Live through a story; give the buckets that would have answered with a reset unclaimed, and what was taken."""
    resets, taken = set(), []
    claimed = 0
    "Before the present step, or with it."

    def look(tables):
        mine = (bucket for bucket in range(BUCKETS) if tables.cell(0, bucket) == tables.me)
        resets.update(bucket for bucket in mine if not (claimed >> bucket & 1 or tables.dirty_members(bucket)))

    async def live():
        nonlocal claimed
        share = share_of(name, look, directory)
        for what, *arguments in story:
            claimed = share.handover.mine(0) | (share.handover.pending(0) if what == "claim" else 0)
            getattr(share, what)(*arguments)
            taken.append(share.handover.taken(0).bit_count())

    asyncio.run(live())
    return resets, taken


def others(name, view, **more):
    return [says(other, view, **more) for other in NODES if other != name]


def test_the_former_owner_answers_nobody_with_a_reset_at_any_moment_of_a_move(tmp_path):
    resets, taken = watch(
        tmp_path,
        "web1",
        [
            ("meet", others("web1", FARM)),
            ("adopt", FARM),
            ("claim",),
            ("adopt", ()),
            ("meet", [says("web2", WITHOUT, claimed=False), says("web3", FARM)]),
            ("meet", others("web1", WITHOUT)),
        ],
    )
    assert resets == set()
    assert taken[2] == taken[3] == taken[4] > taken[5] == 0


def test_the_new_owner_answers_nobody_with_a_reset_before_its_claim(tmp_path):
    resets, taken = watch(
        tmp_path,
        "web2",
        [
            ("meet", others("web2", FARM)),
            ("adopt", FARM),
            ("claim",),
            ("meet", [says("web1", ()), says("web3", FARM)]),
            ("adopt", WITHOUT),
            ("meet", [says("web1", ()), says("web3", WITHOUT)]),
            ("claim",),
        ],
    )
    assert resets == set()
    assert taken[3] < taken[4] == taken[6]
