"""The calls to Elastic Load Balancing v2 for one target group, by boto3: blocking, one attempt each.

boto3 is imported at the first call, in the thread that makes it, since it takes a third of a second and 40 MB. A
client may be used by several threads, but a boto3 session may not: here each group has a session of its own, and
`Calls` sees to it that one thread at a time uses it.
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
"Seconds to connect, and from one byte to the next: within the limit of a call, so that the reason can be told."
_OLD = 600.0
"Seconds after which other credentials are looked for when these have not the right to a call."
_METADATA = "169.254.169.254"


class TargetGroupApi:
    """The group's side of AWS. What goes wrong is raised as TargetError, what AWS itself says as AwsError."""

    def __init__(self, table: AwsTarget) -> None:
        self._table = table
        self._client: Any = None
        self._made_at = 0.0
        self.group_port: int | None = None
        "The group's own port, once it is known."
        self.port_denied = False
        "There is no right to know it."

    def describe(self, key: TargetKey) -> Mapping[str, Any]:
        """Give the answer of `DescribeTargetHealth` for one target."""
        return self._call("DescribeTargetHealth", key)

    def describe_all(self) -> Mapping[str, Any]:
        """Give the answer of `DescribeTargetHealth` for all targets of the group."""
        return self._call("DescribeTargetHealth")

    def register(self, key: TargetKey) -> None:
        """Register one target."""
        self._call("RegisterTargets", key)

    def deregister(self, key: TargetKey) -> None:
        """Deregister one target. What is not there is gone; AWS says so by success, others by an error."""
        try:
            self._call("DeregisterTargets", key)
        except AwsError as error:
            if not error.has_no_target:
                raise

    def group(self) -> Mapping[str, Any]:
        """Give the group, as `DescribeTargetGroups` does."""
        groups = self._call("DescribeTargetGroups").get("TargetGroups")
        if not isinstance(groups, list) or not groups or not isinstance(groups[0], Mapping):
            raise TargetError(Trouble.RETRY, "the answer to DescribeTargetGroups has no group")
        return groups[0]

    def attributes(self) -> Mapping[str, str]:
        """Give the attributes of the group by name."""
        found = self._call("DescribeTargetGroupAttributes").get("Attributes")
        if not isinstance(found, list):
            raise TargetError(Trouble.RETRY, "the answer to DescribeTargetGroupAttributes has no attributes")
        return {str(one.get("Key")): str(one.get("Value", "")) for one in found if isinstance(one, Mapping)}

    def port(self) -> int | None:
        """Give the port under which this node is registered; None where nobody may say what the group's own is."""
        if self._table.port is not None:
            return self._table.port
        if self.group_port is None and not self.port_denied:
            try:
                found = self.group().get("Port")
            except AwsError as error:
                if not error.is_denied:
                    raise
                # A group's port never changes, and no port means that one: nothing is wrong without knowing it.
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
            # Who has made this process says how much it may have.
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
                # Who reconciles tries again, and knows when.
                retries={"mode": "standard", "total_max_attempts": 1},
                # An empty table keeps botocore from looking into the environment.
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
        """Let the next call look for credentials anew: those of a client are found once, when it is made."""
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
    """Give what botocore reads its descriptions of AWS with: they are the same for all targets, and 8 MB in memory."""
    from botocore.loaders import create_loader  # noqa: PLC0415 - see above

    return create_loader()
