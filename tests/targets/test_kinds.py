"""Kinds of targets from other packages: really installed beside hcsidecar, and what is said when that goes wrong."""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from waiting import on_a_loop

from hcsidecar.farmfile.loading import FarmFileError, load
from hcsidecar.farmfile.other_kinds_process import read_apart
from hcsidecar.net.keyring import Keyring
from hcsidecar.targets.kind import Here, Presence, TargetError, Trouble
from hcsidecar.targets.kinds import kind_of

MANUAL = Path(__file__).parents[2] / "docs" / "manual" / "targets.md"
FARM = '[farm]\nname = "shop"\n[[node]]\nname = "web1"\naddress = "127.0.0.1"\n'
TINY = """
from types import SimpleNamespace
from hcsidecar.targets.kind import Target

class Tiny(Target):
    pool: str
    size: int = 1

    @property
    def own_name(self) -> str:
        return self.pool

KIND = SimpleNamespace(table=Tiny, open=lambda table, here: None)
"""


def fence(info):
    [body] = re.findall(rf"^```{info}\n(.*?)^```$", MANUAL.read_text(), re.MULTILINE | re.DOTALL)
    return body


@pytest.fixture
def install(tmp_path):
    """Install a package of one module, as pip would leave it, for this process."""
    site = tmp_path / "site"
    site.mkdir()
    modules = []

    def put(module, code, points):
        (site / f"{module}.py").write_text(code)
        info = site / f"{module}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[hcsidecar.targets]", *lines]) + "\n")
        modules.append(module)
        return site

    sys.path.insert(0, str(site))
    try:
        yield put
    finally:
        sys.path.remove(str(site))
        for module in modules:
            sys.modules.pop(module, None)


def farm_file(tmp_path, *targets):
    path = tmp_path / "farm.toml"
    path.write_text(FARM + "\n".join(f"[[target]]\n{textwrap.dedent(target)}" for target in targets))
    Keyring.create(tmp_path / "farm.key", now=datetime(2026, 1, 1, tzinfo=UTC)).write(replace=False)
    return path


def problems(path, *, kinds_apart=False):
    with pytest.raises(FarmFileError) as refused:
        load(path, kinds_apart=kinds_apart)
    return [str(problem) for problem in refused.value.problems]


def test_a_kind_reads_its_table_by_its_own_model(tmp_path, install):
    install("tiny", TINY, {"tiny": "tiny:KIND"})
    command = 'type = "command"\ncommand = ["x"]'
    [ours, tiny] = load(farm_file(tmp_path, command, 'type = "tiny"\npool = "a"\npoll = "7s"')).farm.target
    assert (ours.type, tiny.pool, tiny.size, tiny.poll, tiny.label) == ("command", "a", 1, 7.0, "a")


def test_the_daemon_knows_of_such_a_target_what_its_model_says_without_loading_the_package(
    tmp_path, install, monkeypatch
):
    code = TINY.replace("KIND = ", "Tiny.call_limit, Tiny.deregisters_first = 9.5, True\nKIND = ")
    monkeypatch.setenv("PYTHONPATH", str(install("tiny", "print('hello')\n" + code, {"tiny": "tiny:KIND"})))
    path = farm_file(tmp_path, 'type = "command"\ncommand = ["x"]', 'type = "tiny"\npool = "a"\npoll = "7s"')
    loaded = load(path, kinds_apart=True)
    [ours, tiny] = loaded.farm.target
    assert (ours.type, tiny.type, tiny.label, tiny.policy, tiny.poll) == ("command", "tiny", "a", "member", 7.0)
    assert (tiny.hold_down, tiny.call_limit, tiny.longest_pause, tiny.deregisters_first) == (600.0, 9.5, 60.0, True)
    assert loaded.target_tables[1] == {"type": "tiny", "pool": "a", "poll": "7s"}
    assert "tiny" not in sys.modules


