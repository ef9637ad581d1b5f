"""The network of a namespace as it is found, to be compared with how it is left."""

import difflib
import json
import re

from lan.namespaces import run

# What changes when another test, in namespaces of its own, lets the kernel load a module.
_RESTLESS = re.compile(r"^net\.(netfilter|nf_conntrack|bridge)\b")
# What changes by itself.
_RESTLESS_KEYS = {"preferred_life_time", "valid_life_time", "expires", "age", "cache", "id", "stats"}

_QUESTIONS = {
    "addresses": "ip -j addr show",
    "links": "ip -j -details link show",
    "routes": "ip -j route show table all",
    "IPv6 routes": "ip -j -6 route show table all",
    "rules": "ip -j rule show",
    "IPv6 rules": "ip -j -6 rule show",
    "multicast groups": "ip -j maddress show",
    "queueing": "tc -j qdisc show",
    "ingress filters": "tc -j filter show dev eth0 ingress",
    "egress filters": "tc -j filter show dev eth0 egress",
    "programs": "bpftool -j net show",
    "nftables": "nft -j list ruleset",
    "iptables": "iptables-save",
    "ip6tables": "ip6tables-save",
    "kernel parameters": "sysctl -a --pattern ^net\\.",
}


def as_found(host):
    """Give what the kernel says of a host's network, by question."""
    return {about: _settled(run(host.namespace, *question.split())) for about, question in _QUESTIONS.items()}


def differences(before, after):
    """Say what differs between two looks at a network, line by line; nothing when it is left as found."""
    return [
        f"{about}: {line}"
        for about in before
        for line in difflib.unified_diff(before[about], after[about], lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]


def _settled(text):
    """Give the lines of an answer without what means nothing."""
    if text.startswith(("[", "{")):
        return json.dumps(_without_restless(json.loads(text)), indent=1, sort_keys=True).splitlines()
    return [line for line in text.splitlines() if not line.startswith("#") and not _RESTLESS.search(line)]


def _without_restless(found):
    if isinstance(found, dict):
        return {key: _without_restless(value) for key, value in found.items() if key not in _RESTLESS_KEYS}
    return [_without_restless(value) for value in found] if isinstance(found, list) else found
