"""`hcsidecar key`: makes the key file, and changes it in the steps of a key rotation."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError, NodeClient
from hcsidecar.cli import completion
from hcsidecar.cli.asking import OneNode, choose, run
from hcsidecar.cli.farm import AsJson, Config, load_or_exit, refuse
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.key_messages import RotateBody
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.net.keyring import KeyFileError, Keyring

KeyId = Annotated[
    str,
    typer.Argument(
        metavar="ID", autocompletion=completion.keys, help="The id of the key: 8 hexadecimal digits; see `key list`."
    ),
]

ROTATION_TAKES = 240.0
"Seconds for a rotation of keys on all nodes: the limit of each step, and what is waited for before the first."

key = typer.Typer(
    help="""Change the keys that seal what the nodes say to each other, without stopping the farm.

    `rotate` does it on all nodes, where the farm has a certificate authority. By hand there are three steps. `add` a
    key, with which nodes can then open messages; `use` it, so that nodes seal messages
    with it; `drop` the old one. After each step copy the key file to all nodes, which notice it within a second. The
    hash seed in the same file stays the same.
    """,
    no_args_is_help=True,
)


@key.command(name="new")
def new_key_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The key file, in an existing directory.")],
) -> None:
    """Make the key file of a new farm, unless it exists.

    An existing file is left alone, whatever it contains. Several nodes that share a directory may run this at the same
    time: one of them makes the file, and all of them use the same.

    Exit status: 0 made, or it exists, 1 could not be written.
    """
    try:
        Keyring.create(file, now=datetime.now(UTC)).write(replace=False)
    except FileExistsError:
        typer.echo(f"{file} exists already, and is left alone")
    except OSError as error:
        refuse(f"{file} cannot be written: {error.strerror}")
    else:
        typer.echo(f"made {file}")


@key.command(name="add")
def add_key(config: Config = None) -> None:
    """Add a key that opens messages but does not seal them yet.

    Exit status: 0 added, 1 refused, 2 the farm file or its key file is wrong.
    """
    loaded = load_or_exit(config)
    with _refusing(loaded.key_file):
        keyring, added = loaded.keyring.with_new_key(now=datetime.now(UTC))
        keyring.write(replace=True)
    typer.echo(f"added {added.id:08x} to {loaded.key_file}; {keyring.active_id:08x} stays in use")
    _say_next(loaded, f"when every node has it: hcsidecar key use {added.id:08x}")


@key.command(name="use")
def use_key(key_id: KeyId, config: Config = None) -> None:
    """Seal messages with this key from now on.

    All nodes must already have the key; otherwise they cannot open the messages of this node.

    Exit status: 0 in use, 1 refused, 2 the farm file or its key file is wrong.
    """
    loaded = load_or_exit(config)
    before = loaded.keyring.active_id
    with _refusing(loaded.key_file):
        keyring = loaded.keyring.using(_parse_id(key_id))
        keyring.write(replace=True)
    typer.echo(f"{keyring.active_id:08x} is in use in {loaded.key_file}")
    if before != keyring.active_id:
        _say_next(loaded, f"when every node seals with it: hcsidecar key drop {before:08x}")


@key.command(name="drop")
def drop_key(key_id: KeyId, config: Config = None) -> None:
    """Drop a key that is not in use.

    Messages that are sealed with it are refused from now on, so no node may still use it.

    Exit status: 0 dropped, 1 refused, 2 the farm file or its key file is wrong.
    """
    loaded = load_or_exit(config)
    with _refusing(loaded.key_file):
        dropped = _parse_id(key_id)
        loaded.keyring.without(dropped).write(replace=True)
    typer.echo(f"dropped {dropped:08x} from {loaded.key_file}")
    _say_next(loaded)


@key.command(name="rotate")
def rotate_keys(config: Config = None, node: OneNode = None, as_json: AsJson = False) -> None:
    """Change the key and the certificate authority of the farm, on all nodes, while it runs.

    All nodes must run and hear each other. No heartbeat and no client is lost, and the hash seed stays, so that clients
    stay where they are. A server that was removed from the farm can do nothing with its files afterwards. So the users
    of the console have to sign in again; API tokens stay. If it stops midway, because a node fails, all nodes still
    understand each other: give the command again.

    Exit status: 0 changed on all nodes, 1 refused or not on all, 2 wrong command or farm file.

    Example: hcsidecar key rotate
    """
    client = choose(config, node).clients[0]
    result = rotated(NodeClient(client.node, client.via, timeout=ROTATION_TAKES), load_or_exit(config).farm.farm.name)
    if as_json:
        typer.echo(json.dumps({"ok": result.ok, "text": result.text}))
    elif result.ok:
        typer.echo(result.text)
    if not result.ok:
        refuse(result.text)


def rotated(client: NodeClient, farm: str) -> CommandResult:
    """Let a node change the keys of its farm; say how that ended."""
    from hcsidecar.joining.authority import Authority  # noqa: PLC0415 - reads X.509, which is large

    new = Authority.create(farm)
    body = RotateBody(authority=new.certificate.decode(), authority_key=new.key.decode())
    try:
        return run(client.rotate_keys(body))
    except ClientError as error:
        return CommandResult(ok=False, text=str(error))


@key.command(name="list")
def list_keys(config: Config = None, as_json: AsJson = False) -> None:
    """List the keys by their ids, without their secrets.

    Exit status: 0 listed, 2 the farm file or its key file is wrong.
    """
    keyring = load_or_exit(config).keyring
    keys = [
        {"id": f"{one.id:08x}", "added": one.added.isoformat(), "in_use": one.id == keyring.active_id}
        for one in keyring.keys.values()
    ]
    if as_json:
        typer.echo(json.dumps(keys, indent=2))
        return
    for one in keys:
        typer.echo(f"{one['id']}  added {one['added']}{'  in use' if one['in_use'] else ''}")


def _parse_id(text: str) -> int:
    if re.fullmatch("[0-9A-Fa-f]{8}", text) is None:
        raise KeyFileError(f"has no key {text!r}", "an id is 8 hexadecimal digits, as `hcsidecar key list` shows them")
    return int(text, 16)


@contextmanager
def _refusing(key_file: Path) -> Iterator[None]:
    """Print why the key file was not changed, and exit with 1."""
    try:
        yield
    except KeyFileError as error:
        refuse(f"{key_file} {error}")
    except OSError as error:
        refuse(f"{key_file} cannot be written: {error.strerror}")


def _say_next(loaded: LoadedFarm, then: str = "") -> None:
    others = ", ".join(node.name for node in loaded.farm.node)
    typer.echo("next:")
    typer.echo(f"  copy {loaded.key_file} to all nodes, mode 0600: {others}")
    if then:
        typer.echo(f"  {then}")
