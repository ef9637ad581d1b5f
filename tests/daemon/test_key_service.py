"""Who is given the new key during a rotation: those whose certificate was recorded, and nobody by a message alone."""

import asyncio
import contextlib
import json
import shutil
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import web
from daemons_here import FarmHere
from waiting import on_a_loop, until

from hcsidecar.api.keys import KeysDoor, answer
from hcsidecar.api.requests import Reply
from hcsidecar.core.joining.certificates import CertificateReport
from hcsidecar.core.key_messages import KEYS_PATH, STEPS_PATH, KeyReport, RotateBody, StepAnswer, StepBody
from hcsidecar.core.key_rotation import RotationId, RotationStep
from hcsidecar.daemon.key_service import KeyService
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.loading import load
from hcsidecar.joining.authority import Authority, fingerprint
from hcsidecar.joining.node_tls import NodeTls, PeerCertificate

MINE, THEIRS, FORGED = ("1" * 64, "2" * 64, "3" * 64)


class OtherNode:
    """web2, as the relay of web1 reaches it; it does what it is told, and notes which steps these were."""

    def __init__(self, authority):
        self.authority, self.steps, self.given = authority, [], {}
        self.certificate = THEIRS
        self.service = None

    async def ask(self, name, method, path, body=b"", *, wait=0.0):
        assert name == "web2"
        if (method, path) == ("GET", f"{KEYS_PATH}/{MINE}"):
            report = KeyReport(
                node="web2",
                rotation=None,
                authority=fingerprint(self.authority.certificate).hex(),
                certificate=self.certificate,
                recorded={"web1": MINE},
            )
            return Reply(status=200, body=msgspec.json.encode(report))
        assert (method, path) == ("POST", STEPS_PATH)
        order = msgspec.json.decode(body, type=StepBody)
        if order.step not in self.steps:
            self.steps.append(order.step)
        if order.step is RotationStep.ADD:
            for shown in (THEIRS, FORGED):
                peer = PeerCertificate("web2", shown)
                self.given[shown] = self.service.material(order.rotation.token, peer)
            self.given["web9"] = self.service.material(order.rotation.token, PeerCertificate("web9", THEIRS))
            self.given["guessed"] = self.service.material("0" * 32, PeerCertificate("web2", THEIRS))
        return Reply(status=200, body=msgspec.json.encode(StepAnswer()))


class Bench:
    """The keys of web1 with its files on the disk."""

    def __init__(self, tmp_path):
        self.farm = FarmHere(tmp_path)
        loaded = load(self.farm.config)
        self.settings = SettingsInForce(loaded, loaded.farm.node_named("web1"))
        self.authority = Authority.create("apache")
        files = AuthorityFiles.beside(tmp_path / "farm.key")
        self.authority.write(files)
        report = CertificateReport(authority=self.authority.certificate.decode(), fingerprint=MINE)
        self.tls = SimpleNamespace(report=report, files=files, client=None, look_now=lambda: None)
        self.other, self.told, self.removed = OtherNode(self.authority), [], set()
        self.sessions_ended = False
        self.directory = tmp_path
        self.service = self.restarted()
        self.other.service = self.service

    def restarted(self):
        """Give the service as a daemon that starts has it."""
        return KeyService(
            directory=self.directory / "keys",
            settings=self.settings,
            tls=self.tls,
            relay=self.other,
            alive=lambda: ["web2"],
            known_to_removed=lambda: self.removed,
            reload=self.settings.loaded.keyring.reload,
            end_sessions=self.end_sessions,
            tell=lambda event: self.told.append(event.message),
        )

    async def end_sessions(self):
        self.sessions_ended = True

    @property
    def keyring(self):
        return self.settings.loaded.keyring

    async def rotate(self):
        new = Authority.create("apache")
        body = RotateBody(authority=new.certificate.decode(), authority_key=new.key.decode())
        return await self.service.rotate(body, by="root"), new


