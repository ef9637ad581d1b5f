"""A stand-in for AWS Elastic Load Balancing v2 that is as strict as the real one, on loopback.

It speaks the query protocol, checks signatures as far as the key and the token go, keys targets by (id, port),
validates addresses and zones, really probes the health URLs, moves targets through initial, healthy, unhealthy,
draining and gone with times that tests make short, has quotas and a bucket of calls, and does on request what networks
and clouds do: faults for the next calls of an action. What AWS does is taken from its documentation; nothing here has
seen the real one.
"""

import asyncio
import contextlib
import ipaddress
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from math import inf
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web

ARN = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{}/0123456789abcdef"
_XMLNS = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
_PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
HTML = "<html><head><title>Welcome to the airport</title></head><body>Please log in</body></html>"


class RefusalError(Exception):
    def __init__(self, code, message="no", status=400):
        self.code, self.message, self.status = code, message, status


@dataclass
class Target:
    id: str
    port: int
    zone: str | None
    state: str = "initial"
    reason: str = "Elb.RegistrationInProgress"
    passes: int = 0
    fails: int = 0
    draining_until: float | None = None


@dataclass
class Group:
    name: str
    type: str = "ip"
    protocol: str = "HTTP"
    port: int = 80
    network: str = "127.0.1.0/24"
    "Of its VPC."
    has_listener: bool = True
    quota: int = 1000
    draining: float = 0.3
    "Deregistration delay in seconds."
    interval: float = 0.03
    healthy_threshold: int = 2
    unhealthy_threshold: int = 2
    health_path: str = "/health"
    health_port: int | None = None
    "None: the traffic port."
    matcher: str = "200"
    running: frozenset = frozenset({"i-0123456789abcdef0", "i-0123456789abcdef1"})
    "Instances of the VPC that run."
    extra: dict = field(default_factory=dict)
    "Over the settings that DescribeTargetGroups tells."
    attributes: dict = field(default_factory=dict)
    targets: dict = field(default_factory=dict)

    @property
    def arn(self):
        return ARN.format(self.name)


