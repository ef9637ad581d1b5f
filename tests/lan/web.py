"""The application of a site's servers: nginx, which answers with the server's name, and an echo of datagrams."""

import contextlib
import selectors
import socket
import subprocess
import threading
from pathlib import Path

from daemons import wait_for
from lan.namespaces import inside

PORT, SECOND_PORT = 80, 8080
UDP_PORT = 5300
_IP_FREEBIND = 15

_CONFIG = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/uploads;
    server {{
        listen 80 backlog=4096;
        listen [::]:80 backlog=4096;
        listen 8080;
        listen [::]:8080;
        location / {{ return 200 "{name}\n"; }}
        location /files/ {{ root {directory}; dav_methods PUT; }}
    }}
}}
"""


class WebServer:
    """nginx on one server of a site."""

    def __init__(self, host, directory):
        self.host = host
        self.directory = Path(directory) / f"nginx-{host.name}"
        self.files = self.directory / "files"
        "What lies here is at /files/; an upload lands here."
        self._process = None

    def start(self):
        """Start it; give it when it accepts connections."""
        self.files.mkdir(parents=True, exist_ok=True)
        config = self.directory / "nginx.conf"
        config.write_text(_CONFIG.format(directory=self.directory, name=self.host.name))
        # The default error log, which nginx opens before it reads the configuration, is not this one's to write.
        command = ["nginx", "-e", str(self.directory / "error.log"), "-c", str(config)]
        self._process = subprocess.Popen(["ip", "netns", "exec", self.host.namespace, *command])
        wait_for(self._accepts, what=f"nginx on {self.host.name}")
        return self

    def end(self):
        """End it and its worker."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _accepts(self):
        assert self._process.poll() is None, (self.directory / "error.log").read_text()
        with inside(self.host.namespace), socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", PORT)) == 0


@contextlib.contextmanager
def web_servers(site):
    """Run nginx on every server of the site; gives them by name."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for name, host in site.servers.items():
            servers[name] = WebServer(host, site.directory)
            stack.callback(servers[name].end)
            servers[name].start()
        yield servers


@contextlib.contextmanager
def datagram_echo(hosts, addresses):
    """Answer every datagram at these addresses of each host with the host's name before it, until the block ends.

    The sockets are bound to the addresses one by one, as a server must that answers from the address it was asked at.
    """
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        for host in hosts:
            for address in addresses:
                answering = stack.enter_context(_bound(host, address))
                selector.register(answering, selectors.EVENT_READ, host.name.encode())
        wake, end = socket.socketpair()
        stack.enter_context(wake)
        stack.enter_context(end)
        selector.register(end, selectors.EVENT_READ, None)
        thread = threading.Thread(target=_echo, args=(selector,), name="echo")
        thread.start()
        try:
            yield
        finally:
            wake.close()
            thread.join()


def _bound(host, address):
    with inside(host.namespace):
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    made.bind((address, UDP_PORT))
    made.settimeout(0)
    return made


def _echo(selector):
    while True:
        for key, _ in selector.select():
            if key.data is None:
                return
            with contextlib.suppress(OSError):
                question, asker = key.fileobj.recvfrom(65536)
                key.fileobj.sendto(key.data + b" " + question, asker)