@on_a_loop
async def test_the_new_key_is_given_only_to_a_node_that_shows_its_recorded_certificate(tmp_path):
    bench = Bench(tmp_path)
    before = set(bench.keyring.ids)
    result, new = await bench.rotate()
    assert result.ok, result.text
    assert bench.other.steps == list(RotationStep)
    assert bench.other.given[THEIRS].secret == next(iter(bench.keyring.keys.values())).secret.hex()
    assert [bench.other.given[name] for name in (FORGED, "web9", "guessed")] == [None, None, None]
    assert any("did not give the new key to web2" in line for line in bench.told)
    assert set(bench.keyring.ids).isdisjoint(before)
    assert bench.tls.files.certificate.read_bytes() == new.certificate
    assert bench.tls.files.key.read_bytes() == new.key
    assert bench.tls.files.key.stat().st_mode & 0o777 == 0o600
    # When it is over nobody is given anything.
    assert bench.service.material(bench.other.given[THEIRS].rotation.token, PeerCertificate("web2", THEIRS)) is None


@on_a_loop
async def test_of_certificates_that_come_at_once_the_last_is_on_the_disk_and_the_file_is_whole(tmp_path):
    bench = Bench(tmp_path)
    certificates = [f"{number:064x}" for number in range(40)]
    await asyncio.gather(*(bench.service.note_certificate("web2", each) for each in certificates))
    assert json.loads((tmp_path / "keys" / "certificates.json").read_text()) == {"web2": certificates[-1]}
    assert bench.told == []


@on_a_loop
async def test_what_was_kept_before_a_restart_is_known_to_the_first_order_and_is_not_overwritten(tmp_path):
    bench = Bench(tmp_path)
    kept = {"rotation": [9, "web2", "a" * 32], "key": bench.keyring.active_id}
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "rotation.json").write_text(json.dumps(kept))
    (tmp_path / "keys" / "certificates.json").write_text(json.dumps({"web2": THEIRS}))
    for service in (bench.restarted(), bench.restarted()):
        order = StepBody(rotation=RotationId(7, "web2", "0" * 32), step=RotationStep.ADD)
        answers = await asyncio.gather(
            service.take_step(order, sender="web2"), service.note_certificate("web9", FORGED), service.load()
        )
        assert answers[0].problem == "takes part in a later rotation, which web2 has begun"
        assert service.report().rotation == RotationId(9, "web2", "a" * 32)
    assert json.loads((tmp_path / "keys" / "rotation.json").read_text()) == kept
    assert json.loads((tmp_path / "keys" / "certificates.json").read_text())["web2"] == THEIRS


@on_a_loop
async def test_a_certificate_is_not_believed_by_the_word_of_who_may_have_been_removed(tmp_path):
    bench = Bench(tmp_path)
    looking = asyncio.create_task(bench.service.run())
    await until(lambda: bench.service.report().recorded == {"web2": THEIRS}, limit=10, what="the certificate")
    looking.cancel()
    bench.removed, bench.other.certificate = set(bench.keyring.ids), FORGED
    await bench.service._ask("web2")
    assert bench.service.report().recorded == {"web2": THEIRS}
    bench.removed = set()
    await bench.service._ask("web2")
    assert bench.service.report().recorded == {"web2": FORGED}


@pytest.mark.parametrize("step", [RotationStep.USE, RotationStep.DROP, RotationStep.CERTIFY])
@on_a_loop
async def test_no_order_is_obeyed_without_the_proof_of_the_new_key(tmp_path, step):
    bench = Bench(tmp_path)
    before = bench.keyring.ids, bench.keyring.active_id
    rotation = RotationId(7, "web2", "0" * 32)
    answer = await bench.service.take_step(StepBody(rotation=rotation, step=step), sender="web2")
    assert answer.problem == "has not added the new key"
    answer = await bench.service.take_step(StepBody(rotation=rotation, step=RotationStep.ADD), sender="web2")
    assert answer.problem == "has not recorded the certificate of web2 yet, or has none of its own"
    assert (bench.keyring.ids, bench.keyring.active_id) == before


