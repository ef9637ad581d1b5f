"""Users and tokens on several nodes: a change is everywhere at once, and a node that was away has it later."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from api_nodes import ask, running
from waiting import until

from hcsidecar.access.store import AccessStore
from hcsidecar.core.access.credentials import new_session, read_session
from hcsidecar.core.access.record import AccessRecord, encode_record
from hcsidecar.daemon.access_service import AccessService
from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealed_messages import MessageSealer

HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43
ALICE = {"name": "alice", "role": "admin", "password": HASH}
NAMES = ("web1", "web2", "web3")


class Farm:
    """Nodes whose API is real, with a service each; `apart` names those that nobody hears."""

    def __init__(self, nodes, directory):
        self.nodes = nodes
        self.directory = directory
        self.apart = set()
        self.services = {}
        self.told = {name: [] for name in nodes}
        self.keyring = Keyring.create(directory / "farm.key", now=datetime.now(UTC))

    def alive(self, name):
        return [] if name in self.apart else [other for other in self.nodes if other not in {name, *self.apart}]

    async def open(self, name):
        service = AccessService(
            node=name,
            store=AccessStore(self.directory / name),
            sealer=MessageSealer(lambda: self.keyring, farm="apache", purpose="access"),
            relay=self.nodes[name].relay,
            nodes=lambda: list(self.nodes),
            alive=lambda: self.alive(name),
            lost=lambda loss: self.told[name].append(f"lost: {loss}"),
            tell=lambda event: self.told[name].append(f"{event.level}: {event.message}"),
        )
        await service.open()
        self.services[name] = self.nodes[name].control.access = service
        return service

    async def post(self, name, path, body=None):
        return await ask(self.nodes[name], "POST", f"/api/v1/access/{path}", json.dumps(body or {}))

    async def until_equal(self):
        """Wait until all nodes have the same record, in memory and on disk."""
        await until(lambda: len({service.record.digest for service in self.services.values()}) == 1, limit=20)
        await until(lambda: all(on_disk(self, name) == each.record for name, each in self.services.items()), limit=20)


@asynccontextmanager
async def farm_of(directory, *names):
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(running(list(names or NAMES), directory))
        farm = Farm(nodes, directory)
        for name in nodes:
            await farm.open(name)
        yield farm


@asynccontextmanager
async def comparing(farm):
    """Let all nodes compare their records."""
    async with asyncio.TaskGroup() as tasks:
        runs = [tasks.create_task(service.run()) for service in farm.services.values()]
        yield
        for run in runs:
            run.cancel()


def users(service):
    return {name: user.role.value for name, user in service.record.present_users.items()}


def on_disk(farm, name):
    return AccessStore(farm.directory / name).load()


def test_a_change_is_on_every_node_and_on_its_disk_when_the_command_is_answered_and_told_everywhere(tmp_path):
    async def story():
        async with farm_of(tmp_path) as farm:
            status, answer = await farm.post("web1", "users", ALICE)
            assert (status, answer) == (200, {"ok": True, "text": "added user alice (admin)", "lacking": []})
            for name in NAMES:
                assert users(farm.services[name]) == {"alice": "admin"}
                assert on_disk(farm, name) == farm.services["web1"].record
            (line,) = farm.told["web1"]
            assert line.startswith("info: added user alice (admin): by ")
            assert farm.told["web2"] == ["info: user alice (admin) was added on web1"]

    asyncio.run(story())


def test_a_node_that_was_away_is_named_and_takes_the_change_once_it_is_heard_and_gives_its_own(tmp_path):
    async def story():
        async with farm_of(tmp_path) as farm:
            await farm.post("web1", "users", ALICE)
            await farm.post("web1", "users", ALICE | {"name": "bob"})
            farm.apart = {"web3"}
            _, answer = await farm.post("web1", "users/alice/remove")
            assert answer["lacking"] == ["web3"]
            await farm.post("web3", "users/alice/password", {"password": HASH[:-1] + "i"})
            await farm.post(
                "web3",
                "tokens",
                {"id": "a" * 16, "name": "ci", "role": "monitor", "secret_sha256": "0" * 64, "expires_at": None},
            )
            farm.apart = set()
            async with comparing(farm):
                await farm.until_equal()
            for service in farm.services.values():
                assert users(service) == {"bob": "admin"}
                assert [token.name for token in service.record.present_tokens.values()] == ["ci"]
            assert "info: user alice was removed on web1" in farm.told["web3"]
            assert "info: API token ci (monitor) was added on web3" in farm.told["web1"]

    asyncio.run(story())


def test_a_damaged_file_lets_nobody_in_is_told_and_replaced_by_the_record_of_the_others(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            await farm.post("web1", "users", ALICE)
            path = farm.services["web2"]._store.path
            path.write_bytes(path.read_bytes()[:-20])
            again = await farm.open("web2")
            assert users(again) == {}
            (line,) = [line for line in farm.told["web2"] if line.startswith("error")]
            assert "access.json is damaged: " in line
            assert "nobody can sign in until another node is heard" in line
            async with comparing(farm):
                await farm.until_equal()
            assert users(again) == {"alice": "admin"}

    asyncio.run(story())


def test_a_change_counts_although_the_disk_refuses_it_and_is_written_later(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            await farm.post("web1", "users", ALICE)
            await farm.post("web1", "users", ALICE | {"name": "bob"})
            path = farm.services["web1"]._store.path
            path.unlink()
            path.mkdir()
            (path / "in the way").touch()
            _, answer = await farm.post("web1", "users/alice/remove")
            assert answer["ok"]
            assert "not on the disk of web1 yet: cannot be written" in answer["text"]
            assert users(farm.services["web2"]) == {"bob": "admin"}
            assert any("users and tokens count as changed, tried again" in line for line in farm.told["web1"])
            (path / "in the way").unlink()
            path.rmdir()
            async with comparing(farm):
                await until(path.exists, limit=20)
            assert on_disk(farm, "web1") == farm.services["web1"].record
            assert farm.told["web1"][-1] == f"info: {path} is written again"

    asyncio.run(story())


def test_a_file_that_somebody_removes_is_written_again_and_told(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1") as farm:
            await farm.post("web1", "users", ALICE)
            path = farm.services["web1"]._store.path
            path.unlink()
            async with comparing(farm):
                await until(path.exists, limit=20)
            assert on_disk(farm, "web1") == farm.services["web1"].record
            assert "lost: access.json was removed (written again)" in farm.told["web1"]

    asyncio.run(story())


def test_a_session_begun_on_one_node_is_one_on_all_and_ends_on_all_when_its_user_is_removed(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            await farm.post("web1", "users", ALICE)
            async with comparing(farm):
                _, told = await ask(farm.nodes["web1"], "GET", "/api/v1/access/verification")
                record = msgspec.convert(told["record"], AccessRecord)
                at = max(key.made_at for key in record.session_keys.values())
                session = new_session(record, "alice", now=at)
                await farm.until_equal()
                _, same = await ask(farm.nodes["web1"], "GET", f"/api/v1/access/verification?known={told['digest']}")
                assert same == {"digest": told["digest"], "record": None}
                assert read_session(farm.services["web2"].record, session, now=at).identity.name == "alice"
                await farm.post("web2", "users/alice/remove", {"force": True})
                assert "no user alice" in read_session(farm.services["web1"].record, session, now=at).reason

    asyncio.run(story())


def test_the_end_of_all_sessions_reaches_every_node(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            assert (await farm.post("web1", "sessions/end"))[1]["text"] == "ended the sessions of all users"
            assert "info: the sessions of all users were ended" in farm.told["web2"]
            assert farm.services["web1"].record == farm.services["web2"].record

    asyncio.run(story())


def test_the_use_of_a_token_is_noted_and_comes_to_the_other_nodes(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            token = {"id": "a" * 16, "name": "ci", "role": "monitor", "secret_sha256": "0" * 64, "expires_at": None}
            await farm.post("web1", "tokens", token)
            assert (await farm.post("web1", "uses", {"used": {"a" * 16: 1_790_000_000}}))[0] == 200
            async with comparing(farm):
                await farm.until_equal()
            assert farm.services["web2"].report().tokens[0].last_used_at == 1_790_000_000

    asyncio.run(story())


@pytest.mark.parametrize(
    ("verb", "body", "status", "reason"),
    [
        ("POST users", {"name": "Alice", "role": "admin", "password": HASH}, 400, "the body is not right"),
        ("POST users", {"name": "alice", "role": "king", "password": HASH}, 400, "the body is not right"),
        ("POST users", {"name": "alice", "role": "admin", "password": "secret"}, 400, "the body is not right"),
        ("POST users/alice", {}, 404, "no such path"),
        ("POST users/alice/password/x", {}, 404, "no such path"),
        ("GET users", None, 405, "this path takes POST"),
        ("POST digest", {}, 405, "this path takes GET"),
        ("POST users/" + "a" * 65 + "/remove", {}, 400, "has such a name"),
        ("GET record", None, 400, "only the other nodes"),
        ("POST record", {}, 400, "only the other nodes"),
        ("GET verification?all=1", None, 400, "unknown parameter"),
        ("POST users/alice/remove", {}, 409, "there is no user alice"),
        ("POST tokens/ci/revoke", {"by": 7}, 400, "the body is not right"),
    ],
)
def test_what_is_not_right_is_refused_with_a_reason(tmp_path, verb, body, status, reason):
    async def story():
        async with farm_of(tmp_path, "web1") as farm:
            method, path = verb.split()
            content = None if body is None else json.dumps(body)
            found, answer = await ask(farm.nodes["web1"], method, f"/api/v1/access/{path}", content)
            assert found == status
            assert reason in (answer.get("reason") or answer["text"])
            assert users(farm.services["web1"]) == {}

    asyncio.run(story())


@pytest.mark.parametrize("path", ["verification", "users", "tokens/ci/revoke", "record", "digest"])
def test_users_are_changed_on_the_node_that_is_asked_and_not_by_way_of_it(tmp_path, path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            method = "GET" if path in ("verification", "digest", "record") else "POST"
            status, answer = await ask(farm.nodes["web1"], method, f"/api/v1/nodes/web2/access/{path}", b"{}")
            assert status == 400
            assert answer["reason"].startswith("users and API tokens are the same on every node")
            assert (await ask(farm.nodes["web1"], "GET", "/api/v1/nodes/web2/access"))[1]["node"] == "web2"

    asyncio.run(story())


def test_what_another_node_sends_that_is_not_right_is_refused_and_changes_nothing(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            relay, sealer = farm.nodes["web2"].relay, farm.services["web2"]._sealer
            record = encode_record(AccessRecord(sessions_from=7))
            for body in (b"", b"{}", record, sealer.seal(b"{}x"), sealer.seal(record)[:-1]):
                assert (await relay.ask("web1", "POST", "/api/v1/access/record", body)).status == 400
            assert farm.services["web1"].record == AccessRecord()
            (line,) = farm.told["web1"]
            assert line.startswith("error: web2 has sent a record of users and tokens that is not right: ")
            for path in ("users", "verification", "uses", "sessions/end"):
                assert (await relay.ask("web1", "POST", f"/api/v1/access/{path}", b"{}")).status == 400

    asyncio.run(story())


def test_no_hash_and_no_key_is_in_clear_in_what_goes_to_other_nodes(tmp_path):
    async def story():
        async with farm_of(tmp_path, "web1", "web2") as farm:
            await farm.post("web1", "users", ALICE)
            reply = await farm.nodes["web2"].relay.ask("web1", "GET", "/api/v1/access/record")
            assert reply.status == 200
            for word in (b"alice", b"argon2id", b"users"):
                assert word not in reply.body

    asyncio.run(story())
