"""Links that sign a user in once."""

from hcsidecar.core.access.sign_in_links import LINK_LIFE, MOST_LINKS, SignInLinks

SECRET = b"s" * 32


def links():
    made = SignInLinks()
    made.add("alice", SECRET, by="root", now=0.0)
    return made


def test_a_link_signs_its_user_in_once():
    made = links()
    found = made.redeem(SECRET, now=1.0)
    assert (found.user, found.by) == ("alice", "root")
    assert made.redeem(SECRET, now=1.0) is None


def test_a_wrong_secret_signs_nobody_in_and_leaves_the_link():
    made = links()
    assert made.redeem(b"x" * 32, now=1.0) is None
    assert made.redeem(SECRET, now=1.0) is not None


def test_a_link_ends():
    assert links().redeem(SECRET, now=LINK_LIFE) is None
    assert links().redeem(SECRET, now=LINK_LIFE - 1) is not None


def test_the_oldest_link_makes_room():
    made = links()
    for number in range(MOST_LINKS):
        made.add("bob", bytes([number]) * 32, by="root", now=1.0)
    assert made.redeem(SECRET, now=2.0) is None
    assert made.redeem(bytes([0]) * 32, now=2.0).user == "bob"
