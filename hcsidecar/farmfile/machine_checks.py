"""Checks for `check-config` of what a farm file names on this machine and a daemon can start without."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from hcsidecar.core.farmfile.check_tables import CommandCheck, CustomCheck, PingCheck, PortCheck
from hcsidecar.core.farmfile.cross_checks import address_place
from hcsidecar.core.farmfile.farm_file import TlsTable
from hcsidecar.core.farmfile.problems import Problem, path_of
from hcsidecar.core.farmfile.raw_tables import KeyPath, RawTables, present
from hcsidecar.core.farmfile.target_tables import CommandTarget
from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.farmfile.dirs import why_no_socket
from hcsidecar.farmfile.places import Places
from hcsidecar.system.programs import why_cannot_start, why_no_interpreter
from hcsidecar.system.secret_file import why_not_read

_ANY_PORT = 9
"Only for connecting a UDP socket; nothing is sent to it."


def problems_here(parts: RawTables, places: Places) -> list[Problem]:
    """Return the problems of what the tables name on this machine."""
    return [
        *_of_the_state_directory(parts),
        *_of_certificates(parts, places.machine),
        *_of_the_application(parts, places),
        *_of_programs(parts, places),
        *_of_receivers(parts, places.machine),
        *_of_addresses(parts),
    ]


def _of_the_state_directory(parts: RawTables) -> Iterator[Problem]:
    if parts.farm is None:
        return
    if parts.farm.state_dir is not None and (file := _no_directory(Path(parts.farm.state_dir))):
        yield Problem(path="farm.state_dir", message=f"is no directory: {file} is a file", hint="name another one")
    too_long = [problem for _, node in parts.nodes if (problem := why_no_socket(parts.farm, node)) is not None]
    yield from too_long[:1]


def _no_directory(path: Path) -> Path | None:
    """Return the file that stands in place of a directory or of one of its parents, or None."""
    return next((each for each in (path, *path.parents) if each.exists() and not each.is_dir()), None)


def _of_certificates(parts: RawTables, directory: Path) -> Iterator[Problem]:
    if parts.web and parts.web.tls:
        yield from _of_certificate("web.tls", parts.web.tls, directory)
    if parts.health and parts.health.tls:
        yield from _of_certificate("health.tls", parts.health.tls, directory)


def _of_certificate(path: str, table: TlsTable, directory: Path) -> Iterator[Problem]:
    cert, key = directory / table.cert, directory / table.key
    if not (cert.is_file() and key.is_file()):
        return  # reported by `loading.load`
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_verify_locations(cert)
    except (OSError, ValueError):
        hint = "the certificate, then its chain, between lines of BEGIN CERTIFICATE and END CERTIFICATE"
        yield Problem(path=f"{path}.cert", message=f"has no certificate in PEM: {cert}", hint=hint)
        return
    try:
        context.load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            message = f"is not the key of the certificate: {key}"
        else:
            message = f"has no private key in PEM, or one with a password: {key}"
        yield Problem(path=f"{path}.key", message=message, hint=f"the key that {cert} was made with")


def _of_the_application(parts: RawTables, places: Places) -> Iterator[Problem]:
    if parts.application is None or parts.application.directory is None:
        return
    wanted = places.working_directory(parts.application.directory)
    if not wanted.is_dir():
        what = "is no directory" if wanted.exists() else "is not there"
        yield Problem(path="application.directory", message=f"{what}: {wanted}", hint=f"mkdir {wanted}, or another one")


def _of_programs(parts: RawTables, places: Places) -> Iterator[Problem]:
    programs: list[tuple[KeyPath, str]] = []
    for index, check in present(parts.check):
        if isinstance(check, CommandCheck | CustomCheck):
            programs.append((("check", index, "command", 0), check.command[0]))
    for index, target in present(parts.target):
        if isinstance(target, CommandTarget):
            programs.append((("target", index, "command", 0), target.command[0]))
    found = [(place, why_cannot_start(places.program(name))) for place, name in programs]
    # Other problems of scripts are reported by `loading.load`.
    scripts = {} if parts.application is None else parts.application.scripts
    found += [(("application", key), why_no_interpreter(places.program(name))) for key, name in scripts.items()]
    for place, why in found:
        if why is not None:
            message, _, hint = why.partition(": ")
            yield Problem(path=path_of(place), message=message, hint=hint or "relative to the farm file, or absolute")


def _of_receivers(parts: RawTables, directory: Path) -> Iterator[Problem]:
    for index, receiver in present(parts.notify):
        for key, name in receiver.files.items():
            why = why_not_read(directory / name, secret=key != "ca_file")
            if why is not None:
                yield Problem(path=path_of(("notify", index, key)), message=why.problem, hint=why.remedy)


def _of_addresses(parts: RawTables) -> Iterator[Problem]:
    for place, address in _addresses(parts):
        if _is_broadcast(address):
            yield Problem(
                path=path_of(place),
                message=f"is the broadcast address of a network of this machine: {address}",
                hint="the address of one server",
            )


def _addresses(parts: RawTables) -> Iterator[tuple[KeyPath, str]]:
    for index, node in parts.nodes:
        for network, address in node.addresses.items():
            yield address_place(index, node, network), address
    for index, vip in parts.vips:
        yield ("l2", "vip", index, "address"), vip.address
    own = (each for _, listeners in parts.own_listeners for each in listeners)
    for place, listener in (*parts.web_listeners, *parts.general_listeners, *own):
        if not listener.is_wildcard:
            yield place, listener.host
    for index, check in present(parts.check):
        if isinstance(check, PortCheck | PingCheck):
            yield ("check", index, "address"), check.address


def _is_broadcast(address: str) -> bool:
    """Return whether an address is a broadcast address: the kernel refuses to connect to it without SO_BROADCAST."""
    if is_ipv6(address):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, _ANY_PORT))
        except PermissionError:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        except OSError:
            return False
        else:
            return False
        try:
            probe.connect((address, _ANY_PORT))
        except OSError:
            return False  # refused for another reason
        return True
