"""Which role somebody has, as the console claims it and as the record has it."""

import pytest

from hcsidecar.core.access.claimed_role import granted_role
from hcsidecar.core.access.identity import Identity, Via
from hcsidecar.core.access.record import AccessRecord, ChangeStamp, TokenEntry, UserEntry, removed_user
from hcsidecar.core.access.roles import AccessRole

NOW = 946_684_800
"Seconds since 1970."
STAMP = ChangeStamp(1, NOW, "web1")


def user(role):
    return UserEntry(born=STAMP, role=role, role_set=STAMP, password_set=STAMP)


def token(role, **more):
    return TokenEntry(name="ci", role=role, secret_sha256="0" * 64, made=STAMP, **more)


RECORD = AccessRecord(
    users={"alice": user(AccessRole.ADMIN), "carol": user(AccessRole.MONITOR), "dave": removed_user(STAMP, STAMP)},
    tokens={
        "0" * 16: token(AccessRole.MONITOR),
        "1" * 16: token(AccessRole.CONTROL),
        "2" * 16: token(AccessRole.ADMIN, expires_at=NOW - 1),
        "3" * 16: token(AccessRole.ADMIN, revoked=STAMP),
    },
)


@pytest.mark.parametrize(
    ("name", "via", "claimed", "granted"),
    [
        ("alice", Via.CONSOLE, AccessRole.ADMIN, AccessRole.ADMIN),
        ("alice", Via.CONSOLE, AccessRole.MONITOR, AccessRole.MONITOR),
        ("carol", Via.CONSOLE, AccessRole.CONTROL, AccessRole.MONITOR),
        ("dave", Via.CONSOLE, AccessRole.MONITOR, None),
        ("eve", Via.CONSOLE, AccessRole.MONITOR, None),
        ("ci", Via.CONSOLE, AccessRole.MONITOR, None),
        ("ci", Via.API_TOKEN, AccessRole.ADMIN, AccessRole.CONTROL),
        ("ci", Via.API_TOKEN, AccessRole.MONITOR, AccessRole.MONITOR),
        ("alice", Via.API_TOKEN, AccessRole.MONITOR, None),
    ],
)
def test_the_record_decides_which_role_somebody_has(name, via, claimed, granted):
    identity = Identity(name=name, role=claimed, via=via)
    assert granted_role(identity, RECORD, now=NOW) == granted
