"""The meaning of failed calls to AWS: when to try again, and what the operator can do.

The error codes are those of Elastic Load Balancing v2, of the query protocol and of the token service. The names of
exceptions are those of botocore, which need not be installed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from hcsidecar.core.plain_text import on_one_line, shortened
from hcsidecar.core.targets.registration import TargetError, Trouble

POLICY = "config/aws-policy.json"
"The smallest policy that hcsidecar needs."
_MOST = 240
"The most characters of a message of AWS that are kept."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call that has failed."""

    action: str
    "Its name at AWS: RegisterTargets."
    target: str = ""
    "The target, as text of a TargetKey; empty if the call names none."
    has_zone: bool = False
    "The call names a zone."
    region: str = ""


class AwsError(TargetError):
    """An error that AWS itself has answered, with its code."""

    def __init__(self, trouble: Trouble, text: str, *, code: str) -> None:
        super().__init__(trouble, text)
        self.code = code

    @property
    def is_denied(self) -> bool:
        """True if the right to make this call is missing."""
        return self.code in _DENIED

    @property
    def has_no_target(self) -> bool:
        """True if the target does not exist, or cannot be a target."""
        return self.code in _NO_TARGET


def refused(asked: Asked, *, operation: str, code: str, message: str, status: int) -> TargetError:
    """Return the error for an answer of AWS to an operation, with its code, message and HTTP status."""
    said = f"{code}: {_short(message)}" if message else code
    if operation not in ("", asked.action):
        return TargetError(Trouble.AUTH, f"no credentials: {operation} failed, {said}")
    if not code or code.isdigit():
        text = f"{asked.action}: HTTP status {status or code} without an error code of AWS{_BETWEEN}"
        throttled = "429" in (code, str(status))
        return TargetError(Trouble.THROTTLE if throttled else Trouble.RETRY, text)
    if code in _THROTTLES or code.startswith(("Throttl", "RequestThrottl", "TooManyRequests")):
        return AwsError(Trouble.THROTTLE, f"{said}: all callers of the account share this limit", code=code)
    remedy = _remedies(asked).get(code)
    if remedy is not None:
        return AwsError(remedy.trouble, f"{said}: {remedy.text}", code=code)
    return AwsError(Trouble.RETRY, f"{asked.action}: {said}", code=code)


def failed(asked: Asked, *, name: str, text: str, proxy: bool, environment_proxy: bool) -> TargetError:
    """Return the error for a call that AWS has not answered, from the name and text of the exception.

    `proxy` is whether the farm file names a proxy. `environment_proxy` is whether the environment does, without an
    exception for the metadata service; botocore then asks that service through the proxy.
    """
    said = f"{name}: {_short(text)}" if text else name
    if name in _CREDENTIALS:
        through = "; HTTP_PROXY is set: set NO_PROXY=169.254.169.254 too" if environment_proxy else ""
        return TargetError(Trouble.AUTH, f"no credentials ({said}): {_CREDENTIALS[name]}{through}")
    if name == "ValueError" and ("endpoint" in text or "URL" in text):
        return TargetError(Trouble.CONFIG, f"{said}: see endpoint_url")
    if name in _SETTINGS:
        return TargetError(Trouble.CONFIG, f"{said}: {_SETTINGS[name]}")
    if name == "ProxyConnectionError" and not proxy:
        through = "the proxy of the environment, through which credentials are requested, cannot be reached"
        return TargetError(Trouble.AUTH, f"{said}: {through}; set NO_PROXY=169.254.169.254 besides HTTP_PROXY")
    if name == "ProxyConnectionError":
        return TargetError(Trouble.RETRY, f"{said}: check `proxy`, and that the proxy runs")
    if name in _NETWORK:
        way = "the path through `proxy`" if proxy else "DNS, routes, security groups and, without internet, `proxy`"
        return TargetError(Trouble.RETRY, f"{said}: {_NETWORK[name]}; check {way}")
    if name in ("ResponseParserError", "KeyError", "ParseError", "ValueError"):
        return TargetError(Trouble.RETRY, f"{asked.action}: the answer is not from AWS ({said}){_BETWEEN}")
    return TargetError(Trouble.RETRY, f"{asked.action}: {said}")


def no_boto3(text: str) -> TargetError:
    """Return the error for an SDK that is not installed."""
    return TargetError(Trouble.CONFIG, f"needs the Python package boto3 ({_short(text)}): pip install 'hcsidecar[aws]'")


