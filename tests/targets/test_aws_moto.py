"""The calls as another's eyes see them: the same code against moto, which answers differently where AWS is lenient.

moto keeps targets by id alone, has them healthy at once, and refuses a second deregistration; it checks rights by
action. That the calls are well-formed and that such answers are borne is what this shows, and no more.
"""

import asyncio
import json
import urllib.request
from pathlib import Path
from random import Random

import boto3
import pytest
from aws_here import aws_environment, here
from moto_server import moto
from waiting import until

from hcsidecar.core.application.states import Word
from hcsidecar.core.farmfile.target_tables import AwsTarget
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Presence, TargetError, Trouble
from hcsidecar.targets.aws import AwsBalancer
from hcsidecar.targets.registrar import Registrar

pytestmark = pytest.mark.usefixtures("aws_environment")
__all__ = ["aws_environment"]
POLICY = Path(__file__).parents[2] / "config" / "aws-policy.json"
QUICK = Backoff(poll=0.1, hold_up=0.01, soon=0.05, longest_pause=0.2, leaving=0.1)


@pytest.fixture(scope="module")
def endpoint():
    with moto() as url:
        yield url


@pytest.fixture
def clients(endpoint, aws_environment):
    """Give a function that makes a client, after everything at moto was deleted."""
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()  # noqa: S310
    session = boto3.session.Session(region_name="eu-west-1")
    return lambda service: session.client(service, endpoint_url=endpoint)


@pytest.fixture
def vpc(clients):
    return clients("ec2").create_vpc(CidrBlock="127.0.0.0/16")["Vpc"]["VpcId"]


def group(clients, vpc, **settings):
    given = {"Name": "web", "Protocol": "HTTP", "Port": 80, "VpcId": vpc, "TargetType": "ip"} | settings
    return clients("elbv2").create_target_group(**given)["TargetGroups"][0]["TargetGroupArn"]


def node(endpoint, arn, tmp_path, *, keys=None, **changes):
    table = AwsTarget(type="aws", group=arn, endpoint_url=endpoint, **(keys or {}))
    return AwsBalancer(table, here(tmp_path, **changes))


def test_a_node_comes_and_goes(endpoint, clients, vpc, tmp_path):
    async def story():
        one = node(endpoint, group(clients, vpc), tmp_path)
        assert (await one.observe()).presence is Presence.ABSENT
        await one.deregister()  # moto: unknown targets are no error
        await one.register()
        await one.register()
        assert (await one.observe()).presence in (Presence.HEALTHY, Presence.UNUSED)
        await one.deregister()
        assert not (await one.observe()).is_there
        await one.deregister()  # moto: InvalidTarget, where AWS says 200
        await one.close()

    asyncio.run(story())


