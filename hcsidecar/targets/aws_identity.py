"""Asks the instance metadata service, version 2, for the address or the instance id of this machine.

The service is at a link-local address or at that of AWS_EC2_METADATA_SERVICE_ENDPOINT, and is never asked through a
proxy. The answer to the first of two requests has a hop limit, 1 unless it was raised, so it does not reach a container
with a network of its own.
"""

import ipaddress
import os
from collections.abc import Mapping
from typing import Literal

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from hcsidecar.core.farmfile.target_tables import INSTANCE_ID
from hcsidecar.core.targets.registration import TargetError, Trouble

PATIENCE = 3.0
"Seconds for which a service that does not answer is asked again; a machine that boots may have no network yet."
_LIMIT = aiohttp.ClientTimeout(total=1.0)
_LIFE = "60"
"Seconds for which the token of a look-up is valid."
_PATHS: Mapping[str, str] = {"ip": "local-ipv4", "instance": "instance-id"}
_REMEDY = 'or say the id in the farm file: nodes = { NAME = { id = "…" } }'


class _SilentError(TargetError):
    """Raised if the service could not be asked, which may pass."""


class Metadata:
    """The metadata service of this machine."""

    def __init__(self, environment: Mapping[str, str] = os.environ, *, patience: float = PATIENCE) -> None:
        self._disabled = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
        ipv6 = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "").lower() == "ipv6"
        usual = "http://[fd00:ec2::254]" if ipv6 else "http://169.254.169.254"
        self._url = (environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or usual).rstrip("/")
        self._patience = patience

    async def find_id(self, target: Literal["ip", "instance"]) -> str:
        """Return this machine's id; repeat the request while the service is silent. Raise TargetError if it fails."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(_SilentError),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            stop=stop_after_delay(self._patience),
            reraise=True,
        ):
            with attempt:
                return await self.read_id(target)
        raise AssertionError("tenacity raises or returns")  # pragma: no cover

    async def read_id(self, target: Literal["ip", "instance"]) -> str:
        """Ask once for this machine's main IPv4 address or its instance id, and return it."""
        if self._disabled:
            raise TargetError(
                Trouble.CONFIG, f"AWS_EC2_METADATA_DISABLED forbids to ask the metadata service: unset it, {_REMEDY}"
            )
        try:
            async with aiohttp.ClientSession(timeout=_LIMIT, trust_env=False) as session:
                token = await self._ask(
                    session, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": _LIFE}
                )
                path = f"/latest/meta-data/{_PATHS[target]}"
                found = await self._ask(session, "GET", path, {"X-aws-ec2-metadata-token": token})
        except TimeoutError:
            raise _SilentError(Trouble.RETRY, self._unheard("no answer within a second")) from None
        except aiohttp.ClientError as error:
            raise _SilentError(Trouble.RETRY, self._unheard(str(error))) from None
        if not _is_id(found, target):
            text = f"the metadata service at {self._url} gives {found[:40]!r} as {_PATHS[target]}: {_REMEDY}"
            raise TargetError(Trouble.RETRY, text)
        return found

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, headers: Mapping[str, str]) -> str:
        async with session.request(method, self._url + path, headers=headers, allow_redirects=False) as answer:
            if answer.status >= 500:  # noqa: PLR2004 - HTTP: the server's own fault, which may pass
                raise _SilentError(Trouble.RETRY, self._unheard(f"HTTP status {answer.status}"))
            if answer.status != 200:  # noqa: PLR2004 - HTTP: OK
                text = f"the metadata service at {self._url} refuses {path} (HTTP status {answer.status}): is it"
                raise TargetError(Trouble.CONFIG, f"{text} switched on for this instance? If not, {_REMEDY[3:]}")
            found = await answer.content.read(1024)
            return found.decode(errors="replace").strip()

    def _unheard(self, why: str) -> str:
        return (
            f"the metadata service at {self._url} cannot be asked ({why}): in a container raise its hop limit to 2"
            f" (aws ec2 modify-instance-metadata-options), {_REMEDY}"
        )


def _is_id(found: str, target: Literal["ip", "instance"]) -> bool:
    if target == "instance":
        return INSTANCE_ID.fullmatch(found) is not None
    try:
        ipaddress.IPv4Address(found)
    except ValueError:
        return False
    return True
