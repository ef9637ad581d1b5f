"""This node as a target of AWS, call by call, against a stand-in that is as strict as AWS."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aws_here import HealthUrl, Imds, aws_environment, here, table
from strict_aws import Group, StrictAws
from waiting import until

from hcsidecar.core.targets.registration import Presence, TargetError, Trouble
from hcsidecar.targets.aws import AwsBalancer, AwsKind
from hcsidecar.targets.aws_identity import Metadata

pytestmark = pytest.mark.usefixtures("aws_environment")
__all__ = ["aws_environment"]
WEB1 = ("127.0.1.1", 80)


def run(story, *groups, **options):
    """Play a story with the stand-in and its first group."""

    async def play():
        async with StrictAws(*(groups or (Group("web"),)), **options) as aws:
            await story(aws, next(iter(aws.groups.values()), None))

    asyncio.run(play())


async def failure(call):
    with pytest.raises(TargetError) as caught:
        await call
    return caught.value


def test_a_node_is_registered_and_deregistered_under_its_id_and_the_groups_port(tmp_path):
    async def story(aws, group):
        node = AwsKind().open(table(aws.url), here(tmp_path))
        assert (await node.observe()).presence is Presence.ABSENT
        await node.register()
        assert (await node.observe()).presence in (Presence.PENDING, Presence.UNHEALTHY)
        await node.register()
        assert aws.states(group).keys() == {WEB1}
        await node.deregister()
        assert (await node.observe()).presence is Presence.DRAINING
        await until(lambda: aws.states(group) == {})
        assert (await node.observe()).presence is Presence.ABSENT
        await node.deregister()
        assert all(targets == [WEB1] for _, targets in aws.changes)
        assert aws.count("DescribeTargetGroups") == 1
        await node.close()

    run(story)


def test_a_port_of_the_nodes_own_is_said_in_every_call(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url, port=8080), here(tmp_path))
        await node.register()
        await node.observe()
        await node.deregister()
        assert (await node.observe()).presence is Presence.DRAINING
        assert {tuple(call[1]) for call in aws.calls} == {(("127.0.1.1", 8080),)}
        assert aws.count("DescribeTargetGroups") == 0

    run(story)


def test_the_stand_in_ignores_a_deregistration_without_the_port_as_aws_does(tmp_path):
    """It is what makes the test above worth something."""

    async def story(aws, group):
        await AwsBalancer(table(aws.url, port=8080), here(tmp_path)).register()
        aws.take_away(group, ("127.0.1.1", None))
        assert aws.states(group)["127.0.1.1", 8080] != "draining"

    run(story)


def test_without_the_right_to_read_the_group_no_call_names_a_port(tmp_path):
    async def story(aws, group):
        aws.denied.add("DescribeTargetGroups")
        node = AwsBalancer(table(aws.url), here(tmp_path))
        await node.observe()
        await node.register()
        assert (await node.observe()).presence is not Presence.ABSENT
        await node.deregister()
        assert (await node.observe()).presence is Presence.DRAINING
        assert {tuple(call[1]) for call in aws.calls if call[1]} == {(("127.0.1.1", None),)}
        assert aws.count("DescribeTargetGroups") == 1

    run(story)


def test_a_side_that_is_made_anew_knows_what_aws_has_said_before(tmp_path):
    async def story(aws, group):
        aws.denied.update({"DescribeTargetGroups", "DescribeTargetHealth"})
        node = AwsBalancer(table(aws.url), here(tmp_path))
        assert (await node.observe()).presence is Presence.UNSEEN
        again = AwsBalancer(table(aws.url), here(tmp_path))
        again.recall(node.notes)
        assert again.notes == node.notes
        await again.register()
        assert aws.count("DescribeTargetGroups") == 1
        aws.denied.clear()
        knowing = AwsBalancer(table(aws.url), here(tmp_path))
        assert (await knowing.observe()).presence is not Presence.UNSEEN
        again = AwsBalancer(table(aws.url), here(tmp_path))
        again.recall(knowing.notes)
        await again.observe()
        assert aws.count("DescribeTargetGroups") == 2

    run(story)


def test_without_the_right_to_look_a_node_is_registered_blindly(tmp_path):
    async def story(aws, group):
        aws.denied.add("DescribeTargetHealth")
        node = AwsBalancer(table(aws.url), here(tmp_path))
        seen = await node.observe()
        assert seen.presence is Presence.UNSEEN
        assert "elasticloadbalancing:DescribeTargetHealth" in seen.reason
        assert "config/aws-policy.json" in seen.reason
        await node.register()
        assert aws.states(group).keys() == {WEB1}
        aws.denied.clear()
        assert (await node.observe()).presence is not Presence.UNSEEN

    run(story)


def test_a_target_goes_from_pending_to_healthy_by_real_probes(tmp_path):
    async def story(aws, group):
        async with HealthUrl("127.0.1.1", status=404) as health:
            group.health_port = health.port
            node = AwsBalancer(table(aws.url), here(tmp_path))
            await node.register()
            await until(lambda: aws.states(group)[WEB1] == "unhealthy")
            seen = await node.observe()
            assert (seen.presence, seen.reason) == (Presence.UNHEALTHY, "Target.ResponseCodeMismatch: About it")
            health.status = 200
            await until(lambda: aws.states(group)[WEB1] == "healthy")
            assert (await node.observe()).presence is Presence.HEALTHY

    run(story)


def test_a_group_without_a_listener_has_the_node_registered_and_unused(tmp_path):
    async def story(aws, group):
        group.has_listener = False
        node = AwsBalancer(table(aws.url), here(tmp_path))
        await node.register()
        seen = await node.observe()
        assert (seen.presence, seen.is_there) == (Presence.UNUSED, True)
        assert seen.reason.startswith("Target.NotInUse")

    run(story)


def test_an_address_outside_the_network_needs_a_zone_and_the_error_says_so(tmp_path):
    async def story(aws, group):
        on_site = here(tmp_path, address="10.9.9.9", addresses={"web1": "10.9.9.9"})
        node = AwsBalancer(table(aws.url), on_site)
        assert (await node.observe()).presence is Presence.ABSENT
        error = await failure(node.register())
        assert error.trouble is Trouble.CONFIG
        assert 'availability_zone = "all"' in error.text
        node = AwsBalancer(table(aws.url, availability_zone="all"), on_site)
        await node.register()
        assert (await node.observe()).is_there
        await node.deregister()
        assert (await node.observe()).presence is Presence.DRAINING
        assert aws.calls[-1][2] == ["all"]

    run(story)


def test_a_public_address_is_refused_without_advice_that_would_not_help(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url, availability_zone="all"), here(tmp_path, address="198.51.100.7"))
        error = await failure(node.register())
        assert error.trouble is Trouble.CONFIG
        assert "availability_zone" not in error.text

    run(story)


def test_an_instance_is_registered_by_what_its_metadata_service_says(tmp_path, aws_environment):
    async def story(aws, group):
        async with Imds() as imds:
            aws_environment.setenv("AWS_EC2_METADATA_DISABLED", "false")
            aws_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url)
            node = AwsBalancer(table(aws.url, target="instance"), here(tmp_path))
            await node.register()
            assert aws.states(group).keys() == {("i-0123456789abcdef0", 80)}
            imds.status = 500
            assert (await node.observe()).is_there, "what it was last is good enough"

    run(story, Group("web", type="instance"))


def test_a_new_address_is_registered_and_the_old_one_deregistered(tmp_path):
    async def story(aws, group):
        before = AwsBalancer(table(aws.url), here(tmp_path))
        await before.observe()
        await before.register()
        moved = here(tmp_path, address="127.0.1.9", addresses={"web1": "127.0.1.9", "web2": "127.0.1.2"})
        node = AwsBalancer(table(aws.url), moved)
        seen = await node.observe()
        assert (seen.presence, seen.former) == (Presence.ABSENT, ("127.0.1.1:80",))
        await node.register()
        seen = await node.observe()
        assert (seen.is_there, seen.former) == (True, ("127.0.1.1:80",))
        await node.retire()
        assert aws.states(group)[WEB1] == "draining"
        assert (await node.observe()).former == ()
        kept = json.loads((tmp_path / "target-web.json").read_text())
        assert [target["id"] for target in kept["targets"]] == ["127.0.1.9"]
        assert (tmp_path / "target-web.json").stat().st_mode & 0o777 == 0o600

    run(story)


def test_an_address_that_the_metadata_service_has_changed_is_noticed(tmp_path, aws_environment):
    async def story(aws, group):
        async with Imds() as imds:
            aws_environment.setenv("AWS_EC2_METADATA_DISABLED", "false")
            aws_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url)
            node = AwsBalancer(table(aws.url, id="metadata"), here(tmp_path))
            await node.register()
            assert (await node.observe()).is_there
            imds.paths["local-ipv4"] = "127.0.1.9"
            seen = await node.observe()
            assert (seen.presence, seen.former) == (Presence.ABSENT, ("127.0.1.1:80",))

    run(story)


def test_an_old_address_that_is_another_nodes_by_now_is_left_alone(tmp_path):
    async def story(aws, group):
        before = AwsBalancer(table(aws.url), here(tmp_path))
        await before.register()
        changed = {"web1": "127.0.1.9", "web2": "127.0.1.1"}
        node = AwsBalancer(table(aws.url), here(tmp_path, address="127.0.1.9", addresses=changed))
        assert (await node.observe()).former == ()
        await node.register()
        await node.retire()
        assert aws.states(group)[WEB1] != "draining"

    run(story)


def test_a_new_port_is_another_target_and_the_old_one_goes(tmp_path):
    async def story(aws, group):
        await AwsBalancer(table(aws.url, port=8080), here(tmp_path)).register()
        node = AwsBalancer(table(aws.url, port=8081), here(tmp_path))
        await node.register()
        assert (await node.observe()).former == ("127.0.1.1:8080",)
        await node.retire()
        assert aws.states(group)["127.0.1.1", 8080] == "draining"
        assert aws.states(group)["127.0.1.1", 8081] != "draining"

    run(story)


def test_the_groups_port_said_and_unsaid_is_one_target(tmp_path):
    """What was registered without a port must not be retired when the port becomes known."""

    async def story(aws, group):
        aws.denied.add("DescribeTargetGroups")
        await AwsBalancer(table(aws.url), here(tmp_path)).register()
        for node in (AwsBalancer(table(aws.url, port=80), here(tmp_path)), AwsBalancer(table(aws.url), here(tmp_path))):
            seen = await node.observe()
            assert (seen.is_there, seen.former) == (True, ())
            await node.retire()
            aws.denied.clear()
        assert aws.states(group)[WEB1] != "draining"

    run(story)


def test_what_was_registered_by_hand_is_remembered_too(tmp_path):
    async def story(aws, group):
        group.targets.update()
        aws._register(group, [("127.0.1.1", 80, None)])
        await AwsBalancer(table(aws.url), here(tmp_path)).observe()
        moved = here(tmp_path, address="127.0.1.9", addresses={"web1": "127.0.1.9"})
        assert (await AwsBalancer(table(aws.url), moved).observe()).former == ("127.0.1.1:80",)

    run(story)


def test_policy_observe_remembers_nothing(tmp_path):
    async def story(aws, group):
        aws._register(group, [("127.0.1.1", 80, None)])
        seen = await AwsBalancer(table(aws.url, policy="observe"), here(tmp_path)).observe()
        assert seen.is_there
        assert list(tmp_path.iterdir()) == []

    run(story)


def test_a_memory_that_somebody_removes_is_written_again_with_the_next_look(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url), here(tmp_path))
        await node.register()
        (tmp_path / "target-web.json").unlink()
        await node.observe()
        moved = here(tmp_path, address="127.0.1.9", addresses={"web1": "127.0.1.9"})
        assert (await AwsBalancer(table(aws.url), moved).observe()).former == ("127.0.1.1:80",)

    run(story)


@pytest.mark.parametrize("garbage", [b"", b"\xff\x00", b"[]", b'{"group": 3}', b'{"group": "g", "targets": [{}]}'])
def test_a_garbled_memory_is_an_empty_one(tmp_path, garbage):
    async def story(aws, group):
        (tmp_path / "target-web.json").write_bytes(garbage)
        node = AwsBalancer(table(aws.url), here(tmp_path))
        assert (await node.observe()).former == ()
        await node.register()
        assert json.loads((tmp_path / "target-web.json").read_text())["targets"][0]["id"] == "127.0.1.1"

    run(story)


def test_a_memory_that_cannot_be_written_keeps_nobody_from_being_registered(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url), here(tmp_path / "gone"))
        await node.register()
        seen = await node.observe()
        assert seen.is_there
        assert "No such file or directory" in seen.reason

    run(story)


@pytest.mark.parametrize(
    ("address", "whose"), [("127.0.1.2", "node web2"), ("127.0.1.50", "the virtual IP"), ("127.0.1.77", "node web3")]
)
def test_the_target_of_another_is_never_touched(tmp_path, address, whose):
    async def story(aws, group):
        mine = table(aws.url, nodes={"web1": {"id": address}, "web3": {"id": "127.0.1.77"}})
        addresses = {"web1": "127.0.1.1", "web2": "127.0.1.2", "web3": "127.0.1.3"}
        node = AwsBalancer(mine, here(tmp_path, addresses=addresses))
        for call in (node.observe, node.register, node.deregister, node.retire):
            error = await failure(call())
            assert error.trouble is Trouble.CONFIG
            assert f"{address} is {whose}" in error.text
        assert aws.calls == []

    run(story)


@pytest.mark.parametrize(
    ("fault", "trouble", "says"),
    [
        ("Throttling", Trouble.THROTTLE, "share this limit"),
        ("ThrottlingException", Trouble.THROTTLE, "share this limit"),
        ("RequestLimitExceeded", Trouble.THROTTLE, "share this limit"),
        ("InternalFailure", Trouble.RETRY, "InternalFailure"),
        ("HealthUnavailable", Trouble.RETRY, "HealthUnavailable"),
        ("SignatureDoesNotMatch", Trouble.AUTH, "timedatectl"),
        ("TooManyTargets", Trouble.CONFIG, "quota"),
        ("ValidationError", Trouble.CONFIG, "farm file"),
        ("SomethingNew", Trouble.RETRY, "SomethingNew"),
        ("reset", Trouble.RETRY, "connection"),
        ("lost", Trouble.RETRY, "connection"),
        ("garbage", Trouble.RETRY, "not from AWS"),
        ("html", Trouble.RETRY, "captive portal"),
        ("html503", Trouble.RETRY, "captive portal"),
    ],
)
@pytest.mark.parametrize("action", ["RegisterTargets", "DeregisterTargets", "DescribeTargetHealth"])
def test_what_goes_wrong_is_tried_once_and_told_with_its_remedy(tmp_path, action, fault, trouble, says):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url, port=80), here(tmp_path))
        call = {"RegisterTargets": node.register, "DeregisterTargets": node.deregister}.get(action, node.observe)
        aws.fail(action, fault)
        error = await failure(call())
        assert error.trouble is trouble
        assert says in error.text
        assert "\n" not in error.text
        assert aws.count(action) == 1
        await call()

    run(story)


@pytest.mark.parametrize("fault", ["empty", "other"])
def test_a_look_that_shows_nothing_of_this_node_is_no_look(tmp_path, fault):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url, port=80), here(tmp_path))
        aws.fail("DescribeTargetHealth", fault)
        assert (await failure(node.observe())).trouble is Trouble.RETRY

    run(story)


def test_a_lost_answer_registers_once(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url), here(tmp_path))
        aws.fail("RegisterTargets", "lost")
        await failure(node.register())
        assert (await node.observe()).is_there
        assert aws.states(group).keys() == {WEB1}

    run(story)


def test_a_group_that_is_deleted_and_made_again_is_told_and_found(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url), here(tmp_path))
        await node.observe()
        del aws.groups[group.arn]
        error = await failure(node.observe())
        assert error.trouble is Trouble.CONFIG
        assert "eu-west-1" in error.text
        aws.groups[group.arn] = group
        assert (await node.observe()).presence is Presence.ABSENT

    run(story)


def test_a_full_group_is_told_and_has_room_again(tmp_path):
    async def story(aws, group):
        aws._register(group, [("127.0.1.2", 80, None)])
        node = AwsBalancer(table(aws.url), here(tmp_path))
        assert (await failure(node.register())).trouble is Trouble.CONFIG
        aws.take_away(group, ("127.0.1.2", 80))
        await until(lambda: aws.states(group) == {})
        await node.register()

    run(story, Group("web", quota=1))


def test_a_denied_call_names_the_right_that_is_missing(tmp_path):
    async def story(aws, group):
        aws.denied.add("RegisterTargets")
        node = AwsBalancer(table(aws.url), here(tmp_path))
        error = await failure(node.register())
        assert error.trouble is Trouble.AUTH
        assert "elasticloadbalancing:RegisterTargets: grant them the rights in config/aws-policy.json" in error.text
        aws.denied.clear()
        await node.register()

    run(story)


def test_a_call_that_hangs_or_dribbles_is_cut_off_and_no_other_begins_meanwhile(tmp_path):
    async def story(aws, group):
        for fault in ("hang", "dribble"):
            node = AwsBalancer(table(aws.url, port=80), here(tmp_path))
            aws.fail("DescribeTargetHealth", fault)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await node.observe()
            sent = len(aws.calls)
            error = await failure(node.observe())
            assert (error.trouble, error.text) == (Trouble.RETRY, "the former call still has no answer")
            assert len(aws.calls) == sent
            await node.close()

    run(story)


def test_a_hanging_api_is_told_as_what_it_is(tmp_path):
    async def story(aws, group):
        node = AwsBalancer(table(aws.url, port=80), here(tmp_path))
        aws.fail("DescribeTargetHealth", "hang")
        error = await failure(node.observe())
        assert error.trouble is Trouble.RETRY
        assert "the API does not answer in time" in error.text

    run(story)


def test_of_two_groups_one_that_hangs_does_not_disturb_the_other(tmp_path):
    async def story(aws, group):
        aws.fail("DescribeTargetHealth", "hang")
        broken = AwsBalancer(table(aws.url, port=80), here(tmp_path))
        stuck = asyncio.create_task(broken.observe())
        await until(lambda: aws.in_flight == 1)
        other = AwsBalancer(table(aws.url, group="admin", port=80), here(tmp_path))
        await other.register()
        assert (await other.observe()).is_there
        assert not stuck.done()
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)

    run(story, Group("web"), Group("admin"))


def test_clients_can_be_made_in_several_threads_at_once(tmp_path):
    async def story(aws, group):
        nodes = [AwsBalancer(table(aws.url, port=80), here(tmp_path)) for _ in range(8)]
        seen = await asyncio.gather(*(node.observe() for node in nodes))
        assert {one.presence for one in seen} == {Presence.ABSENT}

    run(story)


def test_the_environments_proxy_is_not_used_and_the_tables_is(tmp_path, aws_environment):
    async def story(aws, group):
        aws_environment.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        aws_environment.setenv("http_proxy", "http://127.0.0.1:1")
        assert (await AwsBalancer(table(aws.url), here(tmp_path)).observe()).presence is Presence.ABSENT
        through = AwsBalancer(table("http://elb.example.com", proxy=aws.url, port=80), here(tmp_path))
        assert (await through.observe()).presence is Presence.ABSENT
        assert aws.hosts[-1] == "elb.example.com"
        nowhere = AwsBalancer(table("http://elb.example.com", proxy="http://127.0.0.1:1"), here(tmp_path))
        error = await failure(nowhere.observe())
        assert error.trouble is Trouble.RETRY
        assert "check `proxy`" in error.text

    run(story)


def test_an_api_that_is_not_there_is_told_with_what_to_look_at(tmp_path):
    async def story(aws, group):
        error = await failure(AwsBalancer(table("http://127.0.0.1:1"), here(tmp_path)).observe())
        assert error.trouble is Trouble.RETRY
        assert "the API cannot be reached" in error.text

    run(story)


def test_credentials_that_come_later_or_are_renewed_are_found_without_a_restart(tmp_path, aws_environment):
    async def story(aws, group):
        aws_environment.delenv("AWS_ACCESS_KEY_ID")
        aws_environment.delenv("AWS_SECRET_ACCESS_KEY")
        keys = tmp_path / "credentials"
        aws_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
        node = AwsBalancer(table(aws.url), here(tmp_path))
        error = await failure(node.observe())
        assert error.trouble is Trouble.AUTH
        assert "NoCredentialsError" in error.text
        assert aws.calls == []
        keys.write_text("[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\n")
        assert (await node.observe()).presence is Presence.ABSENT
        aws.expired.add("AKIDEXAMPLE")
        error = await failure(node.observe())
        assert (error.trouble, "renew" in error.text) == (Trouble.AUTH, True)
        aws.keys["AKIDNEW"] = None
        keys.write_text("[default]\naws_access_key_id = AKIDNEW\naws_secret_access_key = secret\n")
        assert (await node.observe()).presence is Presence.ABSENT

    run(story)


def test_the_credentials_of_an_instance_role_are_used(tmp_path, aws_environment):
    async def story(aws, group):
        aws.keys["ASIAROLE"] = "role-token"
        async with Imds() as imds:
            imds.role = {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": "2020-01-01T00:00:00Z",
                "AccessKeyId": "ASIAROLE",
                "SecretAccessKey": "secret",
                "Token": "role-token",
                "Expiration": "2099-01-01T00:00:00Z",
            }
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                aws_environment.delenv(name)
            aws_environment.setenv("AWS_EC2_METADATA_DISABLED", "false")
            aws_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url)
            node = AwsBalancer(table(aws.url, id="metadata"), here(tmp_path))
            await node.register()
            assert aws.states(group).keys() == {WEB1}

    run(story)


def test_a_metadata_service_behind_the_environments_proxy_is_told(tmp_path, aws_environment):
    async def story(aws, group):
        async with Imds() as imds:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                aws_environment.delenv(name)
            aws_environment.setenv("AWS_EC2_METADATA_DISABLED", "false")
            aws_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds.url)
            aws_environment.setenv("HTTP_PROXY", "http://127.0.0.1:1")
            error = await failure(AwsBalancer(table(aws.url), here(tmp_path)).observe())
            assert error.trouble is Trouble.AUTH
            assert "NO_PROXY=169.254.169.254" in error.text
            assert (await Metadata(patience=0.1).read_id("ip")) == "127.0.1.1", "ours is asked directly"

    run(story)


def test_the_descriptions_of_aws_are_read_once_for_all_targets():
    script = """
import sys
from aws_here import table
from hcsidecar.targets.aws_api import TargetGroupApi
read = []

def note(event, arguments):
    if event == "open" and "service-2" in str(arguments[0]):
        read.append(arguments[0])

sys.addaudithook(note)
for group in ("a", "b", "c"):
    TargetGroupApi(table("http://127.0.0.1:1", group=group))._make_client()
print(len(read))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
