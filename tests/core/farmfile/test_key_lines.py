"""The line of a key in a farm file."""

import pytest

from hcsidecar.core.farmfile.key_lines import line_of

TEXT = '''# A farm.
[farm]
name = "apache"

[[node]]
name = "web1"
address = "192.0.2.11"

[[node]]
name = "web2"   # the second
addresses = { default = "192.0.2.12" }

[application]
start = """
[check]
"""
environment.SERVICES = "x"

[ l2 ]
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
ports = [80,
  443]
[[l2.share]] # two
[l2.share.power]
web1 = 2

[[check]]
"port" = 80
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("farm.name", 3),
        ("farm", 2),
        ("node[1].address", 7),
        ("node[2].name", 10),
        ("node[2].addresses.default", 11),
        ("node[3].name", 1),
        ("application.start", 14),
        ("application.environment.SERVICES", 17),
        ("l2.vip[1].address", 21),
        ("l2.share[1].ports[2]", 23),
        ("l2.share[2].power.web1", 27),
        ("l2.share[2].ports", 25),
        ("check[1].port", 30),
        ("check[1].address", 29),
        ("heartbeat.port", 1),
        ("", 1),
    ],
)
def test_a_key_has_its_line_and_a_missing_one_that_of_its_table(path, line):
    assert line_of(TEXT, path) == line


def test_an_empty_file_has_one_line():
    assert line_of("", "farm.name") == 1
