"""The calls to Elastic Load Balancing v2 for one target group, with boto3: blocking, one attempt each.

boto3 is imported at the first call, in the thread that makes it, because that takes a third of a second and 40 MB.
Several threads may use one client, but not one boto3 session. So each group has its own session, and `Calls` lets one
thread at a time use it.
"""

import time
import urllib.request
from collections.abc import Mapping
from functools import cache
from typing import Any

from hcsidecar.core.farmfile.target_tables import AwsTarget
from hcsidecar.core.targets.aws_failures import Asked, AwsError, failed, no_boto3, refused
from hcsidecar.core.targets.aws_targets import TargetKey
from hcsidecar.core.targets.registration import TargetError, Trouble

_CONNECT, _READ = 2.0, 4.0
"Seconds to connect, and between two reads: less than the limit of a call, so that the reason is known in time."
_OLD = 600.0
"Seconds after which new credentials are looked for if the present ones do not allow a call."
_METADATA = "169.254.169.254"


class TargetGroupApi:
    """The API for one group. Failures are raised as TargetError, those that AWS itself reports as AwsError."""

    def __init__(self, table: AwsTarget) -> None:
        self._table = table
        self._client: Any = None
        self._made_at = 0.0
        self.group_port: int | None = None
        "The group's own port, once it is known."
        self.port_denied = False
        "The credentials may not ask for it."

    def describe(self, key: TargetKey) -> Mapping[str, Any]:
        """Return the answer of `DescribeTargetHealth` for one target."""
        return self._call("DescribeTargetHealth", key)

    def describe_all(self) -> Mapping[str, Any]:
        """Return the answer of `DescribeTargetHealth` for all targets of the group."""
        return self._call("DescribeTargetHealth")

    def register(self, key: TargetKey) -> None:
        """Register one target."""
        self._call("RegisterTargets", key)

    def deregister(self, key: TargetKey) -> None:
        """Deregister one target. It is no error if it is not registered; AWS reports success, others an error."""
        try:
            self._call("DeregisterTargets", key)
        except AwsError as error:
            if not error.has_no_target:
                raise

    def group(self) -> Mapping[str, Any]:
        """Return the group, as `DescribeTargetGroups` describes it."""
        groups = self._call("DescribeTargetGroups").get("TargetGroups")
        if not isinstance(groups, list) or not groups or not isinstance(groups[0], Mapping):
            raise TargetError(Trouble.RETRY, "the answer to DescribeTargetGroups has no group")
        return groups[0]

    def attributes(self) -> Mapping[str, str]:
        """Return the attributes of the group by name."""
        found = self._call("DescribeTargetGroupAttributes").get("Attributes")
        if not isinstance(found, list):
            raise TargetError(Trouble.RETRY, "the answer to DescribeTargetGroupAttributes has no attributes")
        return {str(one.get("Key")): str(one.get("Value", "")) for one in found if isinstance(one, Mapping)}

    def port(self) -> int | None:
        """Return the port under which this node is registered; None if it is the group's, which is not known."""
        if self._table.port is not None:
            return self._table.port
        if self.group_port is None and not self.port_denied:
            try:
                found = self.group().get("Port")
            except AwsError as error:
                if not error.is_denied:
                    raise
                # The port of a group never changes, and calls without a port mean it, so it need not be known.
                self.port_denied = True
            else:
                self.group_port = found if isinstance(found, int) else None
        return self.group_port

    def close(self) -> None:
        """Close the connections; safe to repeat."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _call(self, action: str, key: TargetKey | None = None) -> Mapping[str, Any]:
        table = self._table
        asked = Asked(
            action=action,
            target="" if key is None else str(key),
            has_zone=key is not None and key.zone is not None,
            region=table.api_region,
        )
        arguments: dict[str, Any] = (
            {"TargetGroupArns": [table.group]} if action == "DescribeTargetGroups" else {"TargetGroupArn": table.group}
        )
        if key is not None:
            arguments["Targets"] = [key.described()]
        try:
            if self._client is None:
                self._client, self._made_at = self._make_client(), time.monotonic()
            method = getattr(self._client, _METHODS[action])
            answer: Mapping[str, Any] = method(**arguments)
        except MemoryError:
            # The helper process reports it, with the limit of memory.
            raise
        except Exception as error:  # noqa: BLE001 - botocore raises KeyError and worse when an answer is not AWS's
            told = error if isinstance(error, TargetError) else self._told(asked, error)
            if told.trouble is Trouble.AUTH:
                self._doubt_credentials(told)
            raise told from None
        return answer

    def _make_client(self) -> Any:
        try:
            from boto3.session import Session  # noqa: PLC0415 - see above
            from botocore.config import Config  # noqa: PLC0415
            from botocore.session import get_session  # noqa: PLC0415
        except ImportError as error:
            raise no_boto3(str(error)) from None
        table = self._table
        core = get_session()
        core.register_component("data_loader", _descriptions())
        return Session(botocore_session=core).client(
            "elbv2",
            region_name=table.api_region,
            endpoint_url=table.endpoint_url,
            config=Config(
                connect_timeout=_CONNECT,
                read_timeout=_READ,
                # The reconciler repeats calls, and decides when.
                retries={"mode": "standard", "total_max_attempts": 1},
                # With an empty table botocore ignores the environment's proxies.
                proxies={"http": table.proxy, "https": table.proxy} if table.proxy else {},
                max_pool_connections=2,
            ),
        )

    def _told(self, asked: Asked, error: Exception) -> TargetError:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
            said, about = response["Error"], response.get("ResponseMetadata")
            return refused(
                asked,
                operation=str(getattr(error, "operation_name", "")),
                code=str(said.get("Code", "")),
                message=str(said.get("Message", "")),
                status=about.get("HTTPStatusCode", 0) if isinstance(about, Mapping) else 0,
            )
        through = "http" in urllib.request.getproxies_environment()
        return failed(
            asked,
            name=type(error).__name__,
            text=str(error),
            proxy=self._table.proxy is not None,
            environment_proxy=through and not urllib.request.proxy_bypass(_METADATA),
        )

    def _doubt_credentials(self, error: TargetError) -> None:
        """Make the next call look for credentials again: a client finds them only once, when it is made."""
        if isinstance(error, AwsError) and error.is_denied and time.monotonic() - self._made_at < _OLD:
            return
        self.port_denied = False
        self.close()


_METHODS: Mapping[str, str] = {
    "DescribeTargetHealth": "describe_target_health",
    "DescribeTargetGroups": "describe_target_groups",
    "DescribeTargetGroupAttributes": "describe_target_group_attributes",
    "RegisterTargets": "register_targets",
    "DeregisterTargets": "deregister_targets",
}


@cache
def _descriptions() -> Any:
    """Return the loader of botocore's descriptions of AWS: shared, because they take 8 MB and are always the same."""
    from botocore.loaders import create_loader  # noqa: PLC0415 - see above

    return create_loader()
