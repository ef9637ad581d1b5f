"""Keys for tests of signing, without a key file: the same derivation for everybody who has the same secret."""

import hashlib


class FixedKeys:
    """Secrets by id, the highest in use; satisfies hcsidecar.api.auth.Keys."""

    def __init__(self, **secrets):
        self._secrets = {int(name.removeprefix("key")): secret for name, secret in secrets.items()}

    @property
    def active_id(self):
        return max(self._secrets)

    @property
    def ids(self):
        return tuple(self._secrets)

    def derive(self, purpose, key_id, info):
        return hashlib.sha256(f"{purpose} {self._secrets[key_id]}".encode() + info).digest()
