"""Farm files as text, and what becomes of them."""

import tomllib

from hcsidecar.core.farmfile.farm_file import (
    FarmFile,
    read,
)
from hcsidecar.core.farmfile.problems import Problem

AWS = """[[target]]
type = "aws"
group = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef"
"""
TWO_NODES = """
[farm]
name = "apache"
[[node]]
name = "web1"
address = "192.0.2.11"
[[node]]
name = "web2"
address = "192.0.2.12"
"""
WITH_VIP = f"""
{TWO_NODES}
[l2]
[[l2.vip]]
address = "192.0.2.50"
"""
WITH_SHARE = f"""
{WITH_VIP}
[[l2.share]]
name = "APACHE"
ports = [80, 443]
"""


def farm_of(text: str) -> FarmFile:
    found = read(tomllib.loads(text))
    assert isinstance(found, FarmFile), "\n".join(map(str, found))
    return found


def problems_of(text: str) -> dict[str, Problem]:
    found = read(tomllib.loads(text))
    assert isinstance(found, tuple), "the file has been accepted"
    assert len({problem.path for problem in found}) == len(found), found
    return {problem.path: problem for problem in found}
