"""Judges what the clients of the virtual IP saw, each of which has its own address, against the promises. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hcsidecar.demo.judge import (
    HANG_NOTICED_WITHIN,
    PromiseResult,
    Request,
    RequestLog,
    Summary,
    fails_only_if_begun_in_time,
    in_time,
    no_request_fails,
    summarise,
)

WAY = "through the VIP"
LATELY = 1.0
"Seconds in which every client sends more than one request."
SERVED_AGAIN_WITHIN = 3.0
"Seconds from a server's death until its clients are served again: the takeover, and the repetition of a lost SYN."
RESCUED_WITHIN = HANG_NOTICED_WITHIN + LATELY
"Seconds from a hang until its clients are served again: it is noticed, and then each client sends a new request."


def servers_of(requests: Iterable[Request]) -> dict[str, str]:
    """Return, by client, the server that it reached with its latest new connection."""
    return {request.client: request.server for request in requests if request.server is not None and not request.kept}


def clients_of(server: str, requests: Iterable[Request]) -> list[str]:
    """Return the clients whose latest new connection reached a server."""
    return [client for client, met in servers_of(requests).items() if met == server]


def lost_connections(requests: Iterable[Request]) -> list[Request]:
    """Return the requests that found their client's kept connection broken, or got no answer over it."""
    return [request for request in requests if request.kept and (request.lost or request.complaint)]


def one_server_each(requests: Sequence[Request], clients: Sequence[str], servers: Sequence[str]) -> PromiseResult:
    """Judge new connections while nothing changes: each client must reach one server, and each server have clients."""
    met: defaultdict[str, set[str]] = defaultdict(set)
    for request in requests:
        if request.server is not None and not request.kept:
            met[request.client].add(request.server)
    strange = [
        f"{client} met {' and '.join(sorted(met[client])) or 'nobody'}" for client in clients if len(met[client]) != 1
    ]
    count = Counter(server for client in clients for server in met[client])
    return PromiseResult(
        promise="every client meets one server, every server has clients",
        kept=not strange and set(count) == set(servers),
        found="; ".join(strange) or ", ".join(f"{server} has {count[server]}" for server in servers),
    )


def no_connection_breaks(requests: Sequence[Request], clients: Sequence[str]) -> PromiseResult:
    """Judge the connections that these clients keep."""
    keeping = {request.client for request in requests if request.kept and request.client in clients}
    lost = [request for request in lost_connections(requests) if request.client in clients]
    return PromiseResult(
        promise="no connection breaks that a client keeps",
        kept=bool(keeping) and not lost,
        found=f"{len(lost)} of {len(keeping)} broke{_how(lost)}",
    )


def nobody_new_meets(server: str, requests: Sequence[Request]) -> PromiseResult:
    """Judge a drain: no new connection must reach the server while it lasts."""
    new = [request for request in requests if not request.kept]
    met = sum(request.server == server for request in new)
    kept = {request.client for request in requests if request.server == server and request.kept}
    return PromiseResult(
        promise=f"no new connection meets {server}",
        kept=bool(new) and not met,
        found=f"{met} of {len(new)} do; {len(kept)} clients go on over the one that they keep",
    )


def others_undisturbed(requests: Sequence[Request], victims: Sequence[str]) -> PromiseResult:
    """Judge a death, which must not affect the clients of other servers."""
    others = [request for request in requests if request.client not in victims]
    failed = sum(request.complaint is not None for request in others)
    lost = lost_connections(others)
    return PromiseResult(
        promise="no other client is disturbed",
        kept=bool(others) and not failed and not lost,
        found=f"{len({request.client for request in others})} clients, {len(others)} requests: {failed} failed, "
        f"{len(lost)} kept connections broke{_how(lost)}",
    )


