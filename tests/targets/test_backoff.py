import pytest

from hcsidecar.core.farmfile.farm_file import AwsTarget, CommandTarget, HaproxyTarget
from hcsidecar.targets.targets import backoff_of

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"


@pytest.mark.parametrize(
    ("table", "poll", "longest_pause"),
    [
        (AwsTarget(type="aws", group=ARN), 60, 60),
        (CommandTarget(type="command", command=("x",), poll=5.0), 5, 60),
        (HaproxyTarget(type="haproxy", backend="b", socket="/s", port=80), 5, 5),
        (HaproxyTarget(type="haproxy", backend="b", socket="/s", port=80, poll=2.0), 2, 2),
    ],
)
def test_a_haproxy_that_was_away_is_asked_again_as_often_as_one_that_is_there(table, poll, longest_pause):
    backoff = backoff_of(table)
    assert (backoff.poll, backoff.longest_pause) == (poll, longest_pause)
