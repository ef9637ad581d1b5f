"""What a failed call to AWS means: when to try again, and in words for the operator what to do.

The codes are those of Elastic Load Balancing v2, of the query protocol and of the token service; the names of
exceptions those of botocore, which need not be installed to read this.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from hcsidecar.core.plain_text import on_one_line, shortened
from hcsidecar.core.targets.registration import TargetError, Trouble

POLICY = "config/aws-policy.json"
"The least rights that hcsidecar needs."
_MOST = 240
"Characters of AWS's own words that are kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The call that has failed."""

    action: str
    "As AWS calls it: RegisterTargets."
    target: str = ""
    "The target, as TargetKey writes it; empty where none is named."
    has_zone: bool = False
    "The call has named a zone."
    region: str = ""


class AwsError(TargetError):
    """What AWS itself has answered; `code` is its own."""

    def __init__(self, trouble: Trouble, text: str, *, code: str) -> None:
        super().__init__(trouble, text)
        self.code = code

    @property
    def is_denied(self) -> bool:
        """True when the right to make this call is missing."""
        return self.code in _DENIED

    @property
    def has_no_target(self) -> bool:
        """True when the target does not exist, or cannot be one."""
        return self.code in _NO_TARGET


def refused(asked: Asked, *, operation: str, code: str, message: str, status: int) -> TargetError:
    """Say what AWS has answered: to which operation, with which code of the error, message and HTTP status."""
    said = f"{code}: {_short(message)}" if message else code
    if operation not in ("", asked.action):
        return TargetError(Trouble.AUTH, f"no credentials: {operation} failed, {said}")
    if not code or code.isdigit():
        text = f"{_behalf(asked)} HTTP status {status or code} without an error of AWS's{_BETWEEN}"
        throttled = "429" in (code, str(status))
        return TargetError(Trouble.THROTTLE if throttled else Trouble.RETRY, text)
    if code in _THROTTLES or code.startswith(("Throttl", "RequestThrottl", "TooManyRequests")):
        return AwsError(Trouble.THROTTLE, f"{said}: all callers of the account share this limit", code=code)
    remedy = _remedies(asked).get(code)
    if remedy is not None:
        return AwsError(remedy[0], f"{said}: {remedy[1]}", code=code)
    return AwsError(Trouble.RETRY, f"{_behalf(asked)} {said}", code=code)


def failed(asked: Asked, *, name: str, text: str, proxy: bool, environment_proxy: bool) -> TargetError:
    """Say what has become of a call without an answer of AWS's: the exception's name and text.

    `proxy`: the farm file names one; `environment_proxy`: the environment does, and does not except the metadata
    service, which botocore then asks through it.
    """
    said = f"{name}: {_short(text)}" if text else name
    if name in _CREDENTIALS:
        through = "; HTTP_PROXY is set: say NO_PROXY=169.254.169.254 beside it" if environment_proxy else ""
        return TargetError(Trouble.AUTH, f"no credentials ({said}): {_CREDENTIALS[name]}{through}")
    if name == "ValueError" and ("endpoint" in text or "URL" in text):
        return TargetError(Trouble.CONFIG, f"{said}: see endpoint_url")
    if name in _SETTINGS:
        return TargetError(Trouble.CONFIG, f"{said}: {_SETTINGS[name]}")
    if name == "ProxyConnectionError" and not proxy:
        through = "the environment's proxy, by which credentials are asked for, is not reached"
        return TargetError(Trouble.AUTH, f"{said}: {through}; say NO_PROXY=169.254.169.254 beside HTTP_PROXY")
    if name == "ProxyConnectionError":
        return TargetError(Trouble.RETRY, f"{said}: is `proxy` right, and does it run?")
    if name in _NETWORK:
        way = "the way through `proxy`" if proxy else "DNS, routes, security groups and, without a way out, `proxy`"
        return TargetError(Trouble.RETRY, f"{said}: {_NETWORK[name]}; see {way}")
    if name in ("ResponseParserError", "KeyError", "ParseError", "ValueError"):
        return TargetError(Trouble.RETRY, f"{_behalf(asked)} an answer that is none of AWS's ({said}){_BETWEEN}")
    return TargetError(Trouble.RETRY, f"{_behalf(asked)} {said}")


def no_boto3(text: str) -> TargetError:
    """Say that the SDK is not installed."""
    return TargetError(Trouble.CONFIG, f"needs the Python package boto3 ({_short(text)}): pip install 'hcsidecar[aws]'")


def not_ours(target: str, whose: str) -> TargetError:
    """Say that this node's id is not this node's."""
    return TargetError(
        Trouble.CONFIG,
        f"{target} is {whose}, and not touched: say in the farm file what this node's id is,"
        " nodes = { NAME = { id = … } }",
    )


