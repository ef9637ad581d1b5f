"""Which files of a bundle look like secrets."""

import pytest

from hcsidecar.core.settings.secret_files import why_secret

KEY = b"-----BEGIN RSA PRIVATE KEY-----\nMII"


@pytest.mark.parametrize(
    ("name", "mode", "beginning", "why"),
    [
        ("bin/start", 0o700, b"#!/bin/sh\n", None),
        ("bin/start", 0o755, b"#!/bin/sh\ncat <<E\n" + KEY, "it has a private key in it"),
        ("bin/settings", 0o644, b"x=1\n", None),
        ("bin/settings", 0o600, b"x=1\n", "only its owner may read it"),
        ("bin/settings", 0o640, b"x=1\n", None),
        ("bin/server.key", 0o644, b"", "it is named like one"),
        ("bin/server.PEM", 0o644, b"", "it is named like one"),
        ("bin/db_password", 0o644, b"", "it is named like one"),
        ("bin/password.txt", 0o644, b"", "it is named like one"),
        ("bin/id_ed25519", 0o644, b"", "it is named like one"),
        ("bin/get_token", 0o755, b"", None),
        ("bin/check_passwords.sh", 0o644, b"", None),
        ("secrets/README", 0o644, b"", None),
        ("bin/keyboard", 0o644, b"", None),
    ],
)
def test_what_looks_like_a_secret(name, mode, beginning, why):
    assert why_secret(name, mode=mode, beginning=beginning) == why
