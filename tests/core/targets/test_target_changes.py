"""Which targets mean the same place at a balancer when the farm file changes."""

import pytest

from hcsidecar.core.farmfile.farm_file import AwsTarget, CommandTarget, HaproxyTarget
from hcsidecar.core.targets.target_changes import is_same_place

GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{}/0123456789abcdef"


def haproxy(**options):
    table = {"type": "haproxy", "name": "edge", "socket": "/run/haproxy.sock", "backend": "web", "port": 80}
    return HaproxyTarget(**table | options)


def aws(**options):
    return AwsTarget(**{"type": "aws", "name": "edge", "group": GROUP.format("web")} | options)


def command(*words):
    return CommandTarget(type="command", name="edge", command=words)


@pytest.mark.parametrize(
    ("former", "present", "same"),
    [
        (haproxy(), haproxy(), True),
        (haproxy(), haproxy(policy="healthy", port=81, poll="5s"), True),
        (haproxy(), haproxy(backend="other"), False),
        (haproxy(), haproxy(socket="/run/other.sock"), False),
        (haproxy(), haproxy(server="s1"), False),
        (haproxy(), haproxy(name="other"), False),
        (aws(), aws(port=81, region="eu-west-2"), True),
        (aws(), aws(group=GROUP.format("other")), False),
        (aws(), haproxy(), False),
        (command("bin/balancer"), command("/srv/1/bin/balancer", "-v"), True),
    ],
)
def test_a_target_is_the_same_place_by_its_kind_and_what_it_names_there(former, present, same):
    assert is_same_place(former, present) is same
