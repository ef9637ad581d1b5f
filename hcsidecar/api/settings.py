"""The part of the API about settings: revisions, candidates, proposals, and what the nodes say to each other of them.

GET  /api/v1/settings                            what this node goes by, and how its latest proposal goes on
GET  /api/v1/settings/differences                what the operator has edited and not applied
GET  /api/v1/settings/differences/NUMBER         what a revision has changed
GET  /api/v1/settings/revisions/DIGEST           the manifest of a revision
GET  /api/v1/settings/revisions/DIGEST/files/SHA the content of one of its files
POST /api/v1/settings/candidates                 make a candidate of the operator's files; only on the node itself
POST /api/v1/settings/proposals                  apply it; only on the node itself
POST /api/v1/settings/checks                     check a candidate here; only by another node
POST /api/v1/settings/messages                   a message of the agreement; only by another node
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

from hcsidecar.api.requests import ApiError, Reply, document, only, parse_body
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.settings.documents import (
    CandidateBody,
    CandidateReport,
    CheckBody,
    CheckOutcome,
    DifferencesReport,
    ProposalBody,
    SettingsReport,
)
from hcsidecar.core.settings.messages import AgreementMessage, decode_message
from hcsidecar.core.settings.revision import MAX_NUMBER

ON_THE_NODE_ITSELF = "settings are applied on a node itself, by somebody on its machine: the command reads files there"


class SettingsControl(Protocol):
    """The daemon, as this part of the API sees it."""

    async def report(self) -> SettingsReport:
        """Return what this node goes by."""

    async def make(self, body: CandidateBody, *, by: str) -> CandidateReport:
        """Make a candidate, and have it checked."""

    def propose(self, body: ProposalBody) -> CommandResult:
        """Propose the latest candidate."""

    async def check(self, body: CheckBody, *, source: str) -> CheckOutcome:
        """Check a candidate of another node."""

    def receive(self, message: AgreementMessage, *, sender: str) -> None:
        """Take in a message of another node."""

    async def differences(self, number: int | None) -> DifferencesReport:
        """Return what a revision has changed, or (None) what of the operator's files is not applied."""

    async def manifest(self, digest: str) -> bytes | None:
        """Return the manifest of a revision, None if it is not here."""

    async def file(self, digest: str, sha256: str) -> bytes | None:
        """Return the content of a file of a revision, None if it is not here."""


async def answer(
    control: SettingsControl,
    method: str,
    parts: Sequence[str],
    body: bytes,
    *,
    by: Callable[[str], str],
    sender: str | None,
) -> Reply | CommandResult:
    """Serve a request; `parts` is the path below /settings, `sender` the node that asks, None on the machine itself."""
    match parts:
        case []:
            only("GET", method)
            return document(await control.report())
        case ["differences"]:
            only("GET", method)
            return document(await control.differences(None))
        case ["differences", number]:
            only("GET", method)
            return document(await control.differences(_number(number)))
        case ["revisions", digest]:
            only("GET", method)
            return _content(await control.manifest(digest))
        case ["revisions", digest, "files", sha256]:
            only("GET", method)
            return _content(await control.file(digest, sha256))
        case ["candidates" | "proposals"] if sender is not None:
            raise ApiError(HTTPStatus.BAD_REQUEST, ON_THE_NODE_ITSELF)
        case ["checks" | "messages"] if sender is None:
            raise ApiError(HTTPStatus.BAD_REQUEST, "only the other nodes of the farm say this to a node")
        case ["candidates"]:
            only("POST", method)
            candidate = parse_body(body, CandidateBody)
            return document(await control.make(candidate, by=by("")))
        case ["proposals"]:
            only("POST", method)
            return control.propose(parse_body(body, ProposalBody))
        case ["checks"]:
            only("POST", method)
            return document(await control.check(parse_body(body, CheckBody), source=str(sender)))
        case ["messages"]:
            only("POST", method)
            message = decode_message(body)
            if message is None:
                raise ApiError(HTTPStatus.BAD_REQUEST, "the body is not a message of the agreement on settings")
            control.receive(message, sender=str(sender))
            return document(CommandResult(ok=True, text="taken in"))
    raise ApiError(HTTPStatus.NOT_FOUND, "the API has no such path")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_NUMBER))):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the number of a revision is a whole number")
    return int(text)


def _content(content: bytes | None) -> Reply:
    if content is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "this node does not have that revision, or that file of it")
    return Reply(status=HTTPStatus.OK, body=content)
