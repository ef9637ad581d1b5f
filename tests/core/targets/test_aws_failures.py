"""What failed calls to AWS mean, code by code: when to try again, and what the operator is told."""

import pytest

from hcsidecar.core.targets.aws_failures import Asked, AwsError, failed, no_boto3, not_ours, refused
from hcsidecar.core.targets.registration import Trouble

ASKED = Asked(action="RegisterTargets", target="10.0.1.11:80", region="eu-west-1")


def answered(code, message="Said by AWS.", *, asked=ASKED, status=400, operation="RegisterTargets"):
    return refused(asked, operation=operation, code=code, message=message, status=status)


def met(name, text="", *, proxy=False, environment_proxy=False):
    return failed(ASKED, name=name, text=text, proxy=proxy, environment_proxy=environment_proxy)


@pytest.mark.parametrize(
    ("code", "trouble", "says"),
    [
        ("Throttling", Trouble.THROTTLE, "all callers of the account"),
        ("ThrottlingException", Trouble.THROTTLE, "all callers of the account"),
        ("RequestThrottledException", Trouble.THROTTLE, "all callers of the account"),
        ("TooManyRequestsException", Trouble.THROTTLE, "all callers of the account"),
        ("RequestLimitExceeded", Trouble.THROTTLE, "all callers of the account"),
        ("SlowDown", Trouble.THROTTLE, "all callers of the account"),
        (
            "AccessDenied",
            Trouble.AUTH,
            "do not allow elasticloadbalancing:RegisterTargets: grant them the rights in config/",
        ),
        ("UnauthorizedOperation", Trouble.AUTH, "do not allow elasticloadbalancing:RegisterTargets"),
        ("ExpiredToken", Trouble.AUTH, "renew"),
        ("InvalidClientTokenId", Trouble.AUTH, "does not know these credentials"),
        ("SignatureDoesNotMatch", Trouble.AUTH, "is the clock of this machine right"),
        ("RequestExpired", Trouble.AUTH, "is the clock of this machine right"),
        ("OptInRequired", Trouble.AUTH, "not signed up"),
        ("TargetGroupNotFound", Trouble.CONFIG, "no such group in region eu-west-1"),
        ("InvalidTarget", Trouble.CONFIG, "10.0.1.11:80 cannot be a target of the group: is it running, and of the"),
        ("TooManyTargets", Trouble.CONFIG, "quota"),
        ("TooManyRegistrationsForTargetId", Trouble.CONFIG, "too often"),
        ("ValidationError", Trouble.CONFIG, "check group, id, port"),
        ("InternalFailure", Trouble.RETRY, "RegisterTargets: InternalFailure"),
        ("ServiceUnavailable", Trouble.RETRY, "ServiceUnavailable"),
        ("HealthUnavailable", Trouble.RETRY, "HealthUnavailable"),
        ("InventedTomorrow", Trouble.RETRY, "InventedTomorrow"),
    ],
)
def test_a_code_says_when_to_try_again_and_what_to_do(code, trouble, says):
    error = answered(code)
    assert error.trouble is trouble
    assert says in error.text
    assert "Said by AWS." in error.text
    assert isinstance(error, AwsError)
    assert error.code == code
    assert error.is_denied is (code in ("AccessDenied", "UnauthorizedOperation"))
    assert error.has_no_target is (code == "InvalidTarget")


def test_an_address_without_a_zone_is_advised_to_have_one_and_one_with_it_is_not():
    assert 'availability_zone = "all"' in answered("InvalidTarget").text
    with_zone = Asked(action="RegisterTargets", target="10.0.1.11:80", has_zone=True)
    assert "availability_zone" not in answered("InvalidTarget", asked=with_zone).text


@pytest.mark.parametrize("code", ["403", "503", ""])
def test_an_error_without_a_code_of_awss_comes_from_something_in_between(code):
    error = answered(code, status=int(code or 502))
    assert error.trouble is Trouble.RETRY
    assert "captive portal" in error.text
    assert not isinstance(error, AwsError)


def test_too_many_requests_throttle_whoever_says_so():
    assert answered("429", status=429).trouble is Trouble.THROTTLE


def test_a_role_that_may_not_be_assumed_is_no_missing_right_to_register():
    error = answered("AccessDenied", operation="AssumeRole")
    assert error.trouble is Trouble.AUTH
    assert error.text == "no credentials: AssumeRole failed, AccessDenied: Said by AWS."
    assert not isinstance(error, AwsError)


@pytest.mark.parametrize(
    ("name", "trouble", "says"),
    [
        ("NoCredentialsError", Trouble.AUTH, "give the instance a role"),
        ("ProfileNotFound", Trouble.AUTH, "AWS_PROFILE"),
        ("NoRegionError", Trouble.CONFIG, "check `region`"),
        ("ParamValidationError", Trouble.CONFIG, "check group"),
        ("EndpointConnectionError", Trouble.RETRY, "cannot be reached; check DNS"),
        ("ReadTimeoutError", Trouble.RETRY, "does not answer in time"),
        ("ConnectionClosedError", Trouble.RETRY, "closed"),
        ("SSLError", Trouble.RETRY, "AWS_CA_BUNDLE"),
        ("ResponseParserError", Trouble.RETRY, "not from AWS"),
        ("KeyError", Trouble.RETRY, "not from AWS"),
        ("ValueError", Trouble.RETRY, "not from AWS"),
        ("SomethingNew", Trouble.RETRY, "RegisterTargets: SomethingNew"),
    ],
)
def test_an_exception_says_when_to_try_again_and_what_to_do(name, trouble, says):
    error = met(name, "what botocore says")
    assert error.trouble is trouble
    assert says in error.text
    assert "what botocore says" in error.text


def test_an_endpoint_that_is_none_is_for_the_operator():
    for text in ("Invalid endpoint: http://x_y", "Invalid IPv6 URL"):
        assert met("ValueError", text).trouble is Trouble.CONFIG


def test_a_proxy_is_named_where_there_is_one():
    assert "check the path through `proxy`" in met("ConnectTimeoutError", proxy=True).text
    assert "check `proxy`" in met("ProxyConnectionError", proxy=True).text
    assert met("ProxyConnectionError").trouble is Trouble.AUTH
    assert "NO_PROXY" in met("NoCredentialsError", environment_proxy=True).text
    assert "NO_PROXY" not in met("NoCredentialsError").text


def test_what_is_told_is_one_line_and_no_page():
    error = met("ResponseParserError", "<html>\n" * 500)
    assert "\n" not in error.text
    assert len(error.text) < 450


def test_a_missing_sdk_and_another_nodes_id_are_for_the_operator():
    assert no_boto3("No module named 'boto3'").trouble is Trouble.CONFIG
    assert "pip install 'hcsidecar[aws]'" in no_boto3("No module named 'boto3'").text
    error = not_ours("10.0.1.12", "node web2")
    assert error.trouble is Trouble.CONFIG
    assert error.text.startswith("10.0.1.12 is node web2, so it is left alone")
