"""`hcsidecar user` and `hcsidecar api-token`: who may use the console and its API for programs."""

import contextlib
import getpass
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.access.store import AccessStore, AccessStoreError
from hcsidecar.api.client import ClientError, NodeClient, Told
from hcsidecar.cli.asking import OneNode, choose, complain, run
from hcsidecar.cli.farm import REFUSED, AsJson, Config, refuse
from hcsidecar.core.access.changes import (
    AccessChange,
    no_such_user,
    user_is_there,
    why_not_token_name,
    why_not_user_name,
)
from hcsidecar.core.access.changes import add_user as decide_to_add
from hcsidecar.core.access.credentials import SECRET_BYTES, TOKEN_ID_BYTES, secret_digest, write_token
from hcsidecar.core.access.documents import (
    AccessReport,
    AccessResult,
    EndSessionsBody,
    LinkAnswer,
    LinkBody,
    PasswordBody,
    RemoveBody,
    RevokeBody,
    RoleBody,
    TokenBody,
    UserBody,
)
from hcsidecar.core.access.passwords import why_not_password
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.farmfile.farm_file import FarmFile, parse_duration
from hcsidecar.core.request_bodies import Body
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.farmfile.loading import FarmFileError, find_node
from hcsidecar.system.secret_file import LONGEST, secret_lines

DEFAULT_EXPIRY = "90d"
NEVER = "never"
CONSOLE_PORT = 9453
_LONGEST_EXPIRY = 10 * 365 * 86400
"Seconds; who means longer means never."


@dataclass(frozen=True, slots=True, kw_only=True)
class UserToBe:
    """The first user of a farm whose daemons do not run yet."""

    name: str
    delta: AccessRecord
    store: AccessStore

    def write(self) -> str:
        """Write the record that the daemon will read, and return what to say of it. Exit with 1 if that fails."""
        try:
            there = self.store.load() or AccessRecord()
            self.store.save(there.merged(self.delta))
        except AccessStoreError as error:
            refuse(f"no first user {self.name}: {self.store.path} {error}")
        return f"user {self.name} (admin) is in {self.store.path}; the other nodes take it over when they hear this one"


user = typer.Typer(
    help="""Manage the users of the console, the same on every node of the farm.

    A user of the role `monitor` reads, one of the role `control` also acts (start, stop, drain, power, log), and an
    `admin` also changes settings, users and tokens. A change counts at once on every node that lives; a node that is
    away takes it when it returns.
    """,
    no_args_is_help=True,
)
api_token = typer.Typer(
    help="""Manage the API tokens with which programs use the console's API, the same on every node of the farm.

    A token has a role, as a user has: see `hcsidecar user --help`. It is shown once, when it is made; the farm keeps
    what verifies it.
    """,
    no_args_is_help=True,
)

