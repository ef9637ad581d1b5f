"""The farm's secrets: the file of sealing keys and hash seed, and the keys derived from them by purpose.

A key is rotated without stopping the farm in three steps. A key is added and the file is copied to all nodes, so that
each of them accepts it. The key is put in use and the file is copied again, so that each of them seals with it. Then
the old key is dropped. The hash seed decides which node takes which client, and stays the same throughout.
"""

import os
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hcsidecar.core.key_change import KeyPrint
from hcsidecar.system.private_file import place_file

SECRET_BYTES = 32
MAX_KEYS = 8
"More than a rotation ever needs; limits what a receiver tries and keeps."
_MAX_FILE_BYTES = 16_384
_SECRET = re.compile(f"[0-9a-f]{{{2 * SECRET_BYTES}}}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_PREAMBLE = """\
# Secrets of a farm: keep this file to yourself (mode 0600) and the same on every node.
# `hcsidecar key add`, `use` and `drop` change the keys; the hash seed stays.
"""
_HOW_TO_CHANGE = "copy the right one from another node, or to change to this one, stop all nodes and start them with it"


class KeyFileError(Exception):
    """The key file cannot be used: `message` completes the sentence "the key file …", `hint` says what is right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """One secret from which the keys of datagrams are derived."""

    secret: bytes
    added: datetime

    def __repr__(self) -> str:
        return f"SealingKey(id={self.id:08x})"

    @property
    def id(self) -> int:
        """A fingerprint of 32 bits: different keys have different ids, on whichever node they were added."""
        return int.from_bytes(blake2b(self.secret, digest_size=4, person=b"hcsidecar key").digest(), "big")


class Keyring:
    """The secrets of one key file, which a running daemon follows with `changed` and `reload`.

    A change returns another keyring; nothing takes effect before its `write`.
    """

    __slots__ = ("_seen", "active_id", "hash_seed", "keys", "path")

    def __init__(self, *, path: Path, hash_seed: bytes, keys: Mapping[int, SealingKey], active_id: int) -> None:
        self.path = path
        self.hash_seed = hash_seed
        "Decides, with the client's address, which bucket a client is in; a rotation does not change it."
        self.keys = MappingProxyType(dict(keys))
        self.active_id = active_id
        "The key to seal with; every key opens."
        self._seen = _stamp(path)

    @classmethod
    def create(cls, path: Path, *, now: datetime) -> Self:
        """Return the secrets of a new farm; nothing is written yet."""
        key = SealingKey(secret=secrets.token_bytes(SECRET_BYTES), added=now)
        return cls(path=path, hash_seed=secrets.token_bytes(SECRET_BYTES), keys={key.id: key}, active_id=key.id)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the keyring in a key file that only its owner may read. Raise KeyFileError if it cannot be used."""
        seen = _stamp(path)
        hash_seed, keys, active_id = _parse(_read_private(path))
        keyring = cls(path=path, hash_seed=hash_seed, keys=keys, active_id=active_id)
        keyring._seen = seen  # from before it was read: whatever is written in between counts as a change
        return keyring

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all keys, in the order of the file. Every key opens."""
        return tuple(self.keys)

    @property
    def print(self) -> KeyPrint:
        """What may be kept of these secrets to recognise them."""
        seed = int.from_bytes(blake2b(self.hash_seed, digest_size=4, person=b"hcsidecar seed").digest(), "big")
        return KeyPrint(keys=frozenset(self.keys), hash_seed=seed)

    def changed(self) -> bool:
        """Return, once for each change, that the file is not the one that was read."""
        now = _stamp(self.path)
        before, self._seen = self._seen, now
        return now != before

    def reload(self) -> None:
        """Read the file again. Raise KeyFileError if it cannot be used; then the keys stay as they are.

        A file of another farm cannot be used either: each step of a rotation keeps a key of the previous step, and all
        steps keep the hash seed.
        """
        seen = _stamp(self.path)
        now = self.load(self.path)
        if now.hash_seed != self.hash_seed:
            raise KeyFileError("has another hash seed than the one in use, so it is another farm's", _HOW_TO_CHANGE)
        if now.keys.keys().isdisjoint(self.keys):
            what = "shares no key with the one in use: it is another farm's, or a step of a rotation was left out"
            raise KeyFileError(what, _HOW_TO_CHANGE)
        self.hash_seed, self.keys, self.active_id, self._seen = now.hash_seed, now.keys, now.active_id, seen

    def derive(self, purpose: str, key_id: int, info: bytes) -> bytes:
        """Return the 32-byte key for a purpose and its circumstances (HKDF-SHA256, RFC 5869).

        Raise KeyError if there is no such sealing key.
        """
        label = purpose.encode()
        context = b"hcsidecar" + bytes((len(label),)) + label + info
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=context).derive(self.keys[key_id].secret)

    def with_new_key(self, *, now: datetime) -> tuple[Self, SealingKey]:
        """Return a keyring with a new key, which opens but does not seal yet, and the key."""
        if len(self.keys) >= MAX_KEYS:
            raise KeyFileError(f"has {MAX_KEYS} keys, and no room for more", "drop an old one: hcsidecar key drop ID")
        key = SealingKey(secret=secrets.token_bytes(SECRET_BYTES), added=now)
        return self._with(keys={**self.keys, key.id: key}), key

    def with_key(self, key: SealingKey) -> Self:
        """Return a keyring with a key that another node has made, which opens but does not seal yet."""
        if key.id not in self.keys and len(self.keys) >= MAX_KEYS:
            raise KeyFileError(f"has {MAX_KEYS} keys, and no room for more", "drop an old one: hcsidecar key drop ID")
        return self._with(keys={**self.keys, key.id: key})

    def only(self, key_id: int) -> Self:
        """Return a keyring without all other keys. Raise KeyFileError if it does not seal with this one."""
        self._require(key_id)
        if key_id != self.active_id:
            raise KeyFileError(f"seals with {self.active_id:08x}", "put the other key in use first")
        return self._with(keys={key_id: self.keys[key_id]})

    def using(self, key_id: int) -> Self:
        """Return a keyring that seals with this key."""
        self._require(key_id)
        return self._with(active_id=key_id)

    def without(self, key_id: int) -> Self:
        """Return a keyring without a key that nobody seals with any more."""
        self._require(key_id)
        if key_id == self.active_id:
            raise KeyFileError(f"seals with {key_id:08x}", "put another key in use first: hcsidecar key use ID")
        return self._with(keys={other: key for other, key in self.keys.items() if other != key_id})

    def write(self, *, replace: bool) -> None:
        """Write the file in one step, with mode 0600 and the owner that it had.

        Raise FileExistsError if there is a file and it must not be replaced, or OSError if the system refuses.
        """
        # The link is resolved so that the file is replaced, not the link to it.
        place_file(self.path.resolve(), self._text().encode(), replace=replace)

    def _with(self, *, keys: Mapping[int, SealingKey] | None = None, active_id: int | None = None) -> Self:
        return type(self)(
            path=self.path,
            hash_seed=self.hash_seed,
            keys=self.keys if keys is None else keys,
            active_id=self.active_id if active_id is None else active_id,
        )

    def _require(self, key_id: int) -> None:
        if key_id not in self.keys:
            there = ", ".join(f"{known:08x}" for known in self.keys)
            raise KeyFileError(f"has no key {key_id:08x}", f"there are {there}")

    def _text(self) -> str:
        lines = [_PREAMBLE, f'hash_seed = "{self.hash_seed.hex()}"', f'use = "{self.active_id:08x}"']
        for key in self.keys.values():
            lines += ["", "[[key]]", f'id = "{key.id:08x}"', f"added = {key.added.isoformat(timespec='seconds')}"]
            lines += [f'secret = "{key.secret.hex()}"']
        return "\n".join(lines) + "\n"


