"""Clients that ask with a datagram: the echo of UDP, and ping."""

import contextlib
import itertools
import select
import socket
import struct
import time
from collections import Counter

from daemons import wait_for
from lan.namespaces import inside
from lan.web import UDP_PORT

_ECHO_REQUEST = {4: 8, 6: 128}
_ECHO_REPLY = {4: 0, 6: 129}
_IDENTIFIER = 0x4843
_LOST_AFTER = 2.0
"Seconds after which another ping goes out."


def ask_each(host, clients, vip, *, question=b"?"):
    """Let each client ask once, from a port of its own; gives the answers by (client, port), each a Counter of servers.

    An answer is the server's name and the whole question. Waits for one answer each; others that come meanwhile count.
    """
    with contextlib.ExitStack() as stack:
        asking = {}
        for client in clients:
            mine = stack.enter_context(_in(host, socket.SOCK_DGRAM, 0, vip))
            mine.bind((client, 0))
            mine.connect((vip, UDP_PORT))
            mine.send(question)
            asking[client, mine.getsockname()[1]] = mine
        answers = {key: Counter() for key in asking}

        def all_answered():
            for key, mine in asking.items():
                for answer in _received(mine):
                    server, _, rest = answer.partition(b" ")
                    assert rest == question, f"{key} got {len(rest)} bytes back, not the {len(question)} it had sent"
                    answers[key][server.decode()] += 1
            return all(answers.values())

        wait_for(all_answered, what="an answer to every datagram")
    return answers


def ping(host, client, vip, *, count):
    """Ping until so many have a reply, one after the other; gives how many replies each of these got.

    A request may be lost on a machine that is overloaded: then another one goes out, with a number of its own.
    """
    family = 6 if ":" in vip else 4
    protocol = socket.IPPROTO_ICMPV6 if family == 6 else socket.IPPROTO_ICMP
    replies = Counter()
    numbers = itertools.count(1)
    with _in(host, socket.SOCK_RAW, protocol, vip) as mine:
        mine.bind((client, 0))

        def replied(wanted):
            for packet in _received(mine):
                message = packet if family == 6 else packet[(packet[0] & 15) * 4 :]
                kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", message)
                if (kind, identifier) == (_ECHO_REPLY[family], _IDENTIFIER):
                    replies[sequence] += 1
            return len(replies) >= wanted

        def replied_in_the_end(wanted):
            mine.sendto(_echo_request(family, next(numbers)), (vip, 0))
            end = time.monotonic() + _LOST_AFTER
            while not (found := replied(wanted)) and time.monotonic() < end:
                select.select([mine], [], [], _LOST_AFTER)
            return found

        for wanted in range(1, count + 1):
            wait_for(lambda wanted=wanted: replied_in_the_end(wanted), what="a reply to a ping")
    return list(replies.values())


def _in(host, kind, protocol, vip):
    with inside(host.namespace):
        made = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, kind, protocol)
    made.settimeout(0)
    return made


def _received(mine):
    with contextlib.suppress(BlockingIOError):
        while True:
            yield mine.recv(65536)


def _echo_request(family, number):
    """Build the message (RFC 792, RFC 4443); the kernel fills in the checksum of ICMPv6, not that of ICMP."""
    message = struct.pack("!BBHHH", _ECHO_REQUEST[family], 0, 0, _IDENTIFIER, number)
    total = sum(struct.unpack("!4H", message))
    return message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]
