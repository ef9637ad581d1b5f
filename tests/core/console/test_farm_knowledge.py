"""What the console knows of the farm, and what of it is news."""

import msgspec

from hcsidecar.core.console.farm_knowledge import FarmKnowledge, fresh_for, news
from hcsidecar.core.documents import FarmStatus, NodeFacts, NodeStatus

FACTS = NodeFacts(farm="apache", node="web1", version="1", nodes=("web1", "web2"), keep_ready=1, lame_duck=10.0)


def status(node, **changes):
    rows = tuple(NodeStatus(name=name, alive=True, role="UP", status="Ready") for name in FACTS.nodes)
    rows = tuple(msgspec.structs.replace(row, **changes) if row.name == "web2" else row for row in rows)
    return FarmStatus(farm="apache", node=node, view=("web1", "web2"), nodes=rows)


def known():
    knowledge = FarmKnowledge()
    knowledge.hear_facts(FACTS)
    knowledge.hear("web1", status("web1"), now=10)
    knowledge.hear("web2", status("web2"), now=10)
    return knowledge


def test_before_its_own_node_has_answered_there_is_nothing_to_show():
    knowledge = FarmKnowledge()
    knowledge.miss_own("it does not run")
    assert (knowledge.overview(now=0), knowledge.nodes, knowledge.farm) == (None, (), "")


def test_a_node_is_shown_with_its_own_words_and_with_how_it_is_seen():
    assert known().farm == "apache"
    overview = known().overview(now=10.5)
    assert overview.view == ("web1", "web2")
    assert [(node.answers, node.age) for node in overview.nodes] == [(True, 0.5), (True, 0.5)]
    assert overview.nodes[1].seen == overview.nodes[1].status


def test_a_node_that_does_not_answer_keeps_its_last_words_and_their_age():
    knowledge = known()
    knowledge.miss("web2", "no connection within 2 s")
    node = knowledge.overview(now=70).nodes[1]
    assert (node.answers, node.problem, node.age) == (False, "no connection within 2 s", 60.0)
    assert node.status is not None
    knowledge.hear("web2", status("web2"), now=71)
    assert knowledge.overview(now=71).nodes[1].answers


def test_what_a_node_said_before_its_death_is_no_longer_believed_once_nobody_hears_it():
    knowledge = known()
    knowledge.hear("web1", status("web1", alive=False), now=11)
    node = knowledge.overview(now=11).nodes[1]
    assert (node.answers, node.problem) == (False, "web1 does not hear it any more")
    assert node.status.status == "Ready"
    knowledge.miss("web2", "web2 has not answered within 0.72 s")
    assert knowledge.overview(now=12).nodes[1].problem == "web2 has not answered within 0.72 s"


def test_a_node_that_answers_and_is_not_heard_is_believed_as_soon_as_it_answers_again():
    knowledge = known()
    knowledge.hear("web1", status("web1", alive=False), now=11)
    knowledge.hear("web2", status("web2", alive=False), now=11.1)
    knowledge.hear("web1", status("web1", alive=False), now=11.5)
    assert knowledge.overview(now=12).nodes[1].answers


def test_a_node_that_already_does_not_answer_keeps_the_reason_when_it_is_not_heard_either():
    knowledge = known()
    knowledge.miss("web2", "nobody listens there")
    knowledge.hear("web1", status("web1", alive=False), now=11)
    assert knowledge.overview(now=11).nodes[1].problem == "nobody listens there"


def test_a_node_that_was_never_asked_says_so():
    knowledge = FarmKnowledge()
    knowledge.hear_facts(FACTS)
    knowledge.hear("web1", status("web1"), now=1)
    node = knowledge.overview(now=1).nodes[1]
    assert (node.answers, node.problem, node.status, node.age) == (False, "not asked yet", None, None)


def test_when_its_own_node_is_silent_nobody_answers():
    knowledge = known()
    knowledge.miss_own("its daemon has not answered within 0.8 s")
    overview = knowledge.overview(now=11)
    assert overview.view == ()
    assert {(node.answers, node.problem, node.seen) for node in overview.nodes} == {
        (False, "the console's own node does not answer: its daemon has not answered within 0.8 s", None)
    }


def test_a_node_that_has_left_the_farm_file_is_forgotten():
    knowledge = known()
    knowledge.miss("web2", "gone")
    knowledge.hear_facts(msgspec.structs.replace(FACTS, nodes=("web1",)))
    assert [node.name for node in knowledge.overview(now=10).nodes] == ["web1"]
    knowledge.hear_facts(FACTS)
    assert knowledge.overview(now=10).nodes[1].problem == "not asked yet"


def test_only_what_has_changed_is_news():
    knowledge = known()
    before = knowledge.overview(now=10)
    assert news(None, before) == []
    assert news(before, knowledge.overview(now=20)) == []
    knowledge.hear("web2", status("web2", draining=True), now=20)
    after = knowledge.overview(now=20)
    assert news(before, after) == [("node", after.nodes[1])]


def test_other_nodes_or_another_view_are_news_of_the_farm():
    knowledge = known()
    before = knowledge.overview(now=10)
    knowledge.hear_facts(msgspec.structs.replace(FACTS, nodes=("web1", "web2", "web3")))
    after = knowledge.overview(now=10)
    assert news(before, after) == [("farm", after)]


def test_a_large_farm_is_looked_at_less_often():
    assert [fresh_for(nodes) for nodes in (1, 3, 64)] == [0.25, 0.25, 1.28]
