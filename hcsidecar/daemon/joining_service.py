"""Lets new servers in by a token: implements `api.joining.Joining` with the tokens of this node and its settings."""

import asyncio
import secrets
import ssl
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from hcsidecar import __version__
from hcsidecar.api.farm import RefusedRequests
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.farm_file import FarmFile, HostPort, NodeTable
from hcsidecar.core.farmfile.tables import DEFAULT_NETWORK
from hcsidecar.core.joining.messages import (
    Greeting,
    Handout,
    JoinBody,
    JoinFile,
    JoinPlan,
    JoinTokenAnswer,
    JoinTokenBody,
    why_not_this_version,
)
from hcsidecar.core.joining.newcomer import why_not_this_node
from hcsidecar.core.joining.nonces import Nonces
from hcsidecar.core.joining.token import SECRET_BYTES, JoinToken, prove
from hcsidecar.core.joining.token_book import BookedToken, JoinRefusal, TokenBook, TooManyTokensError
from hcsidecar.core.membership.heartbeat import PROTOCOL_VERSION
from hcsidecar.core.metrics import JoiningFigures
from hcsidecar.core.plain_text import said_of
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.documents import CandidateReport, ProposalBody, ProposalReport
from hcsidecar.core.settings.revision import BundleError
from hcsidecar.daemon.candidates import Candidates
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.joining.node_tls import NodeTls
from hcsidecar.settings.bundle import Bundle

WEB_PORT: Final = 9010
"The port that a new server asks if it is told none."
CONFIRM: Final = 30.0
"Seconds within which all nodes must hear each other with the new node in the farm file."
FOLLOW: Final = 10.0
"Seconds for which nodes are waited for that take the settings late."
_POLL: Final = 0.05


