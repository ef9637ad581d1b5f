"""Which role somebody has for whom the console asks: by the record of users and tokens, whatever the console claims."""

from hcsidecar.core.access.identity import Identity, Via
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.access.roles import AccessRole


def granted_role(identity: Identity, record: AccessRecord, *, now: float) -> AccessRole | None:
    """Return the claimed role, or the recorded one if that may do less; None if nobody of this name is recorded.

    `now` is in seconds since 1970.
    """
    if identity.via is Via.API_TOKEN:
        tokens = record.present_tokens.values()
        recorded = [each.role for each in tokens if each.name == identity.name and not each.has_expired(now=now)]
    else:
        user = record.present_users.get(identity.name)
        recorded = [] if user is None else [user.role]
    if any(role.includes(identity.role) for role in recorded):
        return identity.role
    # Of tokens of one name the one with most rights, which all include each other's.
    return next((role for role in recorded if all(role.includes(other) for other in recorded)), None)