_BETWEEN = ": is there a proxy or a captive portal in between, or a wrong endpoint_url?"


def _behalf(asked: Asked) -> str:
    return f"{asked.action}:"


def _short(text: str) -> str:
    return shortened(on_one_line(text), _MOST)


_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthFailure", "NotAuthorized"})
_NO_TARGET = frozenset({"InvalidTarget", "InvalidTargetException"})
_THROTTLES = frozenset(
    {
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "SlowDown",
        "PriorRequestNotComplete",
        "LimitExceededException",
        "EC2ThrottledException",
    }
)

_CREDENTIALS: Mapping[str, str] = dict.fromkeys(
    (
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "MetadataRetrievalError",
        "NoAuthTokenError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "SSOTokenLoadError",
        "SSOError",
        "RefreshWithMFAUnsupportedError",
        "InfiniteLoopConfigError",
    ),
    "give the instance a role, or the daemon AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a credentials file;"
    " in a container the metadata service needs a hop limit of 2",
) | dict.fromkeys(
    ("ProfileNotFound", "ConfigNotFound", "ConfigParseError", "InvalidConfigError"),
    "see AWS_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE of the daemon",
)

_SETTINGS: Mapping[str, str] = {
    "InvalidRegionError": "see `region`",
    "NoRegionError": "see `region`",
    "UnknownEndpointError": "see `region`, or say endpoint_url",
    "EndpointProviderError": "see `region` and endpoint_url",
    "InvalidProxiesConfigError": "see `proxy`",
    "ParamValidationError": "see group, id, port and availability_zone",
}

_NETWORK: Mapping[str, str] = {
    "EndpointConnectionError": "the API is not reached",
    "ConnectTimeoutError": "the API is not reached",
    "ReadTimeoutError": "the API does not answer in time",
    "ConnectionClosedError": "the connection was closed",
    "HTTPClientError": "the connection broke",
    "ConnectionError": "the connection broke",
    "ResponseStreamingError": "the connection broke",
    "IncompleteReadError": "the connection broke",
    "SSLError": "is the clock right? Does somebody in between have certificates of his own (AWS_CA_BUNDLE)?",
}


def _remedies(asked: Asked) -> Mapping[str, tuple[Trouble, str]]:
    denied = (
        Trouble.AUTH,
        f"these credentials may not elasticloadbalancing:{asked.action}: give them what {POLICY} has",
    )
    expired = (Trouble.AUTH, "the credentials are over: renew them; those of an instance role renew themselves")
    wrong_key = (Trouble.AUTH, "AWS does not know these credentials: were the keys deleted, or are they of elsewhere?")
    clock = (
        Trouble.AUTH,
        "is the clock of this machine right to 5 minutes (timedatectl)? Else the secret key is wrong",
    )
    malformed = (Trouble.CONFIG, "AWS does not take what the farm file says: see group, id, port, availability_zone")
    zone = (
        "is it in the group's network, running, and of the group's target type?"
        if asked.has_zone
        else "is it running, and of the group's target type? An address outside the group's network needs a zone:"
        ' availability_zone = "all"'
    )
    return {
        **dict.fromkeys(_DENIED, denied),
        **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), expired),
        **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"), wrong_key),
        **dict.fromkeys(("SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed"), clock),
        **dict.fromkeys(("InvalidSignatureException", "IncompleteSignature", "IncompleteSignatureException"), clock),
        **dict.fromkeys(("MissingAuthenticationToken", "MissingAuthenticationTokenException"), wrong_key),
        "OptInRequired": (Trouble.AUTH, "the account is not signed up for this service or region"),
        **dict.fromkeys(("ValidationError", "ValidationException", "InvalidParameterValue"), malformed),
        **dict.fromkeys(("InvalidParameterCombination", "MalformedQueryString", "MissingParameter"), malformed),
        "InvalidConfigurationRequest": malformed,
        **dict.fromkeys(
            ("TargetGroupNotFound", "TargetGroupNotFoundException"),
            (
                Trouble.CONFIG,
                f"no such group in region {asked.region}, for this account: was it deleted, or made anew?",
            ),
        ),
        **dict.fromkeys(
            _NO_TARGET,
            (Trouble.CONFIG, f"{asked.target or 'the target'} cannot be a target of the group: {zone}"),
        ),
        **dict.fromkeys(
            ("TooManyTargets", "TooManyTargetsException"),
            (Trouble.CONFIG, "the balancer or the group is full: deregister others, or have the quota raised"),
        ),
        **dict.fromkeys(
            ("TooManyRegistrationsForTargetId", "TooManyRegistrationsForTargetIdException"),
            (Trouble.CONFIG, "this server is registered too often, under other ports or in other groups"),
        ),
    }
