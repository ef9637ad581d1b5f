"""Which details of nodes are news."""

from msgspec.structs import replace

from hcsidecar.core.console.node_details import NodeDetails, details_fresh_for, details_news
from hcsidecar.core.documents import ChecksReport, CheckState
from hcsidecar.core.targets.documents import TargetFailure, TargetsReport, TargetStatus
from l2mode.core.documents import FilterStatus, LayerTwoReport

TARGET = TargetStatus(type="haproxy", name="lb", policy="state", desired="present", why="Ready", observed_age=1.0)
LAYER_TWO = LayerTwoReport(
    farm="apache",
    node="web1",
    view=("web1",),
    filter=FilterStatus(name="tc", why="tried"),
    interface="eth0",
    macs={},
    delivery="directed",
    lease_open=True,
    vips=(),
    shares=(),
    seen=5,
)
DETAILS = NodeDetails(
    node="web1",
    checks=ChecksReport(node="web1", checks=(CheckState(name="http", value="up"),)),
    layer_two=LAYER_TWO,
    targets=TargetsReport(node="web1", targets=(TARGET,)),
)


def test_all_is_news_at_first():
    assert details_news({}, {"web1": DETAILS}) == [DETAILS]
    assert details_news({}, {"web1": NodeDetails(node="web1")}) == [NodeDetails(node="web1")]


def test_counters_and_ages_are_no_news():
    later = replace(
        DETAILS,
        layer_two=replace(LAYER_TWO, seen=6),
        targets=TargetsReport(node="web1", targets=(replace(TARGET, observed_age=2.0, calls={"look": 3}),)),
    )
    assert details_news({"web1": DETAILS}, {"web1": later}) == []


def test_the_age_of_a_failure_is_no_news_and_the_failure_is():
    def failing(age):
        error = TargetFailure(trouble="auth", text="no", age=age)
        return replace(DETAILS, targets=TargetsReport(node="web1", targets=(replace(TARGET, error=error),)))

    assert details_news({"web1": failing(1.0)}, {"web1": failing(2.0)}) == []
    assert details_news({"web1": DETAILS}, {"web1": failing(1.0)}) == [failing(1.0)]


def test_a_check_that_fails_is_news():
    later = replace(DETAILS, checks=ChecksReport(node="web1", checks=(CheckState(name="http", value="down"),)))
    assert details_news({"web1": DETAILS}, {"web1": later}) == [later]


def test_the_more_nodes_the_less_often_details_are_looked_at():
    assert details_fresh_for(3) == 2.0
    assert details_fresh_for(64) == 12.8
