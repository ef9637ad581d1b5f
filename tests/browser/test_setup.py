"""From an empty server to a served page in a real browser: the steps of `Set up`, with real daemons that join."""

import subprocess

import pytest
from browser.browsing import Browsing, serious_problems
from browser.test_farm_page import sign_in
from console_nodes import PASSWORD, USERS
from daemons import wait_for
from joining.machines import machines
from namespaces import needs_namespaces
from playwright.sync_api import expect
from real_consoles import Console

from hcsidecar.core.access.roles import AccessRole


class ConsoleOfMachine(Console):
    """The console of a server in a network namespace: it speaks with its daemon by a socket, which has a path."""

    def __init__(self, machine):
        self.machine = machine
        super().__init__(self, machine.name, "--http")

    @property
    def directory(self):
        return self.machine.directory

    def socket(self, name):
        return self.machine.state / "apache" / name / "control.sock"


@pytest.fixture
def console_of_a_server(tmp_path):
    """Give two servers: on the first a farm of it alone with a user and a console, on the second nothing."""
    with machines(tmp_path, "web1", "web2") as (web1, web2):
        secret = tmp_path / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        web1.init().start().certified()
        name = USERS[AccessRole.ADMIN]
        done = web1.run(*["user", "add", name, "--role", "admin", "--password-file", secret, "--config", web1.config])
        assert done.returncode == 0, done.stderr
        console = ConsoleOfMachine(web1)
        try:
            yield console, web1, web2
        finally:
            console.end()
            # A daemon that is ended in haste leaves its application running.
            for machine in (web1, web2):
                machine.run("stop", "--config", machine.config)


def page_of(machine, address):
    """Give what a client on the network of a server gets from an address."""
    done = subprocess.run(
        ["ip", "netns", "exec", machine.namespace, "curl", "-s", "-m", "5", f"http://{address}:8080/"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


@needs_namespaces
def test_an_empty_server_is_led_to_a_served_page_and_a_second_one_joins(browser, console_of_a_server):
    console, web1, web2 = console_of_a_server
    people = Browsing(browser, {console.url()})
    page = sign_in(people.open(), console)
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Set up").first.click()
    expect(page.locator("#setup-nodes tbody tr")).to_have_count(1)
    assert serious_problems(page) == []

    page.get_by_label("only for a server of this name").fill("web2")
    page.get_by_role("button", name="Make a line that adds a server").click()
    line = page.locator("#join-line pre").inner_text()
    joined = web2.paste(line, "--yes")
    assert joined.returncode == 0, joined.stderr
    web2.start()
    # Who has joined appears by itself.
    expect(page.locator("#setup-nodes")).to_contain_text("web2")
    expect(page.locator("#setup-nodes .shape.good")).to_have_count(2, timeout=60_000)

    page.reload()
    page.get_by_label("an example to try").check()
    page.get_by_role("button", name="Put it into the draft").click()
    expect(page.locator("#draft-problems")).to_contain_text("No problem found")
    page.get_by_role("link", name="Probe settings for a balancer").click()
    expect(page.locator("main")).to_contain_text("server web2 192.0.2.12:8080")
    page.go_back()

    page.get_by_role("link", name="Checks and restarts").click()
    port = page.locator("input[data-path='check[1].port']")
    port.fill("808000")
    expect(port).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[data-problem='check[1].port']")).to_contain_text("65535")
    assert serious_problems(page) == []
    port.fill("8080")
    expect(page.locator("#draft-problems")).to_contain_text("No problem found")
    page.locator("input[data-path='check[1].interval']").fill("1s")
    page.get_by_role("button", name="Put it into the draft").last.click()
    page.get_by_role("link", name="Go on with the steps").click()

    page.get_by_role("button", name="Check it, and show the plan").click()
    expect(page.locator("main")).to_contain_text("web1, web2")
    page.get_by_role("button", name="Apply to every node").click()
    expect(page.locator(".node-progress")).to_contain_text("web2: goes by it", timeout=60_000)
    assert serious_problems(page) == []
    # The first application is taken when the daemons start again.
    page.get_by_role("link", name="Set up").first.click()
    page.get_by_role("button", name="Restart the daemon").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Restart the daemon").click()
    expect(dialog).to_contain_text("It has begun")
    for machine in (web1, web2):
        wait_for(
            lambda machine=machine: f"{machine.name} has answered" in page_of(web1, machine.address),
            limit=60,
            what=f"the page of {machine.name}",
        )
    page.goto(console.url("/settings/setup"))

    def steps_left():
        page.reload()
        return page.locator(".step:not(.done) h2").all_inner_texts()

    wait_for(lambda: not steps_left(), limit=60, what=f"every step done, and not left {steps_left()}")
    people.end()