@pytest.mark.parametrize(
    "tables", [('type = "tiny"\nsize = 1',), ('type = "tinny"',), ('type = "tiny"\npool = "a"',) * 2]
)
def test_it_tells_the_same_problems_as_if_it_had_loaded_it(tmp_path, install, monkeypatch, tables):
    monkeypatch.setenv("PYTHONPATH", str(install("tiny", TINY, {"tiny": "tiny:KIND"})))
    path = farm_file(tmp_path, *tables)
    assert problems(path, kinds_apart=True) == problems(path)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import os; os._exit(7)", "the process that does so ends with status 7"),
        ("import os, sys; print('no', file=sys.stderr, flush=True); os.abort()", "no"),
    ],
)
def test_a_package_that_ends_the_process_that_loads_it_is_a_problem_that_says_so(
    tmp_path, install, monkeypatch, code, told
):
    monkeypatch.setenv("PYTHONPATH", str(install("broken", code, {"broken": "broken:KIND"})))
    [problem] = problems(farm_file(tmp_path, 'type = "broken"'), kinds_apart=True)
    assert problem == f"target: is of kinds that other packages add, which cannot be read: {told}"


def test_a_package_that_never_comes_to_an_end_of_its_loading_is_a_problem_that_says_so():
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    [problem] = read_apart([], [], command=command, limit=0.5)
    assert problem.message.endswith("cannot be read: they are not loaded after 0.5 s")


def test_a_kind_of_another_package_trusts_the_authorities_of_the_system_in_the_process_that_calls_it(tmp_path, install):
    site = install("tiny", TINY, {"tiny": "tiny:KIND"})
    authority = tmp_path / "authority.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=authority", "-keyout", tmp_path / "key.pem", "-out", authority]
    subprocess.run([*made, *names], check=True, capture_output=True, timeout=30)
    script = textwrap.dedent(
        """
        import hcsidecar.targets.helper
        from hcsidecar.targets.kinds import kind_of
        kind_of("tiny")
        from aiohttp import connector
        print(connector._SSL_CONTEXT_VERIFIED.cert_store_stats()["x509"])
        """
    )
    environment = os.environ | {"SSL_CERT_FILE": os.fspath(authority), "PYTHONPATH": os.fspath(site)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("", "target[1].pool: is missing"),
        ('pool = "a"\nsice = 2', "target[1].sice: is not a known key (did you mean size?)"),
        ('pool = "a"\nsize = "big"', "target[1].size: "),
        ('pool = "a"\npoll = "1ms"', "target[1].poll: "),
    ],
)
def test_what_is_wrong_with_such_a_table_is_told_with_its_place(tmp_path, install, table, expected):
    install("tiny", TINY, {"tiny": "tiny:KIND"})
    [problem] = problems(farm_file(tmp_path, f'type = "tiny"\n{table}'))
    assert problem.startswith(expected)


def test_two_targets_that_a_package_calls_the_same_are_refused(tmp_path, install):
    install("tiny", TINY, {"tiny": "tiny:KIND"})
    command = 'type = "command"\nname = "a"\ncommand = ["x"]'
    [problem] = problems(farm_file(tmp_path, command, 'type = "tiny"\npool = "A"'))
    assert problem == "target[2].name: is the name of another target: A (target[1].name has it already)"


def test_an_unknown_type_is_told_with_those_that_there_are(tmp_path, install):
    install("tiny", TINY, {"tiny": "tiny:KIND"})
    found = problems(farm_file(tmp_path, 'type = "tinny"', 'type = "HAProxy"\nname = "b"', 'type = "nginx"'))
    known = "must be one of aws, command, haproxy, tiny, not"
    assert found == [
        f'target[1].type: {known} "tinny" (did you mean tiny?)',
        f'target[2].type: {known} "HAProxy" (did you mean haproxy?)',
        f'target[3].type: {known} "nginx" (is the package that adds it installed?)',
    ]


