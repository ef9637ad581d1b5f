"""The whole loop for a target group: reconciler, calls, boto3, and a stand-in that is as strict as AWS.

Times are short. Each test is a failure that clouds are known for, and what must come of it.
"""

import asyncio
import contextlib
import sys
from random import Random

import pytest
from aws_here import HealthUrl, aws_environment, here, table
from strict_aws import Group, StrictAws
from waiting import until

from hcsidecar.core.application.states import Word
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.targets.aws import AwsBalancer
from hcsidecar.targets.registrar import Registrar

pytestmark = pytest.mark.usefixtures("aws_environment")
__all__ = ["aws_environment"]

READY = Situation(word=Word.START, ready=True, in_view=True)
UNREADY = Situation(word=Word.START, ready=False, in_view=True)
LEFT = Situation(word=Word.LEAVE)
QUICK = Backoff(
    poll=0.05,
    hold_up=0.01,
    soon=0.02,
    longest_pause=0.1,
    first_pause_for_people=0.05,
    longest_pause_for_people=0.1,
    leaving=0.05,
    leave_budget=5.0,
    fresh=5.0,
    resync=0.3,
    repairs=100,
)
WEB1, WEB2 = ("127.0.1.1", 80), ("127.0.1.2", 80)
LIMIT = 20.0
"Seconds for what takes a fraction of one on a machine that has nothing else to do."


class Node:
    """A node with its loop and its health URL; begin it with `async with`. Ending it is what SIGKILL does."""

    def __init__(self, aws, group, state_dir, *, backoff=QUICK, limit=6.0, health=True, **changes):
        self.events = []
        self._group, self._has_health = group, health
        self._balancer = AwsBalancer(table(aws.url, group=group.name), here(state_dir, **changes))
        self._address = changes.get("address", "127.0.1.1")
        now = asyncio.get_running_loop().time()
        self.reconciler = Reconciler(
            name=group.name, kind="aws", policy="member", backoff=backoff, chance=Random(1), now=now
        )
        self.registrar = Registrar(self.reconciler, self._balancer, limit=limit, tell=self.events.append)

    async def __aenter__(self):
        self._stack = contextlib.AsyncExitStack()
        if self._has_health:
            self.health = await self._stack.enter_async_context(HealthUrl(self._address, self._group.health_port or 0))
            self._group.health_port = self.health.port
        self._task = asyncio.create_task(self.registrar.run())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._stack.aclose()

    def follow(self, situation):
        self.registrar.follow(situation)

    @property
    def document(self):
        return self.reconciler.status(now=asyncio.get_running_loop().time())

    async def sees(self, presence):
        await until(lambda: self.document.observed == presence, limit=LIMIT, what=f"{self.document} to be {presence}")

    def failures(self, trouble):
        return self.document.failures[trouble]


def run(story, *groups, **options):
    async def play():
        async with StrictAws(*(groups or (Group("web"),)), **options) as aws:
            await story(aws, next(iter(aws.groups.values())))

    asyncio.run(play())


