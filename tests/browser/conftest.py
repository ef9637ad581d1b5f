"""A browser, and a farm of three with a console on each node, for each module of tests."""

from contextlib import ExitStack

import pytest
from browser.browsing import PROGRAM, Browsing, chromium
from console_nodes import PASSWORD, USERS
from daemons import real_farm, wait_for
from real_consoles import console_of


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not PROGRAM.exists():
        pytest.skip("Debian's chromium is not installed; make test installs it")
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    with real_farm(tmp_path_factory.mktemp("farm")) as made:
        yield made.start().all_ready()


@pytest.fixture(scope="module")
def consoles(farm):
    """The console of each node, over plain HTTP on one address, so that one cookie is for all. Each role has a user."""
    with ExitStack() as stack:
        made = {name: stack.enter_context(console_of(farm, name, "--http")) for name in farm.names}
        for role, name in USERS.items():
            body = {"name": name, "role": role.value, "password": PASSWORD}
            status, told = made["web1"].ask("POST", "/access/users", body)
            assert (status, told["ok"]) == (200, True), told
        for console in made.values():
            wait_for(lambda console=console: len(console.ask("GET", "/access")[1].get("users", ())) == len(USERS))
        yield made


@pytest.fixture
def browsing(browser, consoles):
    people = Browsing(browser, {console.url() for console in consoles.values()})
    yield people
    people.end()