class Site:
    """Nodes with files, certificates and TLS listeners of their own, but no daemons: requests are handed over."""

    def __init__(self, directory, names=("web1", "web2", "web3")):
        self.names, self.services, self.tls, self.told = names, {}, {}, []
        self.orders, self.last_order, self.living = 0, None, []
        self.sessions_ended = False
        common = FarmHere(directory, names=names)
        Authority.create("apache").write(AuthorityFiles.beside(directory / "farm.key"))
        self.settings = {}
        for name in names:
            own = directory / "own" / name
            own.mkdir(parents=True)
            for file in ("farm.toml", "farm.key", "ca.pem", "ca.key"):
                shutil.copy2(common.directory / file, own)
            loaded = load(own / "farm.toml")
            self.settings[name] = settings = SettingsInForce(loaded, loaded.farm.node_named(name))
            self.tls[name] = NodeTls(
                key_file=own / "farm.key",
                state_dir=own / "state",
                identity=lambda me=settings.me: (me.name, tuple(me.addresses.values())),
                tell=lambda event: self.told.append(event.message),
            )
        self.start()

    def start(self):
        """Let each node have a service that knows what is on its disk, as after a power cut."""
        for name in self.names:
            loaded = self.settings[name].loaded
            self.tls[name].look_now()
            self.services[name] = KeyService(
                directory=loaded.working_copy.parent / "keys",
                settings=self.settings[name],
                tls=self.tls[name],
                relay=Way(self, name),
                alive=lambda me=name: [other for other in self.names if other != me],
                known_to_removed=set,
                reload=loaded.keyring.reload,
                end_sessions=self.end_sessions,
                tell=lambda event: self.told.append(event.message),
            )

    @contextlib.asynccontextmanager
    async def running(self):
        async with contextlib.AsyncExitStack() as stack:
            for name in self.names:
                await self.tls[name].look()
                door = KeysDoor()
                door.keys = self.services[name]
                app = web.Application()
                app.add_routes(door.routes())
                runner = web.AppRunner(app)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                where = self.settings[name].farm.api_address(self.settings[name].me)
                await web.TCPSite(runner, where.host, where.port, ssl_context=self.tls[name].server).start()
            for name in self.names:
                for other in self.names:
                    if other != name:
                        await self.services[name]._ask(other)
            yield self

    async def end_sessions(self):
        self.sessions_ended = True

    def cut(self, method, *, done):
        """End all services if the order that is under way is the last one before the power cut."""
        if method == "POST" and self.last_order is not None:
            self.orders += not done
            if (self.orders, done) == self.last_order:
                self.last_order = None
                for task in self.living:
                    task.cancel()

    def same(self):
        """Give whether all have the same one key and the same authority."""
        files = (("ca.pem", "ca.key"), self.settings.values())
        kept = [{(each.loaded.working_copy.parent / file).read_bytes() for each in files[1]} for file in files[0]]
        ids = {keyring.ids for keyring in self.keyrings()}
        return [len(each) for each in (*kept, ids, *ids)] == [1, 1, 1, 1]

    def keyrings(self):
        return [settings.loaded.keyring for settings in self.settings.values()]

    async def rotate(self, name):
        new = Authority.create("apache")
        body = RotateBody(authority=new.certificate.decode(), authority_key=new.key.decode())
        return await self.services[name].rotate(body, by="root"), new


class Way:
    """The relay of one node: requests come to the others at once, and each node opens what any other one seals."""

    def __init__(self, site, sender):
        self.site, self.sender = site, sender

    async def ask(self, name, method, path, body=b"", *, wait=0.0):
        self.site.cut(method, done=False)
        reply = await self._ask(name, method, path, body)
        self.site.cut(method, done=True)
        return reply

    async def _ask(self, name, method, path, body):
        keyrings = self.site.keyrings()
        assert all(one.active_id in other.ids for one in keyrings for other in keyrings)
        parts = path.removeprefix(f"{KEYS_PATH}").strip("/").split("/") if path != KEYS_PATH else []
        return await answer(self.site.services[name], method, parts, body, by="root", sender=self.sender)


