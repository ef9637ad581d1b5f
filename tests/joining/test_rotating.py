"""Farms of real daemons, each with files of its own, that change their keys."""

import json
import shutil

from daemons import wait_for
from health_node import tls_contexts
from joining.machines import machines
from namespaces import needs_namespaces

pytestmark = needs_namespaces

FILES = ("farm.key", "ca.pem", "ca.key", "web1.pem")


def farm_of(found):
    """Make one farm of these servers, each with the same files and an operator's certificate, and start it."""
    first = found[0].init()
    tls_contexts(first.config.parent)
    text = first.config.read_text()
    text += '\n[web.tls]\ncert = "web1.pem"\nkey = "web1.pem"\n'
    for other in found[1:]:
        text += f'\n[[node]]\nname = "{other.name}"\naddress = "{other.address}"\n'
    for machine in found:
        machine.config.parent.mkdir(exist_ok=True)
        # The directories of one machine are not those of another one.
        own = text.replace(str(first.state), str(machine.state))
        machine.config.write_text(own)
        for name in FILES:
            if machine is not first:
                shutil.copy2(first.config.parent / name, machine.config.parent)
        machine.start()
    for machine in found:
        machine.ready().certified()
    names = [machine.name for machine in found]
    for machine in found:
        wait_for(lambda node=machine: node.view() == names, limit=30, what="one view")


def test_a_farm_with_the_operators_certificate_changes_its_keys(tmp_path):
    with machines(tmp_path, "web1", "web2") as found:
        farm_of(found)
        former = {name: (found[0].config.parent / name).read_bytes() for name in ("farm.key", "ca.pem")}
        done = found[1].run("key", "rotate", "--config", found[1].config, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["ok"]
        for name, content in former.items():
            (present,) = {(machine.config.parent / name).read_bytes() for machine in found}
            assert present != content
