"""Makes the certificate of a console as a program, for the daemon of its node.

python -m hcsidecar.joining.console_issuing KEY_FILE NODE NONCE NAME... < REQUEST

Prints `ConsoleCertificateAnswer` as JSON. A program of its own, so that the daemon neither loads what reads X.509 nor
parses what the console has sent.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from hcsidecar.core.joining.certificates import validity_from
from hcsidecar.core.joining.console_certificate import ConsoleCertificateAnswer
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.joining.authority import Authority, AuthorityError


def certify(
    files: AuthorityFiles, request: bytes, *, node: str, nonce: str, names: Sequence[str], now: datetime
) -> ConsoleCertificateAnswer:
    """Return the certificate for a console's request, or why there is none."""
    # Without microseconds, as a certificate has it.
    validity = validity_from(now.replace(microsecond=0))
    try:
        authority = Authority.load(files)
        chain = authority.certify_console(request, nonce=nonce, node=node, names=names, validity=validity)
    except AuthorityError as error:
        return ConsoleCertificateAnswer(problem=str(error))
    except ValueError as error:
        return ConsoleCertificateAnswer(problem=f"the console's request is not right: {error}")
    return ConsoleCertificateAnswer(
        chain=chain.decode("ascii"),
        authority=authority.certificate.decode("ascii"),
        begins=validity.begins.timestamp(),
        ends=validity.ends.timestamp(),
    )


def main(arguments: Sequence[str]) -> None:
    """Read the request, and print the answer."""
    key_file, node, nonce, *names = arguments
    files, request = AuthorityFiles.beside(Path(key_file)), sys.stdin.buffer.read()
    answer = certify(files, request, node=node, nonce=nonce, names=names, now=datetime.now(UTC))
    sys.stdout.write(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
