"""What tests of AWS share: credentials that lead nowhere else, a node, its table, and its metadata service."""

import pytest
from aiohttp import web
from strict_aws import ARN

from hcsidecar.core.farmfile.target_tables import AwsTarget
from hcsidecar.targets.kind import Here

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_CONFIG_FILE": "/dev/null",
}
_FOREIGN = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@pytest.fixture
def aws_environment(monkeypatch):
    """Let nothing of this machine's be found, and nobody but loopback be asked."""
    for name in (*_FOREIGN, *_PROXIES, *map(str.lower, _PROXIES)):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def table(url, group="web", **keys):
    return AwsTarget(type="aws", group=ARN.format(group), endpoint_url=url, **keys)


def here(state_dir, **changes):
    given = {
        "farm": "shop",
        "node": "web1",
        "address": "127.0.1.1",
        "addresses": {"web1": "127.0.1.1", "web2": "127.0.1.2"},
        "vips": ("127.0.1.50",),
        "health_port": 9010,
        "health_tls": False,
        "health_path": "/health",
        "directory": state_dir,
        "state_dir": state_dir,
    }
    return Here(**(given | changes))


class HealthUrl:
    """A node's health URL; begin it with `async with`."""

    def __init__(self, address, port=0, *, status=200):
        self._address, self.port, self.status = address, port, status

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/health", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _serve(self, request):
        return web.Response(status=self.status)


class Imds:
    """A metadata service of version 2 alone, on loopback; begin it with `async with`."""

    def __init__(self, **paths):
        self.paths = {"instance-id": "i-0123456789abcdef0", "local-ipv4": "127.0.1.1"} | paths
        self.role = None
        "Credentials of the role: a document, or None for no role."
        self.status = None
        "Of every answer, instead of the right one."
        self.requests = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _serve(self, request):
        path = request.match_info["path"]
        self.requests.append((request.method, path))
        if self.status is not None:
            return web.Response(status=self.status)
        if path == "latest/api/token":
            has_life = "X-aws-ec2-metadata-token-ttl-seconds" in request.headers
            return web.Response(text="token") if request.method == "PUT" and has_life else web.Response(status=400)
        if request.headers.get("X-aws-ec2-metadata-token") != "token":
            return web.Response(status=401)
        name = path.removeprefix("latest/meta-data/")
        if name.startswith("iam/security-credentials/") and self.role is not None:
            return web.json_response(self.role) if name.endswith("farm-role") else web.Response(text="farm-role")
        return web.Response(text=self.paths[name]) if name in self.paths else web.Response(status=404)