class StrictAws:
    """Begin it with `async with`; `url` is its endpoint."""

    def __init__(self, *groups, burst=inf, rate=inf):
        self.groups = {group.arn: group for group in groups}
        self.keys = {"AKIDEXAMPLE": None}
        "What it knows: the token by the id of the key; None: without one."
        self.expired = set()
        self.denied = set()
        self.calls = []
        "(action, ids and ports, zones) of every call that was received, with faults and without."
        self.probes = Counter()
        self.hosts = []
        "For whom each call was meant."
        self.in_flight = 0
        self.faults = defaultdict(deque)
        self._bucket, self._burst, self._rate, self._filled = burst, burst, rate, 0.0
        self._tasks = {}
        self._end = asyncio.Event()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1))
        return self

    async def __aexit__(self, *_):
        self._end.set()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._http.close()
        await self._runner.cleanup()

    def fail(self, action, *faults):
        """Let the next calls of an action go wrong: an error's code, a RefusalError, or the name of a `_fault_…`."""
        self.faults[action].extend(faults)

    def count(self, action):
        return sum(call[0] == action for call in self.calls)

    @property
    def changes(self):
        return [call[:2] for call in self.calls if call[0] in ("RegisterTargets", "DeregisterTargets")]

    def states(self, group):
        self._forget_drained(group)
        return {key: target.state for key, target in group.targets.items()}

    def take_away(self, group, key):
        """What somebody else does: deregister."""
        self._deregister(group, [(*key, None)])

    # The wire

    async def _serve(self, request):
        form = await request.post()
        action = form.get("Action", "")
        targets = self._targets(form)
        self.calls.append((action, [(given, port) for given, port, _ in targets], [zone for *_, zone in targets]))
        self.hosts.append(request.host)
        self.in_flight += 1
        try:
            fault = self.faults[action].popleft() if self.faults[action] else None
            if isinstance(fault, str) and hasattr(self, f"_fault_{fault}"):
                return await getattr(self, f"_fault_{fault}")(request, form, action, targets)
            if fault is not None:
                raise fault if isinstance(fault, RefusalError) else RefusalError(fault)
            return self._answer(action, self._do(request, form, action, targets))
        except RefusalError as refusal:
            body = (
                f'<ErrorResponse xmlns="{_XMLNS}"><Error><Type>Sender</Type><Code>{refusal.code}</Code>'
                f"<Message>{escape(refusal.message)}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
            )
            return web.Response(status=refusal.status, text=body, content_type="text/xml")
        finally:
            self.in_flight -= 1

    def _answer(self, action, result):
        body = (
            f'<{action}Response xmlns="{_XMLNS}"><{action}Result>{result}</{action}Result>'
            f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
        )
        return web.Response(text=body, content_type="text/xml")

    @staticmethod
    def _targets(form):
        found, index = [], 1
        while f"Targets.member.{index}.Id" in form:
            at = f"Targets.member.{index}."
            port = form.get(at + "Port")
            found.append((form[at + "Id"], int(port) if port else None, form.get(at + "AvailabilityZone")))
            index += 1
        return found

    # Faults

    async def _fault_hang(self, request, form, action, targets):
        await self._end.wait()
        return web.Response(status=503)

    async def _fault_dribble(self, request, form, action, targets):
        response = web.StreamResponse(headers={"Content-Type": "text/xml"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not self._end.is_set():
                await response.write(b" ")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._end.wait(), 0.2)
        return response

    async def _fault_reset(self, request, form, action, targets):
        request.transport.abort()
        return web.Response()

    async def _fault_garbage(self, request, form, action, targets):
        return web.Response(body=b"\x00\xffnot xml at all <<<", content_type="text/xml")

    async def _fault_empty(self, request, form, action, targets):
        return web.Response(text="", content_type="text/xml")

    async def _fault_html(self, request, form, action, targets):
        return web.Response(text=HTML, content_type="text/html")

    async def _fault_html503(self, request, form, action, targets):
        return web.Response(status=503, text=HTML, content_type="text/html")

    async def _fault_lost(self, request, form, action, targets):
        """Done, and the answer gets lost."""
        self._do(request, form, action, targets)
        request.transport.abort()
        return web.Response()

    async def _fault_other(self, request, form, action, targets):
        """An answer for somebody else's question."""
        other = Target("127.0.1.99", 80, None, state="healthy", reason="")
        body = f"<TargetHealthDescriptions>{self._described(other, 80)}</TargetHealthDescriptions>"
        return self._answer(action, body)

    # What AWS does

    def _do(self, request, form, action, targets):
        self._check_caller(request, action)
        if action in ("RegisterTargets", "DeregisterTargets"):
            self._take_from_bucket()
        arn = form.get("TargetGroupArn") or form.get("TargetGroupArns.member.1", "")
        group = self.groups.get(arn)
        if group is None:
            raise RefusalError("TargetGroupNotFound", "One or more target groups not found")
        self._forget_drained(group)
        match action:
            case "RegisterTargets":
                self._register(group, targets)
                return ""
            case "DeregisterTargets":
                self._deregister(group, targets)
                return ""
            case "DescribeTargetHealth":
                return self._health(group, targets)
            case "DescribeTargetGroups":
                return self._group(group)
            case "DescribeTargetGroupAttributes":
                entries = (f"<member><Key>{k}</Key><Value>{v}</Value></member>" for k, v in group.attributes.items())
                return f"<Attributes>{''.join(entries)}</Attributes>"
        raise RefusalError("InvalidAction", action)

    def _check_caller(self, request, action):
        words = request.headers.get("Authorization", "")
        if not words.startswith("AWS4-HMAC-SHA256 Credential="):
            raise RefusalError("MissingAuthenticationToken", "Missing Authentication Token", 403)
        key = words.split("Credential=")[1].split("/")[0]
        if key in self.expired:
            raise RefusalError("ExpiredToken", "The security token included in the request is expired", 403)
        if key not in self.keys or self.keys[key] != request.headers.get("X-Amz-Security-Token"):
            raise RefusalError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        if action in self.denied:
            who = "User: arn:aws:iam::123456789012:user/web1 is not authorized to perform: "
            raise RefusalError("AccessDenied", f"{who}elasticloadbalancing:{action}", 403)

    def _take_from_bucket(self):
        now = asyncio.get_running_loop().time()
        if self._rate != inf:
            self._bucket = min(self._burst, self._bucket + (now - self._filled) * self._rate)
            self._filled = now
            if self._bucket < 1:
                raise RefusalError("Throttling", "Rate exceeded")
            self._bucket -= 1

    def _check_target(self, group, given, zone):
        if group.type == "instance":
            if zone is not None:
                raise RefusalError("ValidationError", "An Availability Zone cannot be specified for an instance")
            if given not in group.running:
                raise RefusalError("InvalidTarget", f"The following targets are not in a running state: '{given}'")
            return
        try:
            address = ipaddress.ip_address(given)
        except ValueError:
            raise RefusalError("ValidationError", f"The IP address '{given}' is not a valid IPv4 address") from None
        if address in ipaddress.ip_network(group.network):
            return
        if not any(address in net for net in _PRIVATE):
            raise RefusalError("InvalidTarget", f"The IP address '{given}' is not within the VPC or a private network")
        if zone is None:
            raise RefusalError("InvalidTarget", f"You must specify an Availability Zone for the IP address '{given}'")

    def _register(self, group, targets):
        for given, _, zone in targets:
            self._check_target(group, given, zone)
        new = [(given, port or group.port, zone) for given, port, zone in targets]
        if len(group.targets.keys() | {key[:2] for key in new}) > group.quota:
            raise RefusalError("TooManyTargets", "The maximum number of targets has been reached")
        for given, port, zone in new:
            known = group.targets.get((given, port))
            if known is not None and known.draining_until is None:
                continue
            group.targets[given, port] = Target(given, port, zone)
            if known is None:
                self._tasks[group.name, given, port] = asyncio.create_task(self._probe(group, given, port))

    def _deregister(self, group, targets):
        now = asyncio.get_running_loop().time()
        for given, port, _ in targets:
            # Without the port it is that of the group; and what is not there is gone.
            target = group.targets.get((given, port or group.port))
            if target is not None and target.draining_until is None:
                target.state, target.reason = "draining", "Target.DeregistrationInProgress"
                target.draining_until = now + group.draining

    def _forget_drained(self, group):
        now = asyncio.get_running_loop().time()
        for key, target in list(group.targets.items()):
            if target.draining_until is not None and now >= target.draining_until:
                del group.targets[key]
                self._tasks.pop((group.name, *key)).cancel()

    async def _probe(self, group, given, port):
        url = f"http://{given}:{group.health_port or port}{group.health_path}"
        while True:
            try:
                async with self._http.get(url, allow_redirects=False) as answer:
                    passed, status = str(answer.status) in group.matcher.split(","), answer.status
            except (aiohttp.ClientError, TimeoutError):
                passed, status = False, 0
            self.probes[given, port] += 1
            target = group.targets.get((given, port))
            if target is not None and target.draining_until is None:
                self._judge(group, target, passed=passed, status=status)
            await asyncio.sleep(group.interval)

    @staticmethod
    def _judge(group, target, *, passed, status):
        target.passes, target.fails = (target.passes + 1, 0) if passed else (0, target.fails + 1)
        if target.state == "initial":
            target.reason = "Elb.InitialHealthChecking"
        # What is new is in after one pass.
        if target.passes >= (1 if target.state == "initial" else group.healthy_threshold):
            target.state, target.reason = "healthy", ""
        elif target.fails >= group.unhealthy_threshold:
            target.state = "unhealthy"
            target.reason = "Target.ResponseCodeMismatch" if status else "Target.FailedHealthChecks"

    def _health(self, group, named):
        keys = [(given, port or group.port) for given, port, _ in named] or list(group.targets)
        for given, _, zone in named:
            self._check_target(group, given, zone)
        described = []
        for given, port in keys:
            target = group.targets.get((given, port))
            if target is None:
                target = Target(given, port, None, state="unused", reason="Target.NotRegistered")
            elif not group.has_listener and target.draining_until is None:
                target = Target(given, port, target.zone, state="unused", reason="Target.NotInUse")
            described.append(self._described(target, group.health_port or port))
        return f"<TargetHealthDescriptions>{''.join(described)}</TargetHealthDescriptions>"

    @staticmethod
    def _described(target, health_port):
        zone = f"<AvailabilityZone>{target.zone}</AvailabilityZone>" if target.zone else ""
        reason = f"<Reason>{target.reason}</Reason><Description>About it</Description>" if target.reason else ""
        return (
            f"<member><Target><Id>{target.id}</Id><Port>{target.port}</Port>{zone}</Target>"
            f"<HealthCheckPort>{health_port}</HealthCheckPort>"
            f"<TargetHealth><State>{target.state}</State>{reason}</TargetHealth></member>"
        )

    @staticmethod
    def _group(group):
        told = {
            "TargetGroupArn": group.arn,
            "TargetGroupName": group.name,
            "Protocol": group.protocol,
            "Port": group.port,
            "TargetType": group.type,
            "HealthCheckProtocol": "HTTP",
            "HealthCheckPort": group.health_port or "traffic-port",
            "HealthCheckEnabled": "true",
            "HealthCheckIntervalSeconds": 10,
            "HealthCheckTimeoutSeconds": 5,
            "HealthyThresholdCount": group.healthy_threshold,
            "UnhealthyThresholdCount": group.unhealthy_threshold,
            "HealthCheckPath": group.health_path,
            "Matcher": f"<HttpCode>{group.matcher}</HttpCode>",
            "VpcId": "vpc-1",
        } | group.extra
        members = "".join(f"<{k}>{v}</{k}>" for k, v in told.items())
        return f"<TargetGroups><member>{members}</member></TargetGroups>"
