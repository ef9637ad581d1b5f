"""When a node's certificate is made anew."""

from datetime import UTC, datetime, timedelta

import pytest

from hcsidecar.core.joining.certificates import validity_from, why_renewed
from hcsidecar.core.joining.names import SERVER_NAME, shown_fingerprint

MADE = datetime(2026, 11, 30, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (-366, "it is not good before 2025-11-30"),
        (-300, "it was made when the clock was ahead: it is good until 2027-02-28"),
        (0, None),
        (59, None),
        (60, "it is good until 2027-02-28 only"),
        (89, "it is good until 2027-02-28 only"),
        (90, "it was good until 2027-02-28"),
    ],
)
def test_a_certificate_is_renewed_after_two_thirds_of_its_life_and_when_the_clock_has_jumped(days, why):
    assert why_renewed(validity_from(MADE), now=MADE + days * DAY) == why


def test_a_certificate_is_good_for_others_whose_clocks_are_behind():
    assert validity_from(MADE).begins == MADE - 365 * DAY


def test_the_name_that_all_certificates_have_is_one_that_nobody_can_register():
    assert SERVER_NAME.endswith(".internal")


def test_a_fingerprint_is_shown_as_browsers_and_openssl_do():
    assert shown_fingerprint(bytes.fromhex("00ab0fff")) == "00:AB:0F:FF"