@pytest.mark.parametrize(
    ("code", "value", "expected"),
    [
        ("import no_such_library", "broken:KIND", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("", "broken:KIND", "AttributeError: module 'broken' has no attribute 'KIND'"),
        ("1 / 0", "broken:KIND", "ZeroDivisionError"),
        ("KIND = 1", "broken:KIND", "gives no kind"),
        ("class KIND: table = int", "broken:KIND", "gives no kind"),
    ],
)
def test_a_package_that_does_not_load_is_a_problem_that_says_so(tmp_path, install, code, value, expected):
    install("broken", code, {"broken": value})
    [problem] = problems(farm_file(tmp_path, 'type = "broken"'))
    assert problem.startswith("target[1].type: cannot be used: the package that adds broken (broken:KIND) ")
    assert expected in problem


def test_a_model_that_fails_by_itself_is_a_problem_that_says_so(tmp_path, install):
    code = TINY.replace("    size: int = 1\n", "    def __init__(self, **given):\n        1 / 0\n")
    install("tiny", code, {"tiny": "tiny:KIND"})
    [problem] = problems(farm_file(tmp_path, 'type = "tiny"\npool = "a"'))
    assert problem.startswith("target[1]: cannot be read by the package that adds tiny: ZeroDivisionError")


def test_our_kinds_cannot_be_replaced(install):
    install("evil", TINY, {"haproxy": "evil:KIND"})
    assert kind_of("haproxy").table.__name__ == "HaproxyTarget"


def test_a_farm_file_without_other_kinds_imports_nothing_for_its_targets(tmp_path):
    path = farm_file(tmp_path, 'type = "haproxy"\nbackend = "b"\nsocket = "/s"\nport = 80')
    code = (
        "import sys; from pathlib import Path; from hcsidecar.farmfile.loading import load; load(Path(sys.argv[1]));"
        "print([name for name in sys.modules if name.startswith(('hcsidecar.targets', 'boto'))])"
    )
    assert subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout == (
        "[]\n"
    )


def test_the_haproxy_kind_imports_no_sdk_of_a_cloud():
    code = (
        "import sys; from hcsidecar.targets.kinds import kind_of; kind_of('haproxy');"
        "print([name for name in sys.modules if 'boto' in name or name.endswith('.aws')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# The one of the manual


def install_consul(install):
    points = tomllib.loads(fence("ini pyproject"))["project"]["entry-points"]["hcsidecar.targets"]
    return install("hcsidecar_consul", fence("python kind"), points)


CONSUL = 'type = "consul"\nservice = "web"\nport = 80\n'


@asynccontextmanager
async def agent():
    """What stands in for Consul's agent: the calls of its API that the kind makes, by its documentation."""
    services, states, refuse = {}, {}, []

    async def register(request):
        if refuse:
            raise web.HTTPForbidden(text="ACL not found")
        service = await request.json()
        services[service["ID"]] = service
        return web.Response()

    async def deregister(request):
        found = services.pop(request.match_info["id"], None)
        return web.Response() if found else web.Response(status=404, text="Unknown service ID")

    async def health(request):
        known = request.match_info["id"] in services
        return web.Response(status=states.get(request.match_info["id"], 200) if known else 404)

    app = web.Application()
    app.router.add_put("/v1/agent/service/register", register)
    app.router.add_put("/v1/agent/service/deregister/{id}", deregister)
    app.router.add_get("/v1/agent/health/service/id/{id}", health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = site._server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", services, states, refuse
    finally:
        await runner.cleanup()


@on_a_loop
async def test_the_kind_of_the_manual_works(tmp_path, install):
    install_consul(install)
    async with agent() as (url, services, states, refuse):
        [table] = load(farm_file(tmp_path, f'{CONSUL}agent = "{url}"')).farm.target
        here = Here(
            farm="shop",
            node="web1",
            address="127.0.0.1",
            addresses={"web1": "127.0.0.1"},
            health_port=9010,
            health_tls=False,
            health_path="/health",
            directory=tmp_path,
            state_dir=tmp_path,
        )
        side = kind_of("consul").open(table, here)
        assert (await side.observe()).presence is Presence.ABSENT
        await side.register()
        assert services["shop-web1"]["Check"]["HTTP"] == "http://127.0.0.1:9010/health"
        for status, presence in ((200, Presence.HEALTHY), (429, Presence.HEALTHY), (503, Presence.UNHEALTHY)):
            states["shop-web1"] = status
            assert (await side.observe()).presence is presence
        await side.deregister()
        await side.deregister()
        await side.retire()
        assert (await side.observe()).presence is Presence.ABSENT
        refuse.append(True)
        with pytest.raises(TargetError, match="403: ACL not found") as error:
            await side.register()
        assert error.value.trouble is Trouble.AUTH
        await side.close()


def test_the_kind_of_the_manual_has_thirty_lines():
    lines = [line for line in fence("python kind").splitlines() if line.strip()]
    assert len(lines) <= 32


def test_the_command_line_knows_the_kind_of_the_manual_once_it_is_installed(tmp_path, install):
    site = install_consul(install)
    path = farm_file(tmp_path, CONSUL)
    command = [sys.executable, "-m", "hcsidecar", "check-config", path]
    for site_path, status in ((str(site), 0), ("", 2)):
        environment = os.environ | {"PYTHONPATH": site_path}
        assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode == status
