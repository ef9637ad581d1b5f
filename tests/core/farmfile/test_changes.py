"""What of a farm file has changed, in the words of the file."""

import pytest

from hcsidecar.core.farmfile.changes import changed_settings
from hcsidecar.core.farmfile.farm_file import FarmFile, read

WEB1 = {"name": "web1", "address": "192.0.2.1"}
WEB2 = {"name": "web2", "address": "192.0.2.2"}
APP = {"type": "tcp", "name": "APP", "address": "127.0.0.1", "port": 80}


def farm(**tables):
    found = read({"farm": {"name": "apache"}, "node": [WEB1, WEB2], "check": [APP], **tables})
    assert isinstance(found, FarmFile), found
    return found


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ({}, ()),
        ({"health": {"lame_duck": "50s"}}, ("health.lame_duck",)),
        ({"check": [APP | {"port": 81}]}, ("[[check]] APP",)),
        ({"check": [APP, APP | {"name": "MORE", "port": 81}]}, ("[[check]] MORE",)),
        ({"check": []}, ("[[check]] APP",)),
        ({"node": [WEB1]}, ("[[node]] web2",)),
        ({"web": {"tls": {"cert": "a", "key": "b"}}}, ("web.tls",)),
        ({"heartbeat": {"preset": "wan"}, "log": {"keep": "2d"}}, ("heartbeat", "log.keep")),
    ],
)
def test_what_has_changed_is_named_as_in_the_file(tables, named):
    found = changed_settings(farm(), farm(**tables))
    assert len(found) >= len(named)
    assert all(any(each.startswith(name) for each in found) for name in named)
    assert bool(found) == bool(named)
