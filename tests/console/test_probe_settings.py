"""A real HAProxy accepts the backend that the console gives to copy."""

import subprocess

import pytest
from farm_texts import TWO_NODES, farm_of
from haproxy import needs_haproxy

from hcsidecar.core.console.probe_settings import ProbingBalancer, probe_settings

HEAD = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend clients
    bind 127.0.0.1:8080
    default_backend apache
"""
HEALTH = '[health]\nlisten = ["0.0.0.0:9443"]\nagent_check = "0.0.0.0:9011"\npath = "/it\'s;$(id)&x"\n'
TLS = '[health.tls]\ncert = "a"\nkey = "b"\n'
IPV6 = TWO_NODES.replace("192.0.2.", "2001:db8::") + '[web]\nlisten = ["[::]:9010"]\n'


@needs_haproxy
@pytest.mark.parametrize("text", [TWO_NODES, TWO_NODES + HEALTH + TLS, IPV6])
def test_haproxy_accepts_its_backend_without_a_warning(text, tmp_path):
    found = probe_settings(farm_of(text), application_port=80)
    [backend] = [each.text for each in found if each.balancer is ProbingBalancer.HAPROXY]
    file = tmp_path / "haproxy.cfg"
    file.write_text(HEAD + backend)
    done = subprocess.run(["haproxy", "-c", "-f", file], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr, done.stderr
