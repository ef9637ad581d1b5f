"""Holds the manual's page on AWS to what the code tells apart."""

import re
from pathlib import Path

from hcsidecar.core.targets.aws_failures import Asked, AwsError, failed, refused
from hcsidecar.core.targets.registration import Trouble

PAGE = (Path(__file__).parents[2] / "docs" / "manual" / "aws.md").read_text()
ASKED = Asked(action="RegisterTargets", target="10.0.1.11:80", region="eu-west-1")
NO_REMEDY = refused(ASKED, operation="RegisterTargets", code="Invented", message="", status=400)


def listed():
    table = PAGE.split("## When it goes wrong")[1]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [code for row in rows for code in re.findall(r"`([A-Za-z0-9.]+)`", row) if not code.startswith("Target.")]


def test_every_code_in_the_manual_has_a_remedy_in_the_log():
    codes = listed()
    assert len(codes) > 12
    for code in codes:
        answered = refused(ASKED, operation="RegisterTargets", code=code, message="", status=400)
        met = failed(ASKED, name=code, text="", proxy=False, environment_proxy=False)
        has_remedy = answered.text != NO_REMEDY.text.replace("Invented", code)
        assert has_remedy or met.text != f"RegisterTargets: {code}", code


def test_every_failure_that_needs_a_person_and_that_aws_tells_of_a_target_is_in_the_manual():
    for code in ("AccessDenied", "ExpiredToken", "TargetGroupNotFound", "InvalidTarget", "TooManyTargets"):
        error = refused(ASKED, operation="RegisterTargets", code=code, message="", status=400)
        assert isinstance(error, AwsError)
        assert error.trouble in (Trouble.AUTH, Trouble.CONFIG)
        assert code in listed()
