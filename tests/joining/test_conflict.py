"""A farm whose settings have gone two ways adds no node before its operator has chosen."""

from types import SimpleNamespace

from waiting import on_a_loop

from hcsidecar.daemon.candidates import Candidates


@on_a_loop
async def test_no_node_is_added_while_the_settings_go_two_ways():
    agreement = SimpleNamespace(conflicts={"web2": object()}, conflict_in_words=lambda: "the settings go two ways")
    candidates = Candidates(SimpleNamespace(agreement=agreement), relay=None, conditions=lambda farm: ())
    report = await candidates.make_with_node("web4", {"default": "192.0.2.14"}, message="", without=(), by="root")
    assert report.problems == ("the settings go two ways: choose one first",)
    assert report.revision is None