def served_again(
    requests: Sequence[Request],
    server: str,
    victims: Sequence[str],
    *,
    death: float,
    limit: float = SERVED_AGAIN_WITHIN,
) -> PromiseResult:
    """Judge how soon other servers serve the clients of the dead server."""
    first: dict[str, float] = {}
    for request in requests:
        if request.client in victims and request.server not in {None, server} and request.ended >= death:
            first.setdefault(request.client, request.ended - death)
    took = max(first.values()) if victims and len(first) == len(set(victims)) else None
    return in_time(f"the {len(victims)} clients of {server} are served by others", took, limit=limit)


class Clients:
    """The clients of the virtual IP: their log of requests, and the verdicts on each step of the story."""

    def __init__(self, record: RequestLog, addresses: Sequence[str], servers: Sequence[str]) -> None:
        self.record = record
        self._addresses = addresses
        self._servers = servers

    def summary(self, begin: float, end: float) -> Summary:
        """Return the summary of the requests that ended between two times; the gap is the longest one of any client."""
        requests = self.record.between(begin, end)
        gaps = (
            summarise([request for request in requests if request.client == client], begin=begin, end=end).longest_gap
            for client in self._addresses
        )
        return replace(summarise(requests, begin=begin, end=end), longest_gap=max(gaps))

    def all_up(self, begin: float, end: float) -> tuple[PromiseResult, ...]:
        """Judge a period in which nothing changed."""
        requests = self.record.between(begin, end)
        return no_request_fails(requests, way=WAY), one_server_each(requests, self._addresses, self._servers)

    def drained(
        self, server: str, begin: float, *, drained: float, resumed: float, end: float
    ) -> tuple[PromiseResult, ...]:
        """Judge a drain: its begin, when all nodes knew of it, its end by `resume`, and some time after that."""
        requests = self.record.between(begin, end)
        meanwhile = [request for request in self.record.between(drained, resumed) if request.began >= drained]
        return (
            no_request_fails(requests, way=WAY),
            nobody_new_meets(server, meanwhile),
            no_connection_breaks(requests, self._addresses),
        )

    def stopped(self, server: str, begin: float, end: float) -> tuple[PromiseResult, ...]:
        """Judge a gentle stop."""
        requests = self.record.between(begin, end)
        leaving = self._with(server, before=begin)
        staying = [client for client in self._addresses if client not in leaving]
        return no_request_fails(requests, way=WAY), no_connection_breaks(requests, staying)

    def killed(self, server: str, death: float, end: float) -> tuple[PromiseResult, ...]:
        """Judge a sudden death."""
        requests = self.record.between(death, end)
        victims = self._with(server, before=death)
        return others_undisturbed(requests, victims), served_again(requests, server, victims, death=death)

    def hung(self, server: str, hang: float, *, steady: float, end: float) -> tuple[PromiseResult, ...]:
        """Judge a web server that hung and was restarted; from `steady` on nothing has changed."""
        requests = self.record.between(hang, end)
        victims = self._with(server, before=hang)
        return (
            others_undisturbed(requests, victims),
            served_again(requests, server, victims, death=hang, limit=RESCUED_WITHIN),
            fails_only_if_begun_in_time(requests, hang=hang, limit=HANG_NOTICED_WITHIN, way=WAY),
            self._one_server_each(steady, end),
        )

    def returned(self, begin: float, *, steady: float, end: float) -> tuple[PromiseResult, ...]:
        """Judge the return of servers; from `steady` on nothing has changed."""
        requests = self.record.between(begin, end)
        return (
            no_request_fails(requests, way=WAY),
            no_connection_breaks(requests, self._addresses),
            self._one_server_each(steady, end),
        )

    def _one_server_each(self, steady: float, end: float) -> PromiseResult:
        since = [request for request in self.record.between(steady, end) if request.began >= steady]
        return one_server_each(since, self._addresses, self._servers)

    def _with(self, server: str, *, before: float) -> list[str]:
        """Return the clients that reached a server before a time, with a new connection or with the kept one."""
        return sorted(
            {request.client for request in self.record.between(before - LATELY, before) if request.server == server}
        )


def _how(lost: Sequence[Request]) -> str:
    ways = Counter(request.lost or request.complaint for request in lost)
    return f" ({', '.join(f'{count} × {way}' for way, count in ways.items())})" if ways else ""