def test_a_join_becomes_healthy_by_real_probes_with_one_change(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            assert aws.changes == [("RegisterTargets", [WEB1])]

    run(story)


def test_who_is_deregistered_by_somebody_else_comes_back(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            aws.take_away(group, WEB1)
            await until(lambda: aws.count("RegisterTargets") == 2, limit=LIMIT)
            await node.sees("healthy")
            assert any("somebody else has deregistered this node" in event.message for event in node.events)

    run(story)


def test_flapping_costs_no_change_and_touches_nobody_else(tmp_path):
    async def story(aws, group):
        aws._register(group, [(*WEB2, None)])
        async with Node(aws, group, tmp_path, backoff=QUICK) as node:
            node.follow(READY)
            await node.sees("healthy")
            for _ in range(40):
                node.health.status = 404
                node.follow(UNREADY)
                node.health.status = 200
                node.follow(READY)
            await node.sees("healthy")
            assert aws.changes == [("RegisterTargets", [WEB1])]
            assert aws.states(group)[WEB2] != "draining"

    run(story)


def test_a_throttled_call_is_made_again_until_it_works(tmp_path):
    async def story(aws, group):
        aws.fail("RegisterTargets", *["Throttling"] * 6)
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            assert node.failures("throttle") == 6
            assert aws.count("RegisterTargets") == 7

    run(story)


def test_a_denied_node_recovers_when_it_is_given_the_right(tmp_path):
    async def story(aws, group):
        aws.denied.add("RegisterTargets")
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await until(lambda: node.failures("auth") >= 2, limit=LIMIT)
            told = [event for event in node.events if "AccessDenied" in event.message]
            assert len(told) == 1, "the same failure is told once"
            assert "AccessDenied" in node.document.error.text
            aws.denied.clear()
            await node.sees("healthy")
            assert node.document.error is None

    run(story)


def test_a_node_that_may_not_look_is_registered_blindly_and_leaves_blindly(tmp_path):
    async def story(aws, group):
        aws.denied.add("DescribeTargetHealth")
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await until(lambda: aws.states(group).get(WEB1) == "healthy", limit=LIMIT)
            await until(
                lambda: aws.count("RegisterTargets") >= 2, limit=LIMIT, what="another registration after resync"
            )
            node.follow(LEFT)
            await until(lambda: aws.count("DeregisterTargets") == 1, limit=LIMIT)
            await until(lambda: node.reconciler.unfinished is None, limit=LIMIT)

    run(story)


def test_while_the_api_hangs_the_health_url_is_answered_and_calls_do_not_pile_up(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path, limit=0.5) as node:
            node.follow(READY)
            await node.sees("healthy")
            aws.fail("DescribeTargetHealth", "hang")
            await until(lambda: not aws.faults["DescribeTargetHealth"] and aws.in_flight == 1, limit=LIMIT)
            probes, calls, failures = aws.probes[WEB1], len(aws.calls), node.failures("retry")
            await until(lambda: node.failures("retry") >= failures + 3, limit=LIMIT)
            await until(lambda: aws.probes[WEB1] >= probes + 3, limit=LIMIT)
            assert group.targets[WEB1].state == "healthy"
            assert len(aws.calls) == calls, "one that hangs keeps its place"
            assert "the former call still has no answer" in node.document.error.text
            await node.sees("healthy")

    run(story)


def test_a_leave_that_hangs_is_told_after_its_budget_and_goes_on(tmp_path):
    async def story(aws, group):
        backoff = Backoff(poll=0.05, hold_up=0.01, soon=0.02, longest_pause=0.1, leaving=0.05, leave_budget=0.5)
        async with Node(aws, group, tmp_path, backoff=backoff, limit=0.2) as node:
            node.follow(READY)
            await node.sees("healthy")
            aws.fail("DescribeTargetHealth", "hang")
            aws.fail("DeregisterTargets", "hang")
            node.follow(LEFT)
            await until(lambda: any("keeps trying" in event.message for event in node.events), limit=LIMIT)
            assert "the former call still has no answer" in node.reconciler.unfinished
            await node.sees("draining")
            assert node.reconciler.unfinished is None

    run(story, Group("web", draining=3600.0))


def test_a_leave_drains_and_the_node_is_gone_after_the_delay(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            node.follow(LEFT)
            await node.sees("draining")
            assert node.reconciler.unfinished is None
            await node.sees("absent")
            assert aws.changes == [("RegisterTargets", [WEB1]), ("DeregisterTargets", [WEB1])]

    run(story, Group("web", draining=1.0))


def test_who_comes_back_while_draining_is_registered_again(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            node.follow(LEFT)
            await node.sees("draining")
            node.follow(READY)
            await node.sees("healthy")
            assert aws.count("RegisterTargets") == 2

    run(story, Group("web", draining=3600.0))


def test_a_lost_answer_is_no_reason_to_register_twice(tmp_path):
    async def story(aws, group):
        aws.fail("RegisterTargets", "lost")
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            assert aws.changes == [("RegisterTargets", [WEB1])]

    run(story)


@pytest.mark.parametrize("fault", ["InternalFailure", "reset", "garbage", "html", "html503", "empty", "other"])
def test_what_makes_no_sense_is_asked_again(tmp_path, fault):
    async def story(aws, group):
        aws.fail("DescribeTargetHealth", fault, fault)
        aws.fail("RegisterTargets", *([fault] if fault not in ("empty", "other") else []))
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            assert node.failures("retry") >= 2
            assert aws.states(group).keys() == {WEB1}

    run(story)


def test_a_group_that_is_deleted_and_made_again_has_the_node_again(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            del aws.groups[group.arn]
            await until(lambda: node.failures("config") >= 1, limit=LIMIT)
            group.targets.clear()
            aws.groups[group.arn] = group
            await until(lambda: aws.count("RegisterTargets") == 2, limit=LIMIT)

    run(story)


def test_a_full_group_takes_the_node_when_there_is_room(tmp_path):
    async def story(aws, group):
        aws._register(group, [(*WEB2, None)])
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await until(lambda: node.failures("config") >= 1, limit=LIMIT)
            assert "quota" in node.document.error.text
            aws.take_away(group, WEB2)
            await node.sees("healthy")

    run(story, Group("web", quota=1))


def test_a_group_without_a_listener_is_told_and_not_registered_with_over_and_over(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("unused")
            looks = aws.count("DescribeTargetHealth")
            await until(lambda: aws.count("DescribeTargetHealth") >= looks + 5, limit=LIMIT)
            assert aws.count("RegisterTargets") == 1
            assert any("unused there (Target.NotInUse" in event.message for event in node.events)

    run(story, Group("web", has_listener=False))


def test_a_killed_node_stays_registered_and_fails_its_probes_and_a_restart_changes_nothing(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
        await until(lambda: aws.states(group)[WEB1] == "unhealthy", limit=LIMIT)
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
            assert aws.changes == [("RegisterTargets", [WEB1])]

    run(story)


def test_a_new_address_takes_the_place_of_the_old_one(tmp_path):
    async def story(aws, group):
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await node.sees("healthy")
        moved = {"address": "127.0.1.9", "addresses": {"web1": "127.0.1.9", "web2": "127.0.1.2"}}
        async with Node(aws, group, tmp_path, **moved) as node:
            node.follow(READY)
            await until(lambda: aws.count("DeregisterTargets") == 1, limit=LIMIT)
            await until(lambda: node.document.former == (), limit=LIMIT)
            new = ("127.0.1.9", 80)
            register, deregister = ("RegisterTargets", [new]), ("DeregisterTargets", [WEB1])
            assert aws.changes[1:] == [register, deregister], "the new one first"

    run(story)


def test_a_new_address_takes_the_place_of_the_old_one_unseen_too(tmp_path):
    async def story(aws, group):
        aws.denied.add("DescribeTargetHealth")
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await until(lambda: aws.count("RegisterTargets") == 1, limit=LIMIT)
        async with Node(aws, group, tmp_path, address="127.0.1.9", addresses={"web1": "127.0.1.9"}) as node:
            node.follow(READY)
            await until(lambda: aws.count("DeregisterTargets") == 1, limit=LIMIT)
            assert aws.changes[-1] == ("DeregisterTargets", [WEB1])

    run(story)


def test_of_two_groups_a_broken_one_leaves_the_other_alone(tmp_path):
    async def story(aws, group):
        admin = list(aws.groups.values())[1]
        del aws.groups[group.arn]
        async with Node(aws, group, tmp_path, health=False) as broken, Node(aws, admin, tmp_path) as node:
            broken.follow(READY)
            node.follow(READY)
            await node.sees("healthy")
            await until(lambda: broken.failures("config") >= 2, limit=LIMIT)
            assert node.failures("config") == 0
            assert len(aws.changes) == 1

    run(story, Group("web"), Group("admin"))


def test_credentials_that_appear_later_are_found(tmp_path, aws_environment):
    async def story(aws, group):
        aws_environment.delenv("AWS_ACCESS_KEY_ID")
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await until(lambda: node.failures("auth") >= 2, limit=LIMIT)
            aws_environment.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            await node.sees("healthy")

    run(story)


def test_without_the_sdk_only_this_target_fails_and_says_what_to_install(tmp_path, monkeypatch):
    async def story(aws, group):
        for name in [name for name in sys.modules if name.partition(".")[0] == "boto3"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "boto3", None)  # what Python does for a package that is not there
        async with Node(aws, group, tmp_path) as node:
            node.follow(READY)
            await until(lambda: node.failures("config") >= 1, limit=LIMIT)
            assert "pip install 'hcsidecar[aws]'" in node.document.error.text
            assert aws.calls == []

    run(story)


def test_many_nodes_share_a_bucket_of_calls(tmp_path):
    async def story(aws, group):
        async with contextlib.AsyncExitStack() as stack:
            addresses = {f"web{n}": f"127.0.1.{n}" for n in range(1, 7)}
            for name, address in addresses.items():
                state_dir = tmp_path / name
                state_dir.mkdir()
                node = Node(aws, group, state_dir, node=name, address=address, addresses=addresses, health=False)
                await stack.enter_async_context(node)
                node.follow(READY)
            await until(lambda: len(aws.states(group)) == len(addresses), limit=LIMIT)

    run(story, burst=2, rate=8)