def test_an_instance_comes_and_goes_and_one_that_is_stopped_is_told(endpoint, clients, vpc, tmp_path):
    ec2 = clients("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    arn = group(clients, vpc, TargetType="instance")
    keys = {"target": "instance", "nodes": {"web1": {"id": instance}}}

    async def story():
        one = node(endpoint, arn, tmp_path, keys=keys)
        await one.register()
        assert (await one.observe()).is_there
        await asyncio.to_thread(ec2.stop_instances, InstanceIds=[instance])
        with pytest.raises(TargetError) as caught:
            await one.register()
        assert caught.value.trouble is Trouble.CONFIG
        assert "is it in the network of the group" in caught.value.text or "is it running" in caught.value.text

    asyncio.run(story())


def test_a_group_that_is_gone_is_told(endpoint, clients, vpc, tmp_path):
    arn = group(clients, vpc)
    clients("elbv2").delete_target_group(TargetGroupArn=arn)

    async def story():
        with pytest.raises(TargetError) as caught:
            await node(endpoint, arn, tmp_path).observe()
        assert (caught.value.trouble, "eu-west-1" in caught.value.text) == (Trouble.CONFIG, True)

    asyncio.run(story())


def test_an_earlier_address_is_deregistered(endpoint, clients, vpc, tmp_path):
    arn = group(clients, vpc)

    async def story():
        await node(endpoint, arn, tmp_path).register()
        one = node(endpoint, arn, tmp_path, address="127.0.1.9", addresses={"web1": "127.0.1.9"})
        await one.register()
        assert (await one.observe()).former == ("127.0.1.1:80",)
        await one.retire()
        assert (await one.observe()).former == ()

    asyncio.run(story())
    left = clients("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    assert [one["Target"]["Id"] for one in left] == ["127.0.1.9"]


def test_the_whole_loop_registers_repairs_and_leaves(endpoint, clients, vpc, tmp_path):
    arn = group(clients, vpc)
    elb = clients("elbv2")

    def there():
        return [
            one["Target"]["Id"] for one in elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        ]

    async def story():
        clock = asyncio.get_running_loop().time
        reconciler = Reconciler(name="web", kind="aws", policy="member", backoff=QUICK, chance=Random(1), now=clock())
        registrar = Registrar(reconciler, node(endpoint, arn, tmp_path), limit=6.0, tell=lambda event: None)
        task = asyncio.create_task(registrar.run())
        try:
            registrar.follow(Situation(word=Word.START, ready=True, in_view=True))
            await until(lambda: reconciler.status(now=clock()).observed in ("healthy", "unused"), limit=20)
            assert await asyncio.to_thread(there) == ["127.0.1.1"]
            target = {"Id": "127.0.1.1", "Port": 80}
            await asyncio.to_thread(elb.deregister_targets, TargetGroupArn=arn, Targets=[target])
            await until(lambda: reconciler.status(now=clock()).calls["register"] == 2, limit=20)
            await until(lambda: reconciler.status(now=clock()).observed in ("healthy", "unused"), limit=20)
            registrar.follow(Situation(word=Word.LEAVE))
            await until(lambda: reconciler.unfinished is None, limit=20)
            assert await asyncio.to_thread(there) == []
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_the_policy_is_enough_and_none_of_it_too_much(endpoint, clients, vpc, tmp_path, aws_environment):
    """moto checks rights by action only and for every resource, so the group's ARN is made a star for it."""
    arn = group(clients, vpc)
    policy = json.loads(POLICY.read_text())
    for statement in policy["Statement"]:
        statement["Resource"] = "*"
    iam = clients("iam")
    iam.create_user(UserName="web1")
    key = iam.create_access_key(UserName="web1")["AccessKey"]

    def allow(actions):
        allowed = [{"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}]
        document = json.dumps({"Version": policy["Version"], "Statement": allowed})
        iam.put_user_policy(UserName="web1", PolicyName="farm", PolicyDocument=document)

    def check_rights(after):
        url, headers = f"{endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        request = urllib.request.Request(url, data=str(after).encode(), headers=headers)  # noqa: S310 - loopback
        urllib.request.urlopen(request).close()  # noqa: S310 - loopback

    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    aws_environment.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    aws_environment.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    async def work():
        """Do all that the product does; gives what it could not do."""
        one = node(endpoint, arn, tmp_path)
        denied = []
        calls = {
            "RegisterTargets": one.register,
            "DescribeTargetHealth": one.observe,
            "DeregisterTargets": one.deregister,
            "DescribeTargetGroups": lambda: asyncio.to_thread(one._api.group),
            "DescribeTargetGroupAttributes": lambda: asyncio.to_thread(one._api.attributes),
        }
        for action, call in calls.items():
            try:
                seen = await call()
            except TargetError as error:
                denied.append(action if error.trouble is Trouble.AUTH and action in error.text else error.text)
            else:
                denied += [action] if action == "DescribeTargetHealth" and seen.presence is Presence.UNSEEN else []
        return denied

    allow(actions)
    try:
        check_rights(0)
        assert asyncio.run(work()) == []
        for action in actions:
            check_rights(1_000_000)
            allow(actions - {action})
            check_rights(0)
            assert asyncio.run(work()) == [action.partition(":")[2]]
    finally:
        check_rights(1_000_000)


def test_the_policy_changes_one_group_alone():
    by_id = {statement["Sid"]: statement for statement in json.loads(POLICY.read_text())["Statement"]}
    assert by_id["RegisterItself"]["Resource"].startswith("arn:aws:elasticloadbalancing:")
    assert all("*" not in action for statement in by_id.values() for action in statement["Action"])
    assert all("Describe" in action for action in by_id["SeeWhatBecameOfIt"]["Action"])
