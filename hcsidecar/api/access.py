"""The part of the API about users and API tokens, which are the same on every node of the farm.

GET  /api/v1/access                      users and tokens, without what verifies them
POST /api/v1/access/users                add a user: {"name", "role", "password": an argon2id hash}
POST /api/v1/access/users/NAME/password  another password: {"password": an argon2id hash}
POST /api/v1/access/users/NAME/role      another role: {"role", "force"}
POST /api/v1/access/users/NAME/remove    remove a user: {"force"}
POST /api/v1/access/tokens               add a token: {"id", "name", "role", "secret_sha256", "expires_at"}
POST /api/v1/access/tokens/NAME/revoke   revoke a token, by name or id
POST /api/v1/access/sessions/end         end the sessions of all users
GET  /api/v1/access/verification         what verifies passwords, sessions and tokens: ?known=DIGEST; for the console
POST /api/v1/access/links                make a link that signs a user in once: {"user"}; by commands on the node itself
POST /api/v1/access/links/use            whom a link signs in, which is used up: {"secret", "address"}; by the console
POST /api/v1/access/uses                 when tokens were last used; by the console
GET  /api/v1/access/digest               the digest of the record; for other nodes
GET  /api/v1/access/record               the record, sealed; for other nodes
POST /api/v1/access/record               a change, sealed; by another node

What changes users and tokens, and what verifies them, is served on the node itself only: it would go over the network
in clear.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from hcsidecar.api.requests import LONGEST_NAME, ApiError, Reply, document, no_others, only, parse_body
from hcsidecar.core.access.documents import (
    AccessChangeBody,
    AccessReport,
    AccessResult,
    EndSessionsBody,
    LinkAnswer,
    LinkBody,
    LinkUser,
    PasswordBody,
    RecordState,
    RedeemBody,
    RemoveBody,
    RevokeBody,
    RoleBody,
    TokenBody,
    UserBody,
    UsesBody,
    Verification,
)

ON_THIS_NODE = "users and API tokens are the same on every node, and are changed on the node that is asked"
_BETWEEN_NODES = "only the other nodes of the farm say this to a node"


class AccessControl(Protocol):
    """The daemon, as this part of the API sees it."""

    def report(self) -> AccessReport:
        """Return users and tokens, without what verifies them."""

    def verification(self, known: str) -> Verification:
        """Return what verifies passwords, sessions and tokens, unless the caller has it with this digest."""

    async def change(self, body: AccessChangeBody, *, name: str, by: str) -> AccessResult:
        """Change users or tokens; return when the other nodes have it, or have not answered.

        `name` is the user or the token that is meant; empty if the body says it.
        """

    def note_uses(self, body: UsesBody) -> None:
        """Note when tokens were last used."""

    def make_link(self, body: LinkBody, *, by: str) -> LinkAnswer:
        """Make a link that signs a user in once."""

    def use_link(self, body: RedeemBody) -> LinkUser:
        """Return whom a link signs in; it is used up then."""

    def state(self) -> RecordState:
        """Return the digest of the record."""

    def sealed(self) -> bytes:
        """Return the record for another node."""

    async def take(self, sealed: bytes, *, sender: str) -> RecordState | None:
        """Take in what another node has sealed; None if it is not right."""


async def answer(
    control: AccessControl,
    method: str,
    parts: Sequence[str],
    query: Mapping[str, str],
    body: bytes,
    *,
    by: Callable[[str], str],
    sender: str | None,
) -> Reply | AccessResult:
    """Serve a request; `parts` is the path below /access, `sender` the node that asks, None on the machine itself."""
    match parts:
        case []:
            only("GET", method)
            return document(control.report())
        case ["digest"]:
            only("GET", method)
            return document(control.state())
        case ["record"] if sender is None:
            raise ApiError(HTTPStatus.BAD_REQUEST, _BETWEEN_NODES)
        case ["record"] if method == "GET":
            return Reply(status=HTTPStatus.OK, body=control.sealed())
        case ["record"]:
            only("POST", method)
            state = await control.take(body, sender=str(sender))
            if state is None:
                raise ApiError(HTTPStatus.BAD_REQUEST, "the body is not a sealed record of users and tokens")
            return document(state)
        case _ if sender is not None:
            raise ApiError(HTTPStatus.BAD_REQUEST, ON_THIS_NODE)
        case ["verification"]:
            only("GET", method)
            no_others(query, {"known"})
            return document(control.verification(query.get("known", "")))
        case ["uses"]:
            only("POST", method)
            control.note_uses(parse_body(body, UsesBody))
            return AccessResult(ok=True, text="noted")
        case ["links"]:
            only("POST", method)
            return document(control.make_link(parse_body(body, LinkBody), by=by("")))
        case ["links", "use"]:
            only("POST", method)
            return document(control.use_link(parse_body(body, RedeemBody)))
    only("POST", method)
    wanted, name = _wanted(parts, body)
    return await control.change(wanted, name=name, by=by(""))


def _wanted(parts: Sequence[str], body: bytes) -> tuple[AccessChangeBody, str]:
    """Return which change is asked for, and of which user or token."""
    match parts:
        case ["users"]:
            return parse_body(body, UserBody), ""
        case ["users", name, "password"]:
            return parse_body(body, PasswordBody), _short(name)
        case ["users", name, "role"]:
            return parse_body(body, RoleBody), _short(name)
        case ["users", name, "remove"]:
            return parse_body(body or b"{}", RemoveBody), _short(name)
        case ["tokens"]:
            return parse_body(body, TokenBody), ""
        case ["tokens", name, "revoke"]:
            return parse_body(body or b"{}", RevokeBody), _short(name)
        case ["sessions", "end"]:
            return parse_body(body or b"{}", EndSessionsBody), ""
    raise ApiError(HTTPStatus.NOT_FOUND, "the API has no such path")


def _short(name: str) -> str:
    """Return a name as it may be repeated in an answer."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, "no user and no API token has such a name")
    return name
