"""Heartbeats on real sockets of this machine: several nodes in one loop."""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count

import pytest
from small_farm import FakeShare
from waiting import until

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.net.datagrams import HeartbeatSocketError
from hcsidecar.net.heartbeats import Heartbeats
from hcsidecar.net.keyring import Keyring

ADDRESSES = {"web1": "127.77.1.1", "web2": "127.77.1.2", "web3": "127.77.1.3"}


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.77.1.1", 0))
        return probe.getsockname()[1]


UNHURRIED = {"pulse": "20ms", "lost_after": "2s"}
"For tests in which nobody may be taken for dead: the one process of all nodes may stand still on a busy machine."


def farm_file(port, *, timing=None, **nodes):
    return FarmFile.model_validate(
        {
            "farm": {"name": "apache"},
            "heartbeat": {"port": port, **(timing or {"preset": "fast"})},
            "node": [{"name": name, **(nodes.get(name) or {"address": ADDRESSES[name]})} for name in ADDRESSES],
        }
    )


@pytest.fixture
def keyring(tmp_path):
    return Keyring.create(tmp_path / "farm.key", now=datetime(2026, 1, 1, tzinfo=UTC))


def make(farm, name, keyring, story, boots=None):
    boots = boots or count(1)
    return Heartbeats(
        farm=farm,
        me=farm.node_named(name),
        keyring=keyring,
        share=FakeShare(),
        powers=(1,),
        next_boot=lambda above: next(boots),
        known={},
        remember=lambda peers: None,
        tell=lambda event: story.append((name, event.message)),
    )


@asynccontextmanager
async def running(farm, keyring, *names):
    story = []
    parts = {name: make(farm, name, keyring, story) for name in names}
    try:
        for part in parts.values():
            await part.open()
            part.say_application(role="UP", status="Ready", draining=False, reason="", wants=True)
        yield parts, story
    finally:
        for part in parts.values():
            part.close()


def views(parts):
    return [[name for name, _ in part.node.membership.view] for part in parts.values()]


def agreed(parts):
    return all(view == sorted(parts) for view in views(parts)) and all(
        part.node.membership.claimed for part in parts.values()
    )


def test_nodes_on_real_sockets_agree_on_a_view_and_claim_it(keyring):
    async def story():
        async with running(farm_file(free_port()), keyring, *ADDRESSES) as (parts, _):
            await until(lambda: agreed(parts))
            assert all(part.node.share.holding for part in parts.values())

    asyncio.run(story())


def test_a_leaver_is_gone_at_once(keyring):
    async def story():
        async with running(farm_file(free_port(), timing=UNHURRIED), keyring, *ADDRESSES) as (parts, told):
            await until(lambda: agreed(parts))
            leaver = parts.pop("web3")
            await leaver.leave()
            leaver.close()
            await until(lambda: agreed(parts))
            assert ("web1", "web3 has left") in told
            assert not any("dead" in message for _, message in told)

    asyncio.run(story())


def test_a_changed_power_counts_for_all_and_outlives_a_new_boot(keyring):
    async def story():
        async with running(farm_file(free_port()), keyring, *ADDRESSES) as (parts, _):
            await until(lambda: agreed(parts))
            changed = parts["web2"]
            changed.say_powers((7,))
            await until(lambda: all(dict(part.node.membership.view)["web2"] == (7,) for part in parts.values()))
            assert changed._be_born().membership.powers == (7,)

    asyncio.run(story())


def test_a_silent_node_dies_and_the_others_take_over(keyring):
    async def story():
        async with running(farm_file(free_port()), keyring, *ADDRESSES) as (parts, told):
            await until(lambda: agreed(parts))
            parts.pop("web3").close()
            await until(lambda: agreed(parts))
            assert any(message.startswith("web3 is dead: silent for 0.2") for _, message in told)

    asyncio.run(story())


def test_garbage_and_strangers_are_counted_and_change_nothing(keyring, tmp_path):
    async def story():
        farm = farm_file(free_port())
        stranger = Keyring.create(tmp_path / "other.key", now=datetime(2026, 1, 1, tzinfo=UTC))
        async with running(farm, keyring, "web1", "web2") as (parts, _):
            await until(lambda: agreed(parts))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
                for datagram in (b"", b"x", b"HCS" + bytes(60), bytes(range(256)) * 20):
                    attacker.sendto(datagram, ("127.77.1.1", farm.heartbeat.port))
            async with running(farm, stranger, "web3") as (strangers, _):
                await until(lambda: parts["web1"].refused.get("unknown key", 0) > 3)
                await until(lambda: agreed(strangers))
            assert agreed(parts)
            assert parts["web1"].refused["too short"] == 2
            assert parts["web1"].node.membership.peers.alive() == [parts["web1"].node.membership.peers.by_name["web2"]]

    asyncio.run(story())


