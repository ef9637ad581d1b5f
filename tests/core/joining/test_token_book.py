"""The tokens of a node, by a virtual clock."""

import pytest

from hcsidecar.core.joining.nonces import MOST, Nonces
from hcsidecar.core.joining.token_book import (
    MOST_WAITING,
    BookedToken,
    JoinRefusal,
    TokenBook,
    TokenFault,
    TooManyTokensError,
)

HERE = "203.0.113.7"


def token(number=1, *, node=None, address=None, expires=900.0):
    return BookedToken(id=f"{number:016x}", key=b"k%d" % number, node=node, address=address, expires=expires)


def book(*tokens):
    made = TokenBook()
    for each in tokens:
        made.add(each, now=0)
    return made


def admit(made, number=1, *, proof=None, source=HERE, now=1.0):
    """Ask with the proof by the right key, or another one."""
    return made.admit(
        f"{number:016x}",
        f"proof by k{number}" if proof is None else proof,
        expected=lambda key: f"proof by {key.decode()}",
        source=source,
        now=now,
    )


def test_who_knows_the_secret_is_let_in_until_the_token_ends():
    made = book(token())
    assert admit(made, now=899.9).id == f"{1:016x}"
    refusal = admit(made, now=1020)
    assert refusal == JoinRefusal(reason="this token ended 2 min ago; make a new one with hcsidecar token")


def test_a_token_is_good_once():
    made = book(token())
    found = admit(made)
    found.taken_by, found.used = "web4", True
    assert "has been used by web4" in admit(made).reason


def test_a_wrong_token_is_counted_and_told_what_it_may_be():
    made = book(token())
    for wrong in (admit(made, proof="guess"), admit(made, 2)):
        assert wrong.wrong
        assert "it was made on another node, or before the daemon of this one was started" in wrong.reason
    assert made.refused[TokenFault.WRONG] == 2


def test_a_late_token_is_not_counted_as_wrong():
    made = book(token())
    admit(made, now=2000)
    assert made.refused[TokenFault.WRONG] == 0


def test_who_guesses_waits_longer_each_time_and_others_do_not():
    made, now, waits = book(token()), 0.0, []
    for _ in range(12):
        began = now
        while "too many" in admit(made, proof="guess", now=now).reason:
            now += 0.5
        waits.append(now - began)
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert "too many wrong tokens have come: try again in 60 s" in admit(made, now=now).reason
    assert isinstance(admit(made, source="203.0.113.8", now=now), BookedToken)
    assert isinstance(admit(made, now=now + 60), BookedToken)


def test_all_addresses_of_an_ipv6_network_are_one_source():
    made = book(token())
    for host in range(4):
        admit(made, proof="guess", source=f"2001:db8::{host}%eth0")
    assert "too many" in admit(made, source="2001:db8::ffff").reason
    assert isinstance(admit(made, source="2001:db8:0:1::1"), BookedToken)


def test_guesses_from_everywhere_are_slowed_together():
    made = book(token())
    for host in range(1, 31):
        admit(made, proof="guess", source=f"203.0.113.{host}")
    assert admit(made, source="198.51.100.1").reason == "too many wrong tokens have come: try again in 2 s"
    assert isinstance(admit(made, source="198.51.100.1", now=4), BookedToken)


def test_a_source_that_was_quiet_for_ten_minutes_begins_anew():
    made = book(token(expires=10_000))
    for _ in range(4):
        admit(made, proof="guess", now=1)
    admit(made, proof="guess", now=700)
    assert isinstance(admit(made, now=700.1), BookedToken)


def test_sources_without_an_address_and_thousands_of_them_are_bounded():
    made = book(token(expires=1e9))
    for number in range(1000):
        admit(made, proof="guess", source=f"somewhere {number}", now=10.0 * number)
    assert len(made._sources) == 256


def test_a_token_made_for_a_name_or_an_address_is_good_for_no_other():
    assert token().why_not_for("web4", ["192.0.2.14"]) is None
    named = token(node="web4")
    assert named.why_not_for("web4", ["192.0.2.14"]) is None
    assert named.why_not_for("web5", []) == "this token was made for a node of the name web4, not web5"
    placed = token(address="192.0.2.14")
    assert placed.why_not_for("web4", ["198.51.100.1", "192.0.2.14"]) is None
    assert "with the address 192.0.2.14, not 192.0.2.15" in placed.why_not_for("web4", ["192.0.2.15"])
    taken = token()
    taken.taken_by = "web4"
    assert taken.why_not_for("web4", []) is None
    assert "make another one for web5" in taken.why_not_for("web5", [])


def test_there_are_never_too_many_tokens():
    made = book(*(token(number) for number in range(MOST_WAITING)))
    with pytest.raises(TooManyTokensError, match="the next one ends in 899 s"):
        made.add(token(99), now=1)
    for number in range(100, 100 + 4 * MOST_WAITING):
        made.add(token(number, expires=900.0 * number), now=900.0 * number - 1)
    assert len(made._tokens) == 64
    assert "not known" in admit(made, 1, now=0).reason


def test_a_nonce_is_good_once_and_for_a_minute():
    nonces = Nonces()
    nonces.give("a", now=0)
    nonces.give("b", now=0)
    assert nonces.take("a", now=59.9)
    assert not nonces.take("a", now=59.9)
    assert not nonces.take("b", now=60)
    assert not nonces.take("c", now=0)


def test_there_are_never_too_many_nonces():
    nonces = Nonces()
    for number in range(MOST + 1):
        nonces.give(str(number), now=0)
    assert not nonces.take("0", now=0)
    assert nonces.take(str(MOST), now=0)


def test_it_counts_what_is_refused_and_what_can_be_used():
    made = book(token(1), token(2, expires=60), token(3))
    assert (made.waiting(now=1), set(made.refused.values())) == (3, {0})
    admit(made, 3).used = True
    admit(made, 3)
    admit(made, 2, now=60)
    for _ in range(6):
        admit(made, proof="guess", now=61)
    assert made.waiting(now=61) == 1
    assert made.refused == {
        TokenFault.WRONG: 4,
        TokenFault.SLOWED: 2,
        TokenFault.USED: 1,
        TokenFault.LATE: 1,
    }