def _stamp(path: Path) -> tuple[int, int, int] | None:
    with suppress(OSError):
        status = path.stat()
        # The time of any change (ctime), so that a file refused for its mode is read again after a chmod.
        return status.st_ctime_ns, status.st_ino, status.st_size
    return None


def _read_private(path: Path) -> str:
    try:
        # Non-blocking, so as not to wait for a writer if the path is a pipe.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        hint = f"copy it from another node; only where no node has one any more: hcsidecar key new {path}"
        raise KeyFileError(f"is not there: {path}", hint) from None
    except OSError as error:
        raise KeyFileError(f"cannot be read: {path}: {error.strerror}", "run as the user whom it belongs to") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"is not a file: {path}")
        if os.name == "posix" and status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise KeyFileError(f"may be read or written by others: {path} has mode {mode:04o}", f"chmod 600 {path}")
        content = os.read(handle, _MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)
    if len(content) > _MAX_FILE_BYTES:
        raise KeyFileError(f"is too big to be one: {path}", f"at most {_MAX_FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise KeyFileError(f"is not a text: {path}") from None


def _parse(text: str) -> tuple[bytes, dict[int, SealingKey], int]:
    """Return hash seed, keys and active id. Messages name keys by their id and never show what may be a secret."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        raise _unusable("is not a TOML file") from None
    unknown = document.keys() - {"hash_seed", "use", "key"}
    if unknown:
        raise _unusable(f"has something unknown in it: {', '.join(sorted(unknown))}")
    tables = document.get("key")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_KEYS:
        raise _unusable(f"must have between 1 and {MAX_KEYS} tables [[key]]")
    keys = [_parse_key(table) for table in tables]
    ids = [key.id for key in keys]
    use = document.get("use")
    active_id = next((known for known in ids if f"{known:08x}" == use), None)
    if active_id is None or len(set(ids)) != len(ids):
        raise _unusable("must have each key once, and `use` name one of them")
    return _secret(document, "hash_seed"), dict(zip(ids, keys, strict=True)), active_id


def _parse_key(table: object) -> SealingKey:
    if not isinstance(table, dict) or table.keys() != {"id", "added", "secret"}:
        raise _unusable("must have id, added and secret in each [[key]]")
    added = table["added"]
    if not isinstance(added, datetime) or added.tzinfo is None:
        raise _unusable("must have a date and time with offset as `added` of each [[key]]")
    key = SealingKey(secret=_secret(table, "secret"), added=added)
    if table["id"] != f"{key.id:08x}":
        raise _unusable("has a [[key]] whose id does not belong to its secret")
    return key


def _secret(table: Mapping[str, object], name: str) -> bytes:
    value = table.get(name)
    if not isinstance(value, str) or _SECRET.fullmatch(value) is None:
        raise _unusable(f"must have {2 * SECRET_BYTES} hexadecimal digits as {name}")
    return bytes.fromhex(value)


def _unusable(message: str) -> KeyFileError:
    return KeyFileError(message, "copy it anew from another node; it is changed by `hcsidecar key` only")
