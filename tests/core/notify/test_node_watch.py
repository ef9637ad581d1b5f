from hcsidecar.core.events import Level
from hcsidecar.core.notify.node_watch import Hearing, NodeChange, NodeWatch

HEARD, SILENT, LEFT = Hearing.HEARD, Hearing.SILENT, Hearing.LEFT


def told(found):
    return [(each.node, each.change, each.level, each.text) for each in found]


def test_a_node_that_was_heard_and_is_silent_is_dead_and_then_heard_again():
    watch = NodeWatch("web1")
    assert watch.see_others({"web2": HEARD}) == []
    assert told(watch.see_others({"web2": SILENT})) == [
        ("web2", NodeChange.DEAD, Level.ERROR, "is dead: its heartbeats are not heard any more")
    ]
    assert watch.see_others({"web2": SILENT}) == []
    assert told(watch.see_others({"web2": HEARD})) == [("web2", NodeChange.HEARD, Level.INFO, "is heard again")]


def test_a_node_that_leaves_is_not_dead():
    watch = NodeWatch("web1")
    watch.see_others({"web2": HEARD})
    assert [each.change for each in watch.see_others({"web2": LEFT})] == [NodeChange.LEFT]
    assert watch.see_others({"web2": SILENT}) == []


def test_nothing_is_told_of_nodes_that_were_not_heard_yet_or_are_no_nodes_of_the_farm_any_more():
    watch = NodeWatch("web1")
    assert watch.see_others({"web2": SILENT, "web3": LEFT}) == []
    assert watch.see_others({"web2": HEARD, "web3": SILENT}) == []
    assert watch.see_others({"web3": HEARD}) == []
    assert watch.see_others({"web2": SILENT, "web3": HEARD}) == []


def see(watch, state, reason=""):
    return told(
        watch.see_own(state=state, is_transient="Transient" in state, is_ready=state.endswith("(Ready)"), reason=reason)
    )


def test_each_new_state_of_the_application_is_told_but_the_first_and_those_on_the_way():
    watch = NodeWatch("web1")
    assert see(watch, "STOP(NotReady)", "just started") == []
    assert see(watch, "UP(Transient)") == []
    assert see(watch, "UP(Ready)") == [("web1", None, Level.INFO, "is UP(Ready)")]
    assert see(watch, "UP(Ready)") == []
    assert see(watch, "UP(NotReady)", "check HTTP fails") == [
        ("web1", None, Level.WARNING, "is UP(NotReady): check HTTP fails")
    ]


def test_an_application_that_was_restarted_is_told_as_ready_again():
    watch = NodeWatch("web1")
    see(watch, "UP(Transient)")
    assert see(watch, "UP(Ready)") == []
    see(watch, "UP(Transient)")
    assert see(watch, "UP(Ready)") == [("web1", None, Level.INFO, "is UP(Ready)")]
