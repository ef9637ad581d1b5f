"""The content of the demo's files: farm file, web page, and the configurations of nginx or Apache and HAProxy."""

from hcsidecar.core.farmfile.farm_file import format_duration
from hcsidecar.demo.plan import (
    CHECK_INTERVAL,
    CHECK_TIMEOUT,
    DRAIN,
    FARM,
    PROBE_FALL,
    PROBE_INTERVAL,
    PROBE_RISE,
    SHARE,
    START,
    STOP,
    DemoServer,
    Plan,
)

APACHE_MODULES = "/usr/lib/apache2/modules"


def farm_file(plan: Plan, server: DemoServer) -> str:
    """Return a server's copy of the farm file.

    On the bridge all copies are the same, as on real machines. On loopback they differ in one line, the address of the
    check, because all servers are one machine.
    """
    text = f"""\
[farm]
name = "{FARM}"
state_dir = "{plan.state_dir}"

[heartbeat]
port = {plan.heartbeat_port}

[[check]]
type = "http"
name = "WEB"
address = "{"127.0.0.1" if plan.bridged else server.address}"
port = {plan.web_port}
body = "<h1>"
interval = "{format_duration(CHECK_INTERVAL)}"
timeout = "{format_duration(CHECK_TIMEOUT)}"
"""
    for node in plan.servers:
        text += f"""
[[node]]
name = "{node.name}"
address = "{node.address}"
listen = ["{node.address}:{plan.health_port}"]
"""
    return text + (_on_the_bridge(plan.vip, plan) if plan.vip is not None else "")


def _on_the_bridge(vip: str, plan: Plan) -> str:
    return f"""
[application]
start = "{START}"
stop = "{STOP}"
# Clients with a kept connection to a server that stops may use it for this long.
drain = "{format_duration(DRAIN)}"
stop_timeout = "5s"
force_timeout = "5s"

[l2]

[[l2.vip]]
address = "{vip}"

[[l2.share]]
name = "{SHARE}"
ports = [{plan.web_port}]
"""


def page(server: DemoServer) -> str:
    """Return a web server's only page: the server's name. It has no double quotes, because it is put between some."""
    return f"<!doctype html><title>{server.name}</title><h1>{server.name}</h1>"


def listen_address(plan: Plan, server: DemoServer) -> str:
    """Return the address on which a web server listens: all of them if there is a virtual IP."""
    return "0.0.0.0" if plan.bridged else server.address


def nginx_config(plan: Plan, server: DemoServer) -> str:
    """Return the configuration of nginx, which uses nothing outside the server's directory."""
    home = plan.home(server)
    paths = "\n".join(
        f"    {kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
daemon {"on" if plan.bridged else "off"};
worker_processes 1;
pid {plan.pid_file(server)};
error_log stderr warn;
events {{
    worker_connections 512;
}}
http {{
    access_log off;
    # A kept connection stays until a client or a stop ends it.
    keepalive_timeout 1h;
    keepalive_requests 1000000;
    default_type text/html;
{paths}
    server {{
        listen {listen_address(plan, server)}:{plan.web_port};
        # Not a file: the workers of an nginx that root starts cannot read in a directory of root.
        return 200 "{page(server)}";
    }}
}}
"""


def apache_config(plan: Plan, server: DemoServer, *, user: str | None) -> str:
    """Return the same for Apache as Debian builds it; `user` is that of its workers if root starts it."""
    home = plan.home(server)
    modules = "\n".join(
        f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so" for name in ("mpm_event", "authz_core", "rewrite")
    )
    become = f"User {user}\nGroup {user}\n" if user else ""
    return f"""\
ServerRoot {home}
ServerName {server.name}
DefaultRuntimeDir {home}
PidFile {plan.pid_file(server)}
ErrorLog /dev/stderr
LogLevel warn
{modules}
{become}Listen {listen_address(plan, server)}:{plan.web_port}
StartServers 1
KeepAliveTimeout 3600
MaxKeepAliveRequests 0
RewriteEngine on
RewriteRule ^ - [R=200,L]
ErrorDocument 200 "{page(server)}"
"""


def haproxy_config(plan: Plan, *, front: str, stats: str) -> str:
    """Return the balancer's configuration, much as the operator's manual recommends it.

    `front` and `stats` are where it listens for clients and for its statistics page, as `bind` takes them.

    With `disable-on-404` HAProxy distinguishes a draining server from a dead one: after the first NOT FOUND the server
    gets no new clients (stopping), while its present clients may finish. Only a server that does not answer is DOWN.
    `retries 0` is for the demo: otherwise HAProxy would try another server if the first one failed, and a client would
    not see the cost of a death.
    """
    servers = "\n".join(f"    server {server.name} {server.address}:{plan.web_port}" for server in plan.servers)
    return f"""\
global
    log {plan.log_socket} format raw local0
    stats socket {plan.stats_socket} mode 600
    nbthread 1

defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    timeout check 1s
    retries 0
    # Idle connections that are kept for later use would count as clients.
    option http-server-close

frontend clients
    bind {front}
    default_backend web

backend web
    log global
    balance roundrobin
    option httpchk GET /health
    http-check disable-on-404
    option log-health-checks
    default-server check port {plan.health_port} inter {_ms(PROBE_INTERVAL)} fall {PROBE_FALL} rise {PROBE_RISE}
{servers}

frontend stats
    bind {stats}
    stats enable
    stats uri /
    stats refresh 1s
"""


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
