"""Who is given the new key during a rotation: those whose certificate was recorded, and nobody by a message alone."""

import asyncio
from types import SimpleNamespace

import msgspec
import pytest
from daemons_here import FarmHere
from waiting import on_a_loop, until

from hcsidecar.api.requests import Reply
from hcsidecar.core.joining.certificates import CertificateReport
from hcsidecar.core.key_messages import KEYS_PATH, STEPS_PATH, KeyReport, RotateBody, StepAnswer, StepBody
from hcsidecar.core.key_rotation import RotationId, RotationStep
from hcsidecar.daemon.key_service import KeyService
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.loading import load
from hcsidecar.joining.authority import Authority, fingerprint
from hcsidecar.joining.node_tls import PeerCertificate

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
        self.service = KeyService(
            directory=tmp_path / "keys",
            settings=self.settings,
            tls=self.tls,
            relay=self.other,
            alive=lambda: ["web2"],
            known_to_removed=lambda: self.removed,
            reload=loaded.keyring.reload,
            tell=lambda event: self.told.append(event.message),
        )
        self.other.service = self.service

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
