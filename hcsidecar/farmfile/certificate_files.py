"""Where the files of the farm's certificate authority and of a node's certificate are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

AUTHORITY_CERTIFICATE: Final = "ca.pem"
AUTHORITY_KEY: Final = "ca.key"
NODE_CERTIFICATE: Final = "certificate"
"The directory of a node's own certificate, below its state directory."


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityFiles:
    """The files of a farm's certificate authority."""

    certificate: Path
    key: Path

    @classmethod
    def beside(cls, key_file: Path) -> Self:
        """Return where they are in a farm with this key file."""
        return cls(certificate=key_file.with_name(AUTHORITY_CERTIFICATE), key=key_file.with_name(AUTHORITY_KEY))


def node_certificate(state_dir: Path) -> Path:
    """Return the file with a node's private key, its certificate and that of the authority; it may not exist."""
    return state_dir / NODE_CERTIFICATE / "node.pem"
