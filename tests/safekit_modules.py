"""Modules of SafeKit for tests: written as XML, read by the real reader, imported without a disk."""

import tomllib

from hcsidecar.core.safekit.conversion import Imported, import_module
from hcsidecar.core.safekit.source import ImportOptions, SafekitModule
from hcsidecar.safekit.xml import read_xml

SCRIPTS = {"start_both": b"#!/bin/sh\n", "stop_both": b"#!/bin/sh\n"}
NODES = (("web1", "192.0.2.11"), ("web2", "192.0.2.12"))
VIP = (
    "<vip><interface_list><interface check='off'><virtual_interface type='vmac_directed'>"
    "<virtual_addr addr='192.0.2.50'/></virtual_interface></interface></interface_list>"
    "<loadbalancing_list><group name='WEB'><rule port='80' proto='tcp' filter='on_addr'/></group>"
    "</loadbalancing_list></vip>"
)


def xml(inside="", *, service="", farm="<farm><lan name='default'/></farm>", user="<user/>", before=""):
    """Write a configuration: what stands in <service>, its attributes, and what stands before it."""
    return f"<safe>{before}<service mode='farm' {service}>{farm}{user}{inside}</service></safe>"


def imported(text, *, scripts=SCRIPTS, name="web_farm", macros=None, nodes=NODES, wanted=None, others=()):
    """Import a configuration; an Imported or the problems."""
    root = read_xml(text.encode(), "userconfig.xml")
    module = SafekitModule(name=name, root=root, scripts=scripts, others=others)
    return import_module(module, ImportOptions(name=wanted, macros=macros or {}, nodes=nodes))


def good(text, **more):
    """Import a configuration that can be; gives the farm file as it is written, and the notes."""
    result = imported(text, **more)
    assert isinstance(result, Imported), "\n".join(map(str, result))
    return tomllib.loads(result.text), {note.subject: note for note in result.notes}


def refused(text, **more):
    """Import a configuration that cannot be; gives the problems, each as a line."""
    result = imported(text, **more)
    assert not isinstance(result, Imported)
    return [str(problem) for problem in result]
