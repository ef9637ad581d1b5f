"""/metrics on the web listener, `GET /api/v1/metrics` and `hcsidecar metrics`: what each gives, and to whom."""

import asyncio
import contextlib
import http.client
import re
import secrets
import socket
import subprocess
import sys
import urllib.request

import pytest
from api_nodes import KEYS, FakeControl, told
from cli_farm import cli_farm
from daemons import fetch, real_farm, wait_for
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from waiting import until

from hcsidecar.api.auth import Verifier
from hcsidecar.api.farm import farm_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import tcp_protocols
from hcsidecar.core.metric_catalogue import CATALOGUE, Family, MetricKind, Sample
from hcsidecar.web.exposition import Form, form_for, render
from hcsidecar.web.metrics_page import MetricsPage

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"What Prometheus 3 says that it accepts."
TEXT_0_0_4 = "text/plain; version=0.0.4; charset=utf-8"


def family(name, kind, *samples):
    return Family(
        name=name,
        kind=kind,
        help=f"What {name} is.",
        samples=tuple(Sample(labels=labels, value=value) for labels, value in samples),
    )


FAMILIES = (
    family("hcsidecar_build_info", MetricKind.INFO, ({"node": "web1", "version": "1.2.3"}, 1)),
    family("hcsidecar_ready", MetricKind.GAUGE, ({"node": "web1"}, 1)),
    family(
        "hcsidecar_events_total",
        MetricKind.COUNTER,
        ({"node": "web1", "level": "info"}, 2**53),
        ({"node": "web1", "level": "error"}, 0),
    ),
)


def samples_of(families):
    return {(s.name, *sorted(s.labels.items())): s.value for each in families for s in each.samples}


EXPECTED = {
    ("hcsidecar_build_info", ("node", "web1"), ("version", "1.2.3")): 1,
    ("hcsidecar_ready", ("node", "web1")): 1,
    ("hcsidecar_events_total", ("level", "info"), ("node", "web1")): 2**53,
    ("hcsidecar_events_total", ("level", "error"), ("node", "web1")): 0,
}


def test_the_text_says_what_the_families_say():
    text, content_type = render(FAMILIES)
    assert content_type == TEXT_0_0_4
    parsed = list(parse(text.decode()))
    assert samples_of(parsed) == EXPECTED
    assert [each.type for each in parsed] == ["gauge", "gauge", "counter"]
    assert parsed[1].documentation == "What hcsidecar_ready is."


def test_openmetrics_says_the_same():
    text, content_type = render(FAMILIES, Form.OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    parsed = list(parse_openmetrics(text.decode()))
    assert samples_of(parsed) == EXPECTED
    assert [each.type for each in parsed] == ["info", "gauge", "counter"]


def test_no_label_breaks_the_text():
    nasty = 'a"b\\c\nd}e 1.0'
    text, _ = render([family("hcsidecar_ready", MetricKind.GAUGE, ({"check": nasty}, 1))])
    assert samples_of(parse(text.decode())) == {("hcsidecar_ready", ("check", nasty)): 1}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.TEXT),
        ("*/*", Form.TEXT),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", Form.TEXT),
        (PROMETHEUS_3, Form.OPENMETRICS),
        ("application/openmetrics-text", Form.OPENMETRICS),
        ("application/openmetrics-text; version=0.0.1", Form.TEXT),
        ("application/openmetrics-text;version=99.bogus", Form.OPENMETRICS),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", Form.TEXT),
    ],
)
def test_who_asks_for_openmetrics_gets_it_and_everybody_else_the_text_format(accept, form):
    assert form_for(accept) is form


@given(st.text())
def test_no_accept_header_leads_elsewhere(accept):
    assert form_for(accept) in Form


class Counted:
    """Families that know how often they were asked for."""

    def __init__(self, families=FAMILIES):
        self.families = families
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.families