def test_recorded_heartbeats_of_the_dead_take_nothing_from_the_living(keyring):
    """The one living server gave the virtual IP to a dead one as long as somebody played its recorded heartbeats."""

    async def story():
        farm = farm_file(free_port())
        own = (str(ADDRESSES["web1"]), farm.heartbeat.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
            somebody.bind(own)
            async with running(farm, keyring, "web2", "web3") as (parts, _):
                await until(lambda: agreed(parts))
            somebody.settimeout(0)
            recorded = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    recorded.append(somebody.recv(65536))
        assert len(recorded) > 20
        async with running(farm, keyring, "web1") as (parts, told):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
                for datagram in recorded[-60:]:
                    somebody.sendto(datagram, own)
                    await asyncio.sleep(0.03)
                    if ("web1", "web2 is heard") in told or ("web1", "web3 is heard") in told:
                        break
                assert views(parts) == [["web1"]]
                assert parts["web1"].node.membership.claimed
                assert parts["web1"].node.membership.peers.alive() != []

    asyncio.run(story())


def test_a_node_whose_boot_number_went_back_finds_its_place_again(keyring):
    """It was refused in silence, for ever: its state was lost while its clock was behind."""

    async def story():
        farm = farm_file(free_port())
        async with running(farm, keyring, "web1") as (parts, told):
            first = parts["web2"] = make(farm, "web2", keyring, told, boots=count(100))
            await first.open()
            first.say_application(role="UP", status="Ready", draining=False, reason="", wants=True)
            await until(lambda: agreed(parts))
            parts.pop("web2").close()
            parts["web2"] = make(farm, "web2", keyring, told, boots=iter([3, 101]))
            await parts["web2"].open()
            parts["web2"].say_application(role="UP", status="Ready", draining=False, reason="", wants=True)
            await until(lambda: agreed(parts))
            assert parts["web2"].node.membership.boot == 101
            assert any("web2 went back to boot 3, after its boot 100 was heard" in message for _, message in told)

    asyncio.run(story())


def test_keys_are_rotated_without_a_lost_heartbeat(keyring):
    async def story():
        keyring.write(replace=False)
        other = Keyring.load(keyring.path)
        farm = farm_file(free_port(), timing=UNHURRIED)
        async with running(farm, keyring, "web1") as (first, told), running(farm, other, "web2") as (second, _):
            parts = first | second
            await until(lambda: agreed(parts))
            both, new = keyring.with_new_key(now=datetime(2026, 1, 2, tzinfo=UTC))
            for step in (both, both.using(new.id), both.using(new.id).without(keyring.active_id)):
                step.write(replace=True)
                for part in parts.values():
                    part._keyring.reload()
                    part.follow_keys()
                    heard = part.node.membership.peers.alive()[0].seq
                    await until(lambda part=part, heard=heard: part.node.membership.peers.alive()[0].seq > heard + 2)
            assert agreed(parts)
            assert not any("dead" in message for _, message in told)
            assert not any(parts["web1"].refused.values())

    asyncio.run(story())


def test_a_node_heard_on_any_network_is_alive(keyring):
    async def story():
        two = {
            name: {"addresses": {"default": address, "backup": address.replace("127.77.1", "127.77.2")}}
            for name, address in ADDRESSES.items()
        }
        async with running(farm_file(free_port(), timing=UNHURRIED, **two), keyring, "web1", "web2") as (parts, told):
            await until(lambda: agreed(parts))
            for part in parts.values():
                part._datagrams._sockets["default"].close()
            heard = parts["web1"].node.membership.peers.by_name["web2"].seq
            await until(lambda: parts["web1"].node.membership.peers.by_name["web2"].seq > heard + 20)
            assert not any("dead" in message for _, message in told)

    asyncio.run(story())


def test_after_a_reincarnation_the_node_comes_back_with_a_higher_boot(keyring):
    async def story():
        async with running(farm_file(free_port(), timing=UNHURRIED), keyring, "web1", "web2") as (parts, told):
            await until(lambda: agreed(parts))
            machine = parts["web1"].node.membership
            machine._expected = machine._woken_at = machine._expected - 3.0  # as if the timer had come 3 s late
            await until(lambda: parts["web1"].node.membership is not machine)
            await until(lambda: agreed(parts), limit=20)
            assert parts["web1"].node.membership.boot == 2
            assert ("web2", "web1 has started anew") in told

    asyncio.run(story())


def test_a_taken_port_is_a_clear_error(keyring):
    async def story():
        farm = farm_file(free_port())
        async with running(farm, keyring, "web1"):
            with pytest.raises(
                HeartbeatSocketError, match=rf"UDP 127\.77\.1\.1 port {farm.heartbeat.port}: another process"
            ):
                await make(farm, "web1", keyring, []).open()

    asyncio.run(story())


def test_a_bug_in_the_heartbeat_path_ends_the_daemon_instead_of_being_logged(keyring):
    class Broken(FakeShare):
        def renew(self, until):
            raise ZeroDivisionError

    async def story():
        async with running(farm_file(free_port()), keyring, "web1") as (parts, _):
            parts["web1"].node.share = Broken()
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(parts["web1"].run(), timeout=5)

    asyncio.run(story())
