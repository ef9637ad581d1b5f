"""In flooded delivery a node that the switch cuts off is told, and one that stands still at times is not."""

from daemons import wait_for
from lan.stage import needs_root, stage
from lan.stories import Combination

pytestmark = needs_root

FLOODED = Combination(delivery="flooded", packet_filter="tc", family=4)


def cut_off(on, *, by):
    return on.farm.ask(by, "/api/v1/layer-two")["cut_off"]


def test_who_is_cut_off_is_told_by_all_and_who_stands_still_is_not(tmp_path):
    with stage(tmp_path, FLOODED, servers=("web1", "web2")) as on:
        load = on.newcomers(on.addresses(40), rate=60, timeout=1.0)
        load.wait_for_more(20)
        # web2 stands still for as long as it may without being dead, again and again.
        for _ in range(20):
            on.farm.freeze("web2")
            load.wait_for_more(20)
            on.farm.thaw("web2")
            load.wait_for_more(20)
        assert [cut_off(on, by=name) for name in on.farm.names] == [[], []]

        on.lan.flood("web2", on=False)
        wait_for(lambda: cut_off(on, by="web1") == ["web2"] == cut_off(on, by="web2"), what="the verdict", limit=60)
        on.lan.flood("web2", on=True)
        wait_for(lambda: cut_off(on, by="web1") == [] == cut_off(on, by="web2"), what="its end", limit=60)
        on.clients.end(load)
        for name in on.farm.names:
            log = on.farm.log(name)
            assert log.count("web2 is cut off by the switch") == 1
            assert "web1 is cut off" not in log
            assert "web2 sees the packets to the VIPs again" in log