class JoiningService:
    """The tokens that this node has made, and what becomes of those who come with them.

    `alive` returns the names of the nodes that are heard. `clock` is monotonic, `wall_clock` in seconds since 1970.
    """

    def __init__(
        self,
        *,
        settings: SettingsInForce,
        candidates: Candidates,
        tls: NodeTls,
        alive: Callable[[], Collection[str]],
        tell: Callable[[Event], object],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._candidates = candidates
        self._tls = tls
        self._alive = alive
        self._tell = tell
        self._clock, self._wall_clock = clock, wall_clock
        self._book = TokenBook()
        self._nonces = Nonces()
        self._refused = RefusedRequests()
        self._one_at_a_time = asyncio.Lock()

    @property
    def _farm(self) -> FarmFile:
        return self._settings.farm

    @property
    def _me(self) -> NodeTable:
        return self._settings.me

    def figures(self) -> JoiningFigures:
        """Return what the metrics tell of tokens."""
        refused = {fault.value: count for fault, count in self._book.refused.items()}
        return JoiningFigures(waiting=self._book.waiting(now=self._clock()), refused=refused)

    # -- tokens -------------------------------------------------------------------------------------------------

    def make_token(self, body: JoinTokenBody, *, by: str) -> JoinTokenAnswer:
        """Make a token, or say why not."""
        report = self._tls.report
        if report is None:
            return JoinTokenAnswer(problem=self._tls.why_none(self._me.name))
        if body.node in self._alive() or body.node == self._me.name:
            return JoinTokenAnswer(problem=f"{body.node} is alive: a token is for a server that is to be added")
        fingerprint = sha256(ssl.PEM_cert_to_DER_cert(report.authority)).digest()
        expires = int(self._wall_clock() + body.valid)
        token = JoinToken(fingerprint=fingerprint, secret=secrets.token_bytes(SECRET_BYTES), expires=expires)
        now = self._clock()
        booked = BookedToken(
            id=token.id, key=token.key, node=body.node, address=body.address, expires=now + body.valid, by=by
        )
        try:
            self._book.add(booked, now=now)
        except TooManyTokensError as error:
            return JoinTokenAnswer(problem=str(error))
        good = [f"for {body.valid / 60:.0f} min" if body.valid >= 60 else f"for {body.valid:.0f} s"]  # noqa: PLR2004
        good += [f"for the name {body.node}"] if body.node else []
        good += [f"for the address {body.address}"] if body.address else []
        made = f"a token for a new server was made by {by}: good once, {', '.join(good)}"
        self._tell(Event(level=Level.INFO, origin="joining", message=made))
        where = self._farm.api_address(self._me)
        return JoinTokenAnswer(token=token.encode(), host=_shown(where))

    # -- requests of new servers ---------------------------------------------------------------------------------

    def greet(self) -> Greeting | None:
        """Return who answers; None in a farm without an authority."""
        report = self._tls.report
        if report is None:
            return None
        nonce = self._nonces.give(secrets.token_hex(16), now=self._clock())
        return Greeting(authority=report.authority, nonce=nonce, version=__version__, protocol=PROTOCOL_VERSION)

    def admit(self, body: JoinBody, *, proof: str, path: str, content: bytes, source: str) -> BookedToken | JoinRefusal:
        """Return the token of a request, or why it is not served."""
        now, report = self._clock(), self._tls.report
        if report is None or not self._nonces.take(body.nonce, now=now):
            return JoinRefusal(reason="this request came too late: run the command again")

        def expected(key: bytes) -> str:
            return prove(key, nonce=body.nonce, server=report.fingerprint, path=path, body=content)

        found = self._book.admit(body.token, proof, expected=expected, source=source, now=now)
        if isinstance(found, BookedToken):
            why = why_not_this_version(
                theirs=body.version, their_protocol=body.protocol, ours=__version__, who=body.node, we=self._me.name
            )
            why = why or found.why_not_for(body.node, tuple(body.addresses.values()))
            if why is None:
                return found
            found = JoinRefusal(reason=why)
        self._tell_refused(found, body.node, source, now)
        return found

    def _tell_refused(self, refusal: JoinRefusal, node: str, source: str, now: float) -> None:
        who = "somebody" if refusal.wrong else node
        event = self._refused.note(f"{who} may not join: {refusal.reason}", remote=source, now=now)
        if event is not None:
            self._tell(event)

    async def plan(self, body: JoinBody, token: BookedToken) -> JoinPlan:
        """Return what adding a node does; changes nothing."""
        async with self._one_at_a_time:
            return await self._plan(body, token)

    async def _plan(self, body: JoinBody, token: BookedToken) -> JoinPlan:
        farm, me = self._farm, self._me
        key_file = farm.farm.key_file
        empty = JoinPlan(farm=farm.farm.name, issuer=me.name, key_file=key_file)
        addresses = self._addresses(body)
        there = next((node for node in farm.node if node.name == body.node), None)
        named = body.node in (token.node, token.taken_by)
        nodes = {node.name: tuple(node.addresses.values()) for node in farm.node}
        alive = {*self._alive(), me.name}
        why = why_not_this_node(nodes, body.node, tuple(addresses.values()), alive=alive, named=named)
        if why:
            return replace(empty, problems=why)
        try:
            if there is not None:
                lines: tuple[str, ...] = (f"{body.node} is in the farm file already: nothing is applied",)
                return replace(empty, lines=lines, files=_files(await self._candidates.bundle_in_force()))
            report = await self._candidates.make_with_node(
                body.node, addresses, message=f"{body.node} joins", without=body.without, by=token.by
            )
            if report.revision is None or not report.is_right:
                return replace(empty, problems=_problems(report))
            bundle = await self._candidates.bundle(report.revision)
        except BundleError as error:
            return replace(empty, problems=error.problems)
        lines = tuple(report.plan.lines()) if report.plan is not None else ()
        unapplied = (await self._candidates.report()).unapplied
        if unapplied:
            lines += (f"mind, on {me.name}: {unapplied}; the edited file will be kept there as NAME.unapplied",)
        return replace(empty, lines=lines, files=_files(bundle), digest=report.revision.digest)

    async def apply(self, body: JoinBody, token: BookedToken) -> Handout:
        """Add the node, if it is not there, and return what it needs."""
        async with self._one_at_a_time:
            now_there = any(node.name == body.node for node in self._farm.node)
            if not now_there:
                reasons = await self._added(body, token)
                if reasons:
                    return Handout(reasons=reasons)
            elif body.node not in (token.node, token.taken_by):
                return Handout(reasons=(f"the farm has a node {body.node} already",))
            else:
                token.taken_by = body.node
            try:
                return await self._delivery(body.node)
            except (OSError, BundleError) as error:
                return Handout(reasons=(f"{self._me.name} cannot read what {body.node} needs: {error}",))

    async def _added(self, body: JoinBody, token: BookedToken) -> tuple[str, ...]:
        """Let the farm agree on a candidate with the new node. Return why it has not, all reasons."""
        answer = self._candidates.propose(ProposalBody(digest=body.digest, confirm=CONFIRM))
        if not answer.ok:
            return (answer.text,)
        token.taken_by = body.node
        end = self._clock() + CONFIRM + FOLLOW
        while (proposal := (await self._candidates.report()).proposal) is not None and self._clock() < end:
            if proposal.progress in (ProposalProgress.ABORTED, ProposalProgress.UNDONE):
                token.taken_by = None
                return _refusals(proposal)
            if proposal.progress is ProposalProgress.SETTLED and not proposal.waits_for:
                break
            await asyncio.sleep(_POLL)
        if any(node.name == body.node for node in self._farm.node):
            made = f"{body.node} ({', '.join(body.addresses.values())}) has been added by a token of {token.by}"
            self._tell(Event(level=Level.INFO, origin="joining", message=made))
            return ()
        return ("the farm has not agreed in time; hcsidecar history there shows what is in force",)

    async def _delivery(self, node: str) -> Handout:
        loaded, files = self._settings.loaded, self._tls.files
        bundle = await self._candidates.bundle_in_force()

        def read() -> tuple[bytes, bytes, bytes]:
            return _content(loaded.key_file), _content(files.certificate), _content(files.key)

        key_file, certificate, authority_key = await asyncio.to_thread(read)
        return Handout(
            text=f"{node} is a node of farm {self._farm.farm.name}",
            files=_files(bundle),
            key_file=key_file,
            certificate=certificate,
            authority_key=authority_key,
        )

    def done(self, body: JoinBody, token: BookedToken) -> None:
        """Note that the new server has everything."""
        if token.taken_by == body.node:
            token.used = True
            told = f"{body.node} has the settings and keys of the farm, and the token is used"
            self._tell(Event(level=Level.INFO, origin="joining", message=told))

    def _addresses(self, body: JoinBody) -> Mapping[str, str]:
        """Return the address of the new node on each network; an address without a network is that of the only one."""
        networks = list(self._me.addresses)
        if len(networks) == 1 and list(body.addresses) == [DEFAULT_NETWORK]:
            return {networks[0]: body.addresses[DEFAULT_NETWORK]}
        return dict(body.addresses)


def _problems(report: CandidateReport) -> tuple[str, ...]:
    """Return everything that stands against a candidate, one sentence each."""
    refusals = report.plan.refusals if report.plan is not None else ()
    checks = [said_of(check.node, problem) for check in report.checks for problem in check.problems]
    return (*report.problems, *refusals, *checks) or ("nothing would change",)


def _refusals(proposal: ProposalReport) -> tuple[str, ...]:
    told = [said_of(node, reason) for node, reasons in proposal.refusals.items() for reason in reasons]
    return tuple(told) or (proposal.outcome,)


def _files(bundle: Bundle) -> tuple[JoinFile, ...]:
    return tuple(
        JoinFile(name=name, content=content, executable=name in bundle.executable)
        for name, content in bundle.contents.items()
    )


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(65_536)


def _shown(where: HostPort) -> str:
    return where.host if where.port == WEB_PORT else str(where)
