"""Finds files of a bundle that look like secrets: they would be on every node, and in what `hcsidecar diff` shows."""

import re
from typing import Final

BEGINNING: Final = 4096
"Bytes of a file that are looked at."
_NAMED: Final = re.compile(
    r"(.*[._-])?(id_(rsa|dsa|ecdsa|ed25519)|htpasswd|passwd|passwords?|secrets?|credentials?|tokens?)(\.(?!sh$|py$|pl$).*)?"
    r"|.*\.(key|pem|p12|pfx|jks|keytab|kdbx)",
    re.IGNORECASE | re.DOTALL,
)
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def why_secret(name: str, *, mode: int, beginning: bytes) -> str | None:
    """Return why a file looks like a secret, or None.

    `name` is its path in the bundle, `mode` that of the file, `beginning` its first BEGINNING bytes.
    """
    if _PRIVATE_KEY.search(beginning):
        return "it has a private key in it"
    if mode & 0o111:
        return None  # a script may be called get_token, and be readable by its owner only
    if _NAMED.fullmatch(name.rpartition("/")[2]):
        return "it is named like one"
    return None if mode & 0o044 else "only its owner may read it"
