"""The state of this node's server at HAProxy, and the commands that change it. `haproxy_answers.py` parses the answers.

HAProxy executes a line of commands completely, even if the sender ends meanwhile. So commands that belong together are
one line: an added server is in maintenance until it is made ready, and a server can be deleted only from maintenance.

Maintenance is left to the people who administer HAProxy. A server that they have put into maintenance stays there,
whatever this node wants. To take a server out, this node uses drain. The agent of a server with an agent-check drains
it and makes it ready too, which is not a deregistration. So this node disables the agent before it drains the server.
"""

import ipaddress

from hcsidecar.core.targets.haproxy_answers import (
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    Admin,
    Checks,
    HaproxyServer,
    ServerAddress,
    refusal,
)
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble


def observation_of(server: HaproxyServer | None, place: ServerAddress) -> Observation:
    """Return the state of this node's server. Raise TargetError if a person must add it to the configuration first."""
    if server is None:
        _need_dynamic(place)
        return Observation(presence=Presence.ABSENT)
    if server.is_disabled:
        return Observation(presence=Presence.ABSENT, reason="disabled in HAProxy's configuration")
    if server.is_held:
        return Observation(presence=Presence.UNUSED, reason=_why_held(server))
    if server.is_drained:
        left = {0: "no session left", 1: "1 session left"}.get(server.sessions, f"{server.sessions} sessions left")
        # Without sessions, the rest of this registration can be deleted.
        former = (f"server {place.path}",) if place.dynamic and server.is_free else ()
        return Observation(presence=Presence.DRAINING, reason=left, former=former)
    elsewhere = _elsewhere(server, place)
    if elsewhere is not None:
        return Observation(
            presence=Presence.ABSENT, reason=f"{place.server} is {elsewhere} there", former=(f"server {elsewhere}",)
        )
    return _health(server, place)


def _why_held(server: HaproxyServer) -> str:
    if server.admin & Admin.FORCED_MAINT:
        return "in maintenance at HAProxy: left alone until it is made ready there"
    if server.admin & Admin.UNRESOLVED:
        return "in maintenance: HAProxy cannot resolve its name"
    return "it tracks a server that is out"


def _elsewhere(server: HaproxyServer, place: ServerAddress) -> str | None:
    """Return where the server with this node's name points to, or None if it points to this node."""
    if not place.dynamic:
        return None  # HAProxy may know the node by another address
    if (_canonical(server.address), server.port) != (_canonical(place.address), place.port):
        return f"at {server.address} port {server.port}"
    if place.check_port not in (None, server.check_port) and server.checks & Checks.CONFIGURED:
        return f"checked on port {server.check_port}"
    return None


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


def _health(server: HaproxyServer, place: ServerAddress) -> Observation:
    if server.admin & Admin.FORCED_DRAIN:
        return Observation(presence=Presence.UNHEALTHY, reason="drained by its agent-check")
    if not server.checks & Checks.CONFIGURED or not server.checks & Checks.ENABLED:
        if server.has_agent:
            return _by_state(server, "by its agent-check")
        return Observation(presence=Presence.HEALTHY, reason="HAProxy does not check it, and takes it for healthy")
    if server.check_status in ("", "INI") and server.state != STOPPED:
        return Observation(presence=Presence.PENDING, reason="not checked yet")
    if place.check_port is not None and server.check_status in ("L4OK", "L6OK"):
        text = "HAProxy only connects to the health port: set `option httpchk` in the backend"
        return _by_state(server, text)
    return _by_state(server, server.check_words)


def _by_state(server: HaproxyServer, reason: str) -> Observation:
    match server.state:
        case state if state in (STARTING, RUNNING):
            presence = Presence.HEALTHY
        case state if state in (STOPPED, STOPPING):
            presence = Presence.UNHEALTHY
        case _:
            return Observation(presence=Presence.UNKNOWN, reason=f"HAProxy shows state {server.state}")
    return Observation(presence=presence, reason=reason)


def to_register(server: HaproxyServer | None, place: ServerAddress) -> list[str]:
    """Return the commands that make a server take traffic; none if people keep it in maintenance."""
    path = place.path
    if server is None:
        _need_dynamic(place)
        address = f"[{place.address}]" if ":" in place.address else place.address
        agent = [f"enable agent {path}"] if "agent-check" in place.options.split() else []
        return [
            f"add server {path} {address}:{place.port} {place.options}",
            f"enable health {path}",
            *agent,
            f"set server {path} state ready",
        ]
    if server.is_held:
        return []
    commands = []
    if _elsewhere(server, place) is not None:
        commands.append(f"set server {path} addr {place.address} port {place.port}")
        if place.check_port is not None and server.checks & Checks.CONFIGURED:
            commands.append(f"set server {path} check-port {place.check_port}")
    if server.agent & Checks.CONFIGURED and not server.has_agent:
        commands.append(f"enable agent {path}")
    return [*commands, f"set server {path} state ready"]


def to_deregister(server: HaproxyServer | None, place: ServerAddress) -> list[str]:
    """Return the commands that take a server out, or delete it if possible; none if it is out already."""
    path = place.path
    if server is None or server.is_held or server.is_disabled:
        return []
    silence = [f"disable agent {path}"] if server.agent & Checks.CONFIGURED else []
    drain = f"set server {path} state drain"
    if place.dynamic and server.is_free:
        # If a new session prevents the deletion, the server must not stay in maintenance, which is left to people.
        return [*silence, f"set server {path} state maint", f"del server {path}", drain]
    return [*silence, drain]


def why_not_registered(server: HaproxyServer | None, answer: str, place: ServerAddress) -> TargetError | None:
    """Return why a registration had no effect, by the look after it, or None if it had."""
    if server is None or server.is_disabled or server.is_drained or _elsewhere(server, place) is not None:
        return refusal(answer, place)
    return None


def why_not_deregistered(server: HaproxyServer | None, answer: str, place: ServerAddress) -> TargetError | None:
    """Return why a deregistration had no effect, by the look after it, or None if it had."""
    return None if server is None or server.is_drained else refusal(answer, place)


def _need_dynamic(place: ServerAddress) -> None:
    if not place.dynamic:
        remedy = 'add one to HAProxy\'s configuration, or set servers = "dynamic"'
        text = f"backend {place.backend} has no server {place.server}: {remedy}"
        raise TargetError(Trouble.CONFIG, text)
