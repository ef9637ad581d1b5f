"""A farm in a temporary directory: its farm file, key file, certificates and scripts."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

from hcsidecar.farmfile.loading import LoadedFarm, load
from hcsidecar.net.keyring import Keyring

FARM = """
[farm]
name = "apache"
[[node]]
name = "web1"
address = "127.0.0.1"
[[node]]
name = "web2"
address = "192.0.2.12"
[application]
start = "bin/start"
stop = "bin/stop"
"""
TLS = """
[web.tls]
cert = "bin/farm.crt"
key = "bin/farm.pem"
"""
SCRIPT = "#!/bin/sh\n"


def make_farm(directory: Path, text: str = FARM, *, farm_file: str = "farm.toml") -> LoadedFarm:
    """Write a farm with two scripts and load it."""
    directory.mkdir(exist_ok=True)
    (directory / farm_file).write_text(text)
    Keyring.create(directory / "farm.key", now=datetime(2026, 1, 1, tzinfo=UTC)).write(replace=False)
    script(directory / "bin/start")
    script(directory / "bin/stop")
    return load(directory / farm_file)


def script(path: Path, text: str = SCRIPT) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def make_certificate(directory: Path) -> None:
    """Write the certificate and key that TLS names."""
    (directory / "bin").mkdir(parents=True, exist_ok=True)
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=farm"
    files = ["-keyout", directory / "bin/farm.pem", "-out", directory / "bin/farm.crt"]
    subprocess.run([*new.split(), *files], check=True, capture_output=True)