@contextlib.asynccontextmanager
async def page(metrics, **settings):
    """Run the TCP door of a node with the page; gives a function that asks, and the address."""
    control = FakeControl(node="web1", nodes={})
    verifier = Verifier(
        keys=lambda: KEYS, farm="apache", node="web1", nodes=("web1",), draw=lambda: secrets.token_hex(16)
    )
    app = farm_app(Api(control), verifier, public=MetricsPage(metrics, **settings).routes())
    async with tcp_protocols(app) as protocols:
        server = await asyncio.get_running_loop().create_server(protocols, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()

        def ask_now(method, path, accept):
            connection = http.client.HTTPConnection(*address, timeout=10)
            try:
                connection.request(method, path, headers={"Accept": accept})
                response = connection.getresponse()
                return response.status, dict(response.getheaders()), response.read()
            finally:
                connection.close()

        async def ask(method="GET", path="/metrics", accept="*/*"):
            return await asyncio.to_thread(ask_now, method, path, accept)

        try:
            yield ask, address
        finally:
            server.close()


def paged(story, metrics=None, **settings):
    """Run `story(ask, address)` with a page."""

    async def told():
        async with page(metrics or Counted(), **settings) as given:
            return await story(*given)

    return asyncio.run(told())


def test_anybody_may_read_the_page_and_nobody_may_do_more():
    async def story(ask, _address):
        return [
            await ask("GET"),
            await ask("HEAD"),
            await ask("POST"),
            await ask("DELETE"),
            await ask(path="/metrics/"),
        ]

    got, head, post, delete, beyond = paged(story)
    assert (got[0], got[1]["Content-Type"], got[1]["Cache-Control"]) == (200, TEXT_0_0_4, "no-store")
    assert samples_of(parse(got[2].decode())) == EXPECTED
    assert (head[0], head[1]["Content-Length"], head[2]) == (200, str(len(got[2])), b"")
    for refused in (post, delete):
        assert (refused[0], refused[1]["Allow"], refused[2]) == (405, "GET,HEAD", b"METHOD NOT ALLOWED\n")
    assert (beyond[0], beyond[2]) == (401, b"")
    assert "Server" not in got[1]


def test_prometheus_itself_gets_openmetrics():
    status, headers, body = paged(lambda ask, _address: ask(accept=PROMETHEUS_3))
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "application/openmetrics-text")
    assert samples_of(parse_openmetrics(body.decode())) == EXPECTED


def test_who_asks_often_gets_what_is_written_already():
    metrics = Counted()

    async def story(ask, _address):
        for accept in ("*/*", PROMETHEUS_3):
            for _ in range(20):
                await ask(accept=accept)
        return metrics.asked

    assert paged(story, metrics, fresh=3600.0) == 2


def test_a_page_that_is_old_is_written_anew():
    metrics = Counted()

    async def story(ask, _address):
        before = (await ask())[2]
        metrics.families = FAMILIES[1:2]
        return before, (await ask())[2]

    before, after = paged(story, metrics, fresh=0.0)
    assert b"hcsidecar_build_info" in before
    assert b"hcsidecar_build_info" not in after