def not_ours(target: str, whose: str) -> TargetError:
    """Return the error for an id of this node that belongs to something else."""
    return TargetError(
        Trouble.CONFIG,
        f"{target} is {whose}, so it is left alone: set the id of this node in the farm file,"
        " nodes = { NAME = { id = … } }",
    )


_BETWEEN = ": is there a proxy or a captive portal in between, or a wrong endpoint_url?"


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
    "check AWS_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE in the daemon's environment",
)

_SETTINGS: Mapping[str, str] = {
    "InvalidRegionError": "check `region`",
    "NoRegionError": "check `region`",
    "UnknownEndpointError": "check `region`, or set endpoint_url",
    "EndpointProviderError": "check `region` and endpoint_url",
    "InvalidProxiesConfigError": "check `proxy`",
    "ParamValidationError": "check group, id, port and availability_zone",
}

_NETWORK: Mapping[str, str] = {
    "EndpointConnectionError": "the API cannot be reached",
    "ConnectTimeoutError": "the API cannot be reached",
    "ReadTimeoutError": "the API does not answer in time",
    "ConnectionClosedError": "the connection was closed",
    "HTTPClientError": "the connection broke",
    "ConnectionError": "the connection broke",
    "ResponseStreamingError": "the connection broke",
    "IncompleteReadError": "the connection broke",
    "SSLError": "is the clock right? Does something in between use its own certificates (AWS_CA_BUNDLE)?",
}


class _Remedy(NamedTuple):
    trouble: Trouble
    text: str
    "What to do, for the operator."


def _remedies(asked: Asked) -> Mapping[str, _Remedy]:
    denied = _Remedy(
        Trouble.AUTH,
        f"these credentials do not allow elasticloadbalancing:{asked.action}: grant them the rights in {POLICY}",
    )
    expired = _Remedy(
        Trouble.AUTH, "the credentials have expired: renew them; those of an instance role renew themselves"
    )
    wrong_key = _Remedy(
        Trouble.AUTH,
        "AWS does not know these credentials: were the keys deleted, or do they belong to another partition?",
    )
    clock = _Remedy(
        Trouble.AUTH,
        "is the clock of this machine right to 5 minutes (timedatectl)? If it is, the secret key is wrong",
    )
    malformed = _Remedy(
        Trouble.CONFIG, "AWS does not accept the farm file: check group, id, port and availability_zone"
    )
    zone = (
        "is it in the network of the group, running, and of the target type of the group?"
        if asked.has_zone
        else "is it running, and of the target type of the group? An address outside the network of the group needs a"
        ' zone: availability_zone = "all"'
    )
    return {
        **dict.fromkeys(_DENIED, denied),
        **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), expired),
        **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"), wrong_key),
        **dict.fromkeys(("SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed"), clock),
        **dict.fromkeys(("InvalidSignatureException", "IncompleteSignature", "IncompleteSignatureException"), clock),
        **dict.fromkeys(("MissingAuthenticationToken", "MissingAuthenticationTokenException"), wrong_key),
        "OptInRequired": _Remedy(Trouble.AUTH, "the account is not signed up for this service or region"),
        **dict.fromkeys(("ValidationError", "ValidationException", "InvalidParameterValue"), malformed),
        **dict.fromkeys(("InvalidParameterCombination", "MalformedQueryString", "MissingParameter"), malformed),
        "InvalidConfigurationRequest": malformed,
        **dict.fromkeys(
            ("TargetGroupNotFound", "TargetGroupNotFoundException"),
            _Remedy(
                Trouble.CONFIG,
                f"this account has no such group in region {asked.region}: was it deleted, or created again?",
            ),
        ),
        **dict.fromkeys(
            _NO_TARGET,
            _Remedy(Trouble.CONFIG, f"{asked.target or 'the target'} cannot be a target of the group: {zone}"),
        ),
        **dict.fromkeys(
            ("TooManyTargets", "TooManyTargetsException"),
            _Remedy(
                Trouble.CONFIG, "the balancer or the group is full: deregister other targets, or have the quota raised"
            ),
        ),
        **dict.fromkeys(
            ("TooManyRegistrationsForTargetId", "TooManyRegistrationsForTargetIdException"),
            _Remedy(Trouble.CONFIG, "this server is registered too often, under other ports or in other groups"),
        ),
    }