@on_a_loop
async def test_all_nodes_change_their_keys_over_tls_again_and_again(tmp_path):
    site = Site(tmp_path)
    former = {key for keyring in site.keyrings() for key in keyring.ids}
    for coordinator in ("web2", "web3"):
        async with site.running():
            result, new = await site.rotate(coordinator)
        assert result.ok, result.text
        ((key,),) = {keyring.ids for keyring in site.keyrings()}
        assert key not in former
        former.add(key)
        assert {tls.files.certificate.read_bytes() for tls in site.tls.values()} == {new.certificate}


@on_a_loop
async def test_a_coordinator_that_shows_another_certificate_than_recorded_brings_no_key_in(tmp_path):
    site = Site(tmp_path, names=("web1", "web2"))
    async with site.running():
        service, before = site.services["web2"], site.keyrings()[1].ids
        service._recorded = {"web1": FORGED}
        rotation = RotationId(1, "web1", "0" * 32)
        answered = await service.take_step(StepBody(rotation=rotation, step=RotationStep.ADD), sender="web1")
        assert answered.problem == "does not believe web1: it shows another certificate than recorded"
        assert site.keyrings()[1].ids == before


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@on_a_loop
async def test_a_power_cut_at_any_order_of_a_rotation_is_mended_without_another_command(tmp_path, order, done):
    site = Site(tmp_path, names=("web1", "web2"))
    async with site.running():
        site.last_order = (order, done)
        new = Authority.create("apache")
        body = RotateBody(authority=new.certificate.decode(), authority_key=new.key.decode())
        rotating = asyncio.create_task(site.services["web1"]._rotate(body, by="root"))
        site.living.append(rotating)
        with contextlib.suppress(asyncio.CancelledError):
            await rotating
    if (order, done) == (4, True):
        # The power went between two files of the one that had given the order.
        shutil.copy2(tmp_path / "own" / "web2" / "ca.key", tmp_path / "own" / "web1")
    site.start()
    async with site.running():
        kept = site.services["web1"]._kept
        assert order == 1 or kept.unfinished
        tasks = [asyncio.create_task(each.run()) for each in (*site.services.values(), *site.tls.values())]
        if kept is not None:
            await until(site.same, limit=60, what=f"the same keys everywhere {site.told}")
            await until(lambda: not site.services["web1"]._kept.unfinished, limit=30, what="its end")
            assert site.sessions_ended
            assert (tmp_path / "own" / "web2" / "ca.pem").read_bytes() == new.certificate
        for task in tasks:
            task.cancel()
    site.start()
    async with site.running():
        result, _ = await site.rotate("web2")
    assert result.ok, result.text
    assert site.same()


@on_a_loop
async def test_a_node_that_was_killed_before_it_certified_takes_the_authority_that_the_others_have(tmp_path):
    site = Site(tmp_path, names=("web1", "web2"))
    async with site.running():
        former = (tmp_path / "own" / "web2" / "ca.pem").read_bytes()
        result, new = await site.rotate("web1")
        assert result.ok, result.text
    # As if web2 had been killed at its last step, between its two files.
    (tmp_path / "own" / "web2" / "ca.pem").write_bytes(former)
    site.start()
    assert not site.same()
    for service in site.services.values():
        await service.load()
    await site.tls["web1"].look()
    await site.tls["web2"].look()
    assert site.tls["web2"].report is None or site.tls["web2"].report.authority.encode() != new.certificate
    tasks = [asyncio.create_task(each.run()) for each in (*site.services.values(), *site.tls.values())]
    took = "took the new certificate authority as web1 has, whose order this node has missed"
    await until(lambda: took in site.told, limit=60, what=f"the authority {site.told}")
    assert site.same()
    for task in tasks:
        task.cancel()
    assert (tmp_path / "own" / "web2" / "ca.pem").read_bytes() == new.certificate