UserArgument = Annotated[str, typer.Argument(metavar="NAME", help="The user.")]
RoleOption = Annotated[AccessRole, typer.Option("--role", help="What he or it may do.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="Take the password from the first line of this file, which others must not be able to read; - is standard "
        "input. By default you are asked for it.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Also if the farm has no admin then.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.add_typer(user, name="user")
    app.add_typer(api_token, name="api-token")


@user.command(name="add")
def add_user(
    name: UserArgument,
    role: RoleOption,
    *,
    password_file: PasswordFile = None,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Add a user. You are asked for the password twice.

    Exit status: 0 added, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar user add alice --role admin
    """
    if why := why_not_user_name(name):
        raise typer.BadParameter(why, param_hint="NAME")
    client = _client(config, node)
    there = {each.name: each.role for each in _report(client).document.users}
    if name in there:
        refuse(user_is_there(name, there[name]))
    body = UserBody(name=name, role=role, password=hashed(new_password(name, password_file)))
    _change(client, "users", body, as_json=as_json)


@user.command(name="remove")
def remove_user(
    name: UserArgument, force: Force = False, config: Config = None, node: OneNode = None, as_json: AsJson = False
) -> None:
    """Remove a user, whose sessions end at once.

    The last admin is not removed without --force.

    Exit status: 0 removed, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar user remove alice
    """
    _change(_client(config, node), f"users/{name}/remove", RemoveBody(force=force), as_json=as_json)


@user.command(name="role")
def set_role(
    name: UserArgument,
    role: RoleOption,
    *,
    force: Force = False,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Give a user another role. The user's sessions end at once.

    Exit status: 0 changed, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar user role alice --role control
    """
    _change(_client(config, node), f"users/{name}/role", RoleBody(role=role, force=force), as_json=as_json)


@user.command(name="password")
def set_password(
    name: UserArgument,
    password_file: PasswordFile = None,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Give a user another password. You are asked for it twice. The user's sessions end at once.

    Exit status: 0 changed, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar user password alice
    """
    client = _client(config, node)
    there = [each.name for each in _report(client).document.users]
    if name not in there:
        refuse(no_such_user(name, there))
    body = PasswordBody(password=hashed(new_password(name, password_file)))
    _change(client, f"users/{name}/password", body, as_json=as_json)


@user.command(name="link")
def sign_in_link(
    name: UserArgument,
    *,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Where the console is; by default https on the node's own address."),
    ] = None,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Print a link with which a browser signs in as this user: once, within ten minutes, without a password.

    The link is for the console of the node that has made it. It is for the first sign-in, and for a user who has
    forgotten the password and can set another one there.

    Exit status: 0 printed, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar user link alice
    """
    chosen = choose(config, node)
    client = chosen.clients[0]

    async def ask() -> LinkAnswer:
        try:
            return await client.make_sign_in_link(LinkBody(user=name))
        except ClientError as error:
            complain(str(error))
            raise typer.Exit(REFUSED) from None

    made = run(ask())
    if not made.ok:
        if as_json:
            typer.echo(json.dumps({"ok": False, "text": made.text}))
            raise typer.Exit(REFUSED)
        refuse(made.text)
    link = f"{(url or _console_of(chosen.farm, client.node)).rstrip('/')}/sign-in?link={made.secret}"
    if as_json:
        typer.echo(json.dumps({"ok": True, "user": name, "link": link, "lasts": made.lasts}))
    else:
        typer.echo(link)
        typer.echo(f"it signs {name} in once, within {made.lasts // 60} minutes", err=True)


@user.command(name="list")
def list_users(config: Config = None, node: OneNode = None, as_json: AsJson = False) -> None:
    """List the users with their roles.

    Exit status: 0 listed, 1 no daemon could be asked, 2 wrong command or farm file.
    """
    told = _report(_client(config, node))
    if as_json:
        typer.echo(told.raw)
        return
    if not told.document.users:
        typer.echo("no users yet: hcsidecar user add NAME --role admin adds the first one")
        return
    rows = [(each.name, each.role, _day(each.added_at), _day(each.password_set_at)) for each in told.document.users]
    _show(("USER", "ROLE", "ADDED", "PASSWORD SET"), rows)


@user.command(name="end-sessions")
def end_sessions(config: Config = None, node: OneNode = None, as_json: AsJson = False) -> None:
    """End the sessions of all users, who must give their passwords again. API tokens stay.

    Exit status: 0 ended, 1 no daemon could be asked, 2 wrong command or farm file.
    """
    _change(_client(config, node), "sessions/end", EndSessionsBody(), as_json=as_json)


@api_token.command(name="add")
def add_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is called, in lists and in events.")],
    role: RoleOption,
    *,
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="DURATION", help=f"After which it lets nobody in any more, or `{NEVER}`."),
    ] = DEFAULT_EXPIRY,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Make an API token and print it. It cannot be printed again.

    Exit status: 0 made, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar api-token add deployment --role control --expires 30d
    """
    if why := why_not_token_name(name):
        raise typer.BadParameter(why, param_hint="NAME")
    token_id, secret = secrets.token_hex(TOKEN_ID_BYTES), secrets.token_bytes(SECRET_BYTES)
    body = TokenBody(
        id=token_id, name=name, role=role, secret_sha256=secret_digest(secret), expires_at=_expires_at(expires)
    )
    result = _ask(_client(config, node), "tokens", body)
    token = write_token(token_id, secret)
    if as_json:
        made = {"token": token, "expires_at": body.expires_at} if result.ok else {}
        typer.echo(json.dumps(_plain(result) | made))
    else:
        # The token alone is on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            _tell(result)
        if result.ok:
            typer.echo(token)
            ends = "it never expires" if body.expires_at is None else f"it expires on {_moment(body.expires_at)}"
            typer.echo(f"{ends}; keep it now, it is not shown again", err=True)
    if not result.ok:
        raise typer.Exit(REFUSED)


@api_token.command(name="list")
def list_tokens(config: Config = None, node: OneNode = None, as_json: AsJson = False) -> None:
    """List the API tokens with their roles, when they expire, and when they were last used, to the hour.

    Exit status: 0 listed, 1 no daemon could be asked, 2 wrong command or farm file.
    """
    told = _report(_client(config, node))
    if as_json:
        typer.echo(told.raw)
        return
    if not told.document.tokens:
        typer.echo("no API tokens yet: hcsidecar api-token add NAME --role ROLE makes one")
        return
    rows = []
    for each in told.document.tokens:
        ends = NEVER if each.expires_at is None else _moment(each.expires_at)
        used = "not yet" if each.last_used_at is None else _moment(each.last_used_at)
        expired = " (expired)" if each.expired else ""
        rows.append(
            (each.name, each.id, each.role, f"{ends}{expired}", used, f"{each.added_by}, {_day(each.added_at)}")
        )
    _show(("TOKEN", "ID", "ROLE", "EXPIRES", "LAST USED", "ADDED BY"), rows)


@api_token.command(name="revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The token, or its id.")],
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API token, which lets nobody in any more.

    Exit status: 0 revoked, 1 refused or no daemon could be asked, 2 wrong command or farm file.

    Example: hcsidecar api-token revoke deployment
    """
    _change(_client(config, node), f"tokens/{name}/revoke", RevokeBody(), as_json=as_json)


def new_password(name: str, file: Path | None) -> str:
    """Return a new password of a user, from a file or asked for twice. Exit with 1 if it is not taken."""
    password = _asked_for(name) if file is None else _from_file(file)
    if why := why_not_password(password, user=name):
        refuse(why)
    return password


def first_admin(farm: FarmFile, name: str, file: Path | None) -> UserToBe:
    """Return the first user of a new farm that has a node on this machine. Exit with 1 if there cannot be one."""
    try:
        node = find_node(farm, None)
    except FarmFileError:
        refuse(
            f"no first user {name}: this machine is not one node of the farm by its addresses; on a node, when its "
            f"daemon runs: hcsidecar user add {name} --role admin"
        )
    if why := why_not_user_name(name):
        refuse(f"no first user {name}: {why}")
    kept = hashed(new_password(name, file))
    decision = decide_to_add(AccessRecord(), name, AccessRole.ADMIN, kept, node=node.name, now=time.time())
    assert isinstance(decision, AccessChange)  # noqa: S101 - the name is right, and nobody is there
    return UserToBe(name=name, delta=decision.delta, store=AccessStore(state_dir(farm, node)))


def offer_admin(farm: FarmFile) -> str:
    """Ask who is at a terminal for the name of the first user; empty if there is to be none, or there can be none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return ""
    try:
        find_node(farm, None)
    except FarmFileError:
        return ""
    name: str = typer.prompt("Name of the first user of the console (Enter: none)", default="", show_default=False)
    return name


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    from hcsidecar.access.password_hashes import hash_password  # noqa: PLC0415 - only two commands need the library

    return hash_password(password)


def _asked_for(name: str) -> str:
    if not sys.stdin.isatty():
        refuse("nobody is there to be asked for the password: --password-file FILE, or - for standard input")
    password = getpass.getpass(f"New password of {name}: ")
    if why := why_not_password(password, user=name):
        refuse(why)
    if getpass.getpass("The same again: ") != password:
        refuse("the two passwords differ: nothing has changed")
    return password


def _from_file(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.buffer.readline(LONGEST).decode(errors="replace").rstrip("\r\n")
    try:
        return secret_lines(file)[0]
    except ValueError as error:
        refuse(f"no password: {error}")


def _expires_at(text: str) -> int | None:
    if text == NEVER:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or `{NEVER}`", param_hint="--expires") from None
    if not 1 <= seconds <= _LONGEST_EXPIRY:
        raise typer.BadParameter(f"at least 1s and at most 10 years, or `{NEVER}`", param_hint="--expires")
    return int(time.time() + seconds)


def _client(config: Path | None, node: str | None) -> NodeClient:
    return choose(config, node).clients[0]


def _console_of(farm: FarmFile, node: str) -> str:
    """Return the URL of a node's console, at the port that it has unless it was started with another one."""
    address = next((each.address for each in farm.node if each.name == node), "127.0.0.1")
    shown = f"[{address}]" if ":" in str(address) else address
    return f"https://{shown}:{CONSOLE_PORT}"


def _report(client: NodeClient) -> Told[AccessReport]:
    async def ask() -> Told[AccessReport]:
        try:
            return await client.access()
        except ClientError as error:
            complain(str(error))
            raise typer.Exit(REFUSED) from None

    return run(ask())


def _ask(client: NodeClient, path: str, body: Body) -> AccessResult:
    async def ask() -> AccessResult:
        try:
            return await client.change_access(path, body)
        except ClientError as error:
            complain(str(error))
            raise typer.Exit(REFUSED) from None

    return run(ask())


def _change(client: NodeClient, path: str, body: Body, *, as_json: bool) -> None:
    result = _ask(client, path, body)
    if as_json:
        typer.echo(json.dumps(_plain(result)))
    else:
        _tell(result)
    if not result.ok:
        raise typer.Exit(REFUSED)


def _tell(result: AccessResult) -> None:
    if not result.ok:
        complain(result.text)
        return
    typer.echo(one_line(result.text))
    if result.lacking:
        complain(f"not there yet: {', '.join(result.lacking)}; it comes to a node when the others hear it again")


def _plain(result: AccessResult) -> dict[str, object]:
    return {"ok": result.ok, "text": result.text, "lacking": list(result.lacking)}


def _show(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - only for tables
    from rich.text import Text  # noqa: PLC0415

    from hcsidecar.cli.wide import show_table  # noqa: PLC0415

    table = Table(box=None)
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    show_table(table)


def _day(at: int) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d}"


def _moment(at: int) -> str:
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M}"