def test_who_reads_nothing_holds_up_nobody():
    many = Counted([family("hcsidecar_ready", MetricKind.GAUGE, *(({"peer": f"web{n}"}, n) for n in range(50_000)))])

    async def story(ask, address):
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                silent = stack.enter_context(socket.create_connection(address))
                silent.sendall(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n" * 3)
            await until(lambda: many.asked > 0)
            return await ask(path="/api/v1/status"), await ask("HEAD")

    # Written once, however slow the machine.
    (status, _, body), (page_status, _, _) = paged(story, many, fresh=3600.0)
    assert (status, body) == (401, b"")
    assert page_status == 200


def test_the_library_is_loaded_for_who_asks_and_not_before():
    script = (
        "import sys, hcsidecar.daemon.start, hcsidecar.web.metrics_page\n"
        "assert not [name for name in sys.modules if name.startswith('prometheus_client')]\n"
        "import hcsidecar.web.exposition\n"
        "assert 'prometheus_client' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# Through the socket


def test_the_api_gives_them_as_json_also_for_another_node(tmp_path):
    def prepare(nodes):
        nodes["web1"].control.families = FAMILIES[1:2]
        nodes["web2"].control.families = FAMILIES[:1]

    answers, _ = told(
        tmp_path,
        ("GET", "/api/v1/metrics"),
        ("GET", "/api/v1/nodes/web2/metrics"),
        ("POST", "/api/v1/metrics"),
        prepare=prepare,
    )
    (status, [ready]), (relayed, [build]), (refused, _) = answers
    assert (status, relayed, refused) == (200, 200, 405)
    assert ready == {
        "name": "hcsidecar_ready",
        "kind": "gauge",
        "help": "What hcsidecar_ready is.",
        "samples": [{"labels": {"node": "web1"}, "value": 1}],
    }
    assert build["name"] == "hcsidecar_build_info"


def test_the_command_prints_them_as_text_for_any_node():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            nodes["web1"].control.families = FAMILIES
            nodes["web2"].control.families = FAMILIES[1:2]
            return await farm.give("metrics"), await farm.give("metrics", "--node", "web2")

    with cli_farm() as farm:
        own, other = asyncio.run(story(farm))
    assert (own.exit_code, samples_of(parse(own.stdout))) == (0, EXPECTED)
    assert own.stdout == render(FAMILIES).text.decode()
    assert (other.exit_code, [each.name for each in parse(other.stdout)]) == (0, ["hcsidecar_ready"])


def test_without_a_daemon_the_command_prints_nothing_and_fails():
    with cli_farm() as farm:
        done = asyncio.run(farm.give("metrics"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no daemon of node web1 is running here" in done.stderr


# A real daemon


def scraped(farm, name):
    """Give what a node's page says, by family and its own labels in alphabetical order."""
    families = parse(fetch(farm.url(name, "/metrics"))[2])
    return {
        (
            s.name.removeprefix("hcsidecar_"),
            *(v for k, v in sorted(s.labels.items()) if k not in ("farm", "node")),
        ): s.value
        for each in families
        for s in each.samples
    }


def test_a_real_daemon_tells_what_it_does(tmp_path):
    check = '[[check]]\ntype = "tcp"\nname = "CLOSED"\naddress = "@1"\nport = 9\ninterval = "100ms"\n'
    target = '[[target]]\ntype = "command"\nname = "pool"\ncommand = ["bin/not-there"]\n'
    with real_farm(tmp_path, names=("web1", "web2"), extra=check + target) as farm:
        farm.start()
        wait_for(lambda: farm.health("web1") == 404, what="an answer of web1")
        wait_for(lambda: scraped(farm, "web1").get(("check_passing", "CLOSED")) == 0, what="a check that fails")
        samples = wait_for(
            lambda: (now := scraped(farm, "web1"))["nodes_heard",] == 2 and now["heartbeats_received_total",] and now,
            what="web2 heard",
        )
        assert (samples["ready",], samples["module_role", "UP"], samples["farm_nodes",]) == (0, 1, 2)
        assert samples["health_answers_total", "404"] >= 1
        assert samples["heartbeats_sent_total",] > 0
        assert samples["peer_heard", "web2"] == 1
        assert samples["events_total", "warning"] >= 1
        wait_for(lambda: scraped(farm, "web1")["target_failures_total", "pool", "config"] >= 1, what="a failed call")
        assert scraped(farm, "web1")["target_as_wished", "pool"] == 0
        assert 20e6 < samples["process_resident_memory_bytes",] < 200e6
        assert samples["process_cpu_seconds_total",] > 0

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"hello", (farm.addresses["web1"], 4803))
        wait_for(lambda: scraped(farm, "web1")["heartbeats_dropped_total", "too short"] == 1, what="a dropped datagram")

        request = urllib.request.Request(  # noqa: S310 - our own server on loopback
            farm.url("web1", "/metrics"), headers={"Accept": PROMETHEUS_3}
        )
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            families = list(parse_openmetrics(response.read().decode()))
        known = {re.sub(r"_(total|info)$", "", metric.name) for metric in CATALOGUE}
        assert {each.name for each in families} <= known

        printed = farm.cli("metrics", node="web2")
        assert (printed.returncode, printed.stderr) == (0, "")
        assert 'node="web2"' in printed.stdout

        farm.kill("web2")
        wait_for(lambda: scraped(farm, "web1")["peer_heard", "web2"] == 0, what="web2 unheard")
        assert farm.cli("stop", node="web1").returncode == 0
        stopped = wait_for(lambda: (now := scraped(farm, "web1"))["module_role", "STOP"] and now, what="STOP")
        # What is not made any more has no result.
        assert ("check_passing", "CLOSED") not in stopped
