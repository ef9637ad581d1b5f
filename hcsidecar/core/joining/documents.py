"""What `hcsidecar join --json` prints."""

from collections.abc import Mapping

import msgspec


class JoinReport(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a server that was to join a farm."""

    joined: bool = False
    "It has all files of a node, and is in the farm file of all others."
    node: str
    "Its name."
    farm: str = ""
    "Empty where the node that was asked has not told it."
    issuer: str = ""
    "The node that was asked."
    addresses: Mapping[str, str] = {}
    "By network."
    config: str = ""
    "Where its farm file is."
    plan: tuple[str, ...] = ()
    "What adding it does, for people."
    problems: tuple[str, ...] = ()
    "Why it has not joined, all reasons; or, where it has, what is to be minded."
    written: tuple[str, ...] = ()
    "The files that were made."
    set_aside: Mapping[str, str] = {}
    "What was there of an earlier node, and where that is now."
