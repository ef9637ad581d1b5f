"""What each role may do: a monitor reads, control acts, an admin changes settings and users."""

import pytest

from hcsidecar.core.access.roles import PERMISSIONS, AccessRole, lowest_role, why_not_permitted

MONITOR, CONTROL, ADMIN = AccessRole.MONITOR, AccessRole.CONTROL, AccessRole.ADMIN


@pytest.mark.parametrize(
    ("method", "path", "lowest"),
    [
        ("GET", "status", MONITOR),
        ("GET", "events", MONITOR),
        ("GET", "runs/start-7", MONITOR),
        ("GET", "settings", MONITOR),
        ("POST", "actions/stop", CONTROL),
        ("POST", "actions/restart-daemon", CONTROL),
        ("POST", "power", CONTROL),
        ("POST", "log", CONTROL),
        ("GET", "snapshot", CONTROL),
        ("GET", "settings/differences/3", ADMIN),
        ("POST", "settings/proposals", ADMIN),
        ("GET", "access", ADMIN),
        ("POST", "access/users", ADMIN),
        ("POST", "access/users/alice/remove", ADMIN),
        ("POST", "access/tokens/ci/revoke", ADMIN),
        ("POST", "settings/messages", None),
        ("POST", "settings/checks", None),
        ("POST", "notifications", None),
        ("POST", "requests/restart", None),
        ("POST", "reports/mail", None),
        ("GET", "access/record", None),
        ("GET", "access/verification", None),
        ("POST", "access/record", None),
        ("POST", "access/uses", None),
        ("POST", "status", None),
        ("GET", "status/", None),
        ("GET", "", None),
        ("GET", "nodes/web2/status", None),
        ("get", "status", None),
    ],
)
def test_each_verb_has_a_lowest_role_and_what_is_not_named_is_for_nobody(method, path, lowest):
    assert lowest_role(method, path) is lowest
    allowed = [role for role in AccessRole if why_not_permitted(role, method, path) is None]
    assert allowed == ([] if lowest is None else [role for role in AccessRole if role.includes(lowest)])


def test_a_refusal_says_which_roles_there_must_be():
    assert why_not_permitted(MONITOR, "POST", "power") == (
        "the role monitor may not do this: it takes control or admin"
    )
    assert why_not_permitted(CONTROL, "POST", "access/users") == "the role control may not do this: it takes admin"
    assert why_not_permitted(ADMIN, "POST", "settings/messages") == (
        "POST settings/messages is not for users and API tokens: it is done by commands on the node itself"
    )


def test_a_person_may_change_his_own_password_and_nobody_elses():
    path = "access/users/alice/password"
    assert why_not_permitted(MONITOR, "POST", path, person="alice") is None
    assert why_not_permitted(MONITOR, "POST", path, person="bob") is not None
    assert why_not_permitted(CONTROL, "POST", path) is not None
    assert why_not_permitted(ADMIN, "POST", path, person="bob") is None
    assert why_not_permitted(MONITOR, "POST", "access/users/alice/role", person="alice") is not None


def test_no_verb_stands_in_the_table_twice():
    verbs = [(each.method, each.path) for each in PERMISSIONS]
    assert len(verbs) == len(set(verbs))
