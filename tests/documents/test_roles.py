"""Every verb of the API is either in the table of roles, or known to be for nobody who comes with a role."""

import re

from hcsidecar.api import access, application, certificates, joining, keys, routes, settings
from hcsidecar.core.access.roles import PERMISSIONS

VERB = re.compile(r"^ *(GET|POST) +/api/v1/(\S+)", re.MULTILINE)
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*\b")
FOR_NOBODY = {
    # Of the application, for its own node.
    *("POST requests/*", "POST reports/*", "POST budget/count"),
    # Of the nodes among themselves.
    *("POST notifications", "POST settings/checks", "POST settings/messages"),
    *("GET access/digest", "GET access/record", "POST access/record"),
    *("GET keys/*", "POST keys/steps", "GET keys/material/*"),
    # Of the console, which asks for itself.
    *("GET access/verification", "POST access/uses", "POST access/links/use"),
    *("GET certificates/console", "POST certificates/console"),
    # Of commands on the machine itself.
    *("POST access/links",),
}


def verbs():
    """Give the verbs that the modules of the API say that they serve."""
    for module in (routes, application, settings, access, joining, keys, certificates):
        for method, path in VERB.findall(module.__doc__):
            yield f"{method} {VARIABLE.sub('*', path.rstrip(','))}"


def test_who_adds_a_verb_to_the_api_says_which_role_may_use_it():
    served = list(verbs())
    permitted = [f"{each.method} {each.path}" for each in PERMISSIONS]
    assert sorted([*permitted, *FOR_NOBODY]) == sorted(served)
