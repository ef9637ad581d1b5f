"""Real daemons as targets of a group at moto: what the command line, the log and the group say of them."""

import boto3
import pytest
from aws_here import aws_environment
from daemons import real_farm, wait_for
from moto_server import moto

pytestmark = pytest.mark.usefixtures("aws_environment")
__all__ = ["aws_environment"]


def test_daemons_register_themselves_and_a_leave_deregisters_one(tmp_path):
    with moto() as endpoint:
        session = boto3.session.Session(region_name="eu-west-1")
        vpc = session.client("ec2", endpoint_url=endpoint).create_vpc(CidrBlock="127.0.0.0/16")["Vpc"]["VpcId"]
        elb = session.client("elbv2", endpoint_url=endpoint)
        settings = {"Name": "web", "Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "ip"}
        arn = elb.create_target_group(**settings)["TargetGroups"][0]["TargetGroupArn"]

        def there():
            found = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
            return {one["Target"]["Id"] for one in found}

        target = f'[[target]]\ntype = "aws"\ngroup = "{arn}"\nendpoint_url = "{endpoint}"\npoll = "1s"\n'
        with real_farm(tmp_path, extra=f'[health]\nlame_duck = "500ms"\n{target}') as farm:
            farm.start().all_ready()
            wait_for(lambda: len(there()) == len(farm.names), limit=60, what="all registered")
            before = there()
            shown = wait_for(
                lambda: healthy_in(farm.cli("targets", node="web1")), limit=60, what="web1 to be as wished"
            )
            assert "aws" in shown
            left = farm.cli("leave", node="web2")
            assert (left.returncode, left.stderr) == (0, "")
            assert len(before - there()) == 1
            farm.kill("web1")
            assert len(before - there()) == 1, "who dies stays registered"
            assert "web: registered: Ready and a member" in farm.log("web3")


def healthy_in(result):
    """Give what was printed, if the command found all as it is wished."""
    return result.stdout if result.returncode == 0 else None
