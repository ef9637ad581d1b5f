"""`hcsidecar check-config --online`, as a command, against a stand-in for AWS."""

import asyncio
import json
import os
import sys

import pytest
from aws_here import aws_environment
from strict_aws import Group, StrictAws
from typer.testing import CliRunner

from hcsidecar.cli import app

pytestmark = pytest.mark.usefixtures("aws_environment")
__all__ = ["aws_environment"]

FITTING = {
    "extra": {
        "HealthCheckPort": 9010,
        "LoadBalancerArns": "<member>arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/x/1</member>",
    },
    "attributes": {"deregistration_delay.timeout_seconds": "60"},
}


async def check(config, *options):
    """Run the command beside the stand-in; gives its exit status and what it printed."""
    command = [sys.executable, "-m", "hcsidecar", "check-config", str(config), "--online", *options]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=dict(os.environ)
    )
    printed, _ = await process.communicate()
    return process.returncode, printed.decode()


@pytest.fixture
def farm_file(tmp_path):
    """Give a function that writes a farm file with targets."""

    def write(*targets):
        there = tmp_path / "etc"
        arguments = ["init", str(there), "--name", "shop", "--node", "web1=127.0.1.1", "--node", "web2=127.0.1.2"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        config = there / "farm.toml"
        text = config.read_text() + '\n[health]\nlame_duck = "35s"\n'
        for target in targets:
            text += "\n[[target]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in target.items())
        config.write_text(text)
        return config

    return write


def aws_target(aws, group, **keys):
    return {"type": "aws", "group": group.arn, "endpoint_url": aws.url} | keys


def test_a_group_that_fits_is_told_point_by_point_and_exits_with_0(farm_file):
    async def story():
        group = Group("web", **FITTING)
        async with StrictAws(group) as aws:
            aws._register(group, [("127.0.1.1", 80, None)])
            status, printed = await check(farm_file(aws_target(aws, group)))
            assert status == 0, printed
            assert "target     web (aws), as its balancer has it:" in printed
            assert "ok       the health check asks port 9010 by HTTP" in printed
            assert "web2: 127.0.1.2:80 is absent" in printed
            assert aws.changes == []

    asyncio.run(story())


def test_what_keeps_a_target_from_working_is_told_with_its_remedy_and_exits_with_1(farm_file):
    async def story():
        group = Group("web", matcher="200-499", **FITTING)
        async with StrictAws(group) as aws:
            status, printed = await check(farm_file(aws_target(aws, group)), "--json")
            assert status == 1
            (target,) = json.loads(printed)["targets"]
            assert (target["name"], target["type"], target["ok"]) == ("web", "aws", False)
            (problem,) = [one for one in target["findings"] if one["grade"] == "problem"]
            assert "which includes 404" in problem["text"]
            assert problem["remedy"].startswith(
                f"aws elbv2 modify-target-group --target-group-arn {group.arn} --matcher"
            )

    asyncio.run(story())


def test_a_warning_or_a_missing_right_to_look_exits_with_0(farm_file):
    async def story():
        group = Group("web", **(FITTING | {"attributes": {"deregistration_delay.timeout_seconds": "0"}}))
        async with StrictAws(group) as aws:
            config = farm_file(aws_target(aws, group))
            status, printed = await check(config)
            assert (status, "warning  the deregistration delay is 0" in printed) == (0, True)
            aws.denied |= {"DescribeTargetGroups", "DescribeTargetGroupAttributes", "DescribeTargetHealth"}
            status, printed = await check(config)
            assert status == 0
            assert printed.count("unseen") == 3
            assert "do not allow elasticloadbalancing:DescribeTargetGroupAttributes" in printed

    asyncio.run(story())


def test_an_api_out_of_reach_and_a_kind_that_cannot_look_are_told(farm_file):
    async def story():
        group = Group("web", **FITTING)
        async with StrictAws(group) as aws:
            away = aws_target(aws, group, endpoint_url="http://127.0.0.1:1")
            command = {"type": "command", "command": ["/bin/true"]}
            status, printed = await check(farm_file(away, command))
            assert status == 1
            assert "problem  EndpointConnectionError" in printed
            assert "unseen   there is nothing that looks at a balancer of kind command" in printed

    asyncio.run(story())


def test_without_targets_there_is_nothing_to_look_at(farm_file):
    status, printed = asyncio.run(check(farm_file()))
    assert (status, "there is no [[target]] to look at" in printed) == (0, True)


def test_a_wrong_file_exits_with_2_before_anything_is_asked(farm_file):
    config = farm_file({"type": "aws"})
    status, printed = asyncio.run(check(config))
    assert (status, "target[0].group" in printed or "group" in printed) == (2, True)
