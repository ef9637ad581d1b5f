"""What makes the certificates of a console, as in the daemon of web1, without the daemon."""

import sys
from datetime import UTC, datetime
from types import SimpleNamespace

from hcsidecar.core.joining.certificates import CertificateReport
from hcsidecar.daemon.console_certificates import ConsoleCertificates
from hcsidecar.daemon.reconfiguration import SettingsInForce
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.loading import load
from hcsidecar.joining.authority import Authority
from hcsidecar.joining.node_tls import NodeTls
from hcsidecar.net.keyring import Keyring

FARM = """
[farm]
name = "apache"
[[node]]
name = "web1"
addresses = { lan = "192.0.2.11", back = "198.51.100.11" }
[[node]]
name = "web2"
addresses = { lan = "192.0.2.12", back = "198.51.100.12" }
[l2]
interface = "eth0"
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
ports = [80]
"""
ECHO = (sys.executable, "-P", "-c", "import sys; print('{\"problem\":\"' + sys.argv[2] + '\"}')")
"A program that makes none."


def certificates_of_web1(directory, *, authority=True, certified=True, **more):
    """Give the certificates of web1's console, the messages of its events, and a clock with the time in `now`."""
    Keyring.create(directory / "farm.key", now=datetime.now(UTC)).write(replace=False)
    (directory / "farm.toml").write_text(FARM)
    loaded = load(directory / "farm.toml")
    told, clock = [], SimpleNamespace(now=1000.0)
    tls = NodeTls(key_file=loaded.key_file, state_dir=directory, identity=lambda: ("web1", ()), tell=lambda event: None)
    if authority:
        made = Authority.create("apache")
        made.write(AuthorityFiles.beside(loaded.key_file))
        if certified:
            tls.report = CertificateReport(authority=made.certificate.decode())
    certificates = ConsoleCertificates(
        settings=SettingsInForce(loaded, loaded.farm.node[0]),
        tls=tls,
        tell=lambda event: told.append(event.message),
        clock=lambda: clock.now,
        **more,
    )
    return certificates, told, clock
