"""Whoever guesses passwords is slowed down, and what is remembered of him is limited."""

import pytest

from hcsidecar.core.access.login_throttle import (
    FORGOTTEN_AFTER,
    FREE_BY_ADDRESS,
    FREE_BY_NAME,
    LONGEST_BY_ADDRESS,
    LONGEST_BY_NAME,
    MOST_REMEMBERED,
    LoginThrottle,
)

HERE, THERE = "192.0.2.7", "198.51.100.9"


def failing(times, *, name="alice", address=HERE, now=0.0):
    throttle = LoginThrottle()
    for _ in range(times):
        throttle.failed(name, address, now=now)
    return throttle


def test_a_few_mistakes_cost_no_wait():
    assert failing(FREE_BY_NAME - 1).wait("alice", HERE, now=0) == 0


def test_a_name_waits_for_seconds_from_whichever_address():
    throttle = failing(FREE_BY_NAME)
    assert throttle.wait("alice", THERE, now=0) == 1
    assert throttle.wait("alice", THERE, now=1) == 0
    assert throttle.wait("bob", THERE, now=0) == 0
    assert failing(1000).wait("alice", THERE, now=0) == LONGEST_BY_NAME


def test_an_address_waits_longer_and_longer_whatever_the_name():
    throttle = failing(FREE_BY_ADDRESS + 3)
    assert throttle.wait("bob", HERE, now=0) == 8
    assert failing(5000).wait("bob", HERE, now=0) == LONGEST_BY_ADDRESS


def test_a_success_forgets_the_failures_of_the_name_and_not_those_of_the_address():
    throttle = failing(FREE_BY_ADDRESS + 3)
    throttle.succeeded("alice")
    assert throttle.wait("alice", THERE, now=0) == 0
    assert throttle.wait("alice", HERE, now=0) == 8


def test_failures_are_forgotten_after_an_hour_without_any():
    throttle = failing(1000)
    throttle.failed("alice", HERE, now=FORGOTTEN_AFTER)
    assert throttle.wait("alice", HERE, now=FORGOTTEN_AFTER) == 0


def test_what_is_remembered_is_limited_and_the_oldest_is_forgotten_first():
    throttle = failing(1000)
    for number in range(MOST_REMEMBERED):
        throttle.failed(f"user{number}", f"10.0.{number // 256}.{number % 256}", now=1)
    assert throttle.wait("alice", HERE, now=1) == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8:0:0:ffff::1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("somewhere", "somewhere", True),
    ],
)
def test_one_customer_of_ipv6_is_one_address(one, other, same):
    throttle = failing(1000, address=one)
    assert (throttle.wait("bob", other, now=0) > 0) is same
