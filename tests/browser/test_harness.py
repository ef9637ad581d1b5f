"""The browser against the console of a real farm: it is a browser, and complains where it should."""

from browser.browsing import serious_problems
from console_nodes import PASSWORD, USERS

from hcsidecar.core.access.roles import AccessRole

SIGN_IN = """([name, password]) => fetch("/api/v1/session", {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({name, password}),
}).then((answer) => answer.status)"""


def test_a_person_signs_in_by_fetch_and_sees_the_farm(browsing, consoles):
    page = browsing.open()
    page.goto(consoles["web1"].url("/sign-in"))
    assert page.evaluate(SIGN_IN, [USERS[AccessRole.ADMIN], PASSWORD]) == 200
    page.goto(consoles["web2"].url("/"))
    page.get_by_text("web3").first.wait_for()


def test_the_page_to_sign_in_has_no_serious_problem_for_a_screen_reader_in_the_dark_on_a_phone(browsing, consoles):
    page = browsing.open(locale="fr-FR", dark=True, phone=True)
    page.goto(consoles["web1"].url("/sign-in"))
    assert serious_problems(page) == []


def test_a_style_in_a_page_and_a_request_to_elsewhere_are_complained_of(browsing, consoles):
    page = browsing.open()
    page.goto(consoles["web1"].url("/sign-in"))
    browsing.expect("inline style")
    browsing.expect("Fetch API cannot load")
    browsing.expect("connect-src")
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.evaluate("fetch('http://192.0.2.1/').catch(() => 0)")


def test_the_editor_works_under_the_policy_of_the_pages(browsing, consoles):
    page = browsing.open()
    page.goto(consoles["web1"].url("/sign-in"))
    told = page.evaluate("""async () => {
        const { editTextarea } = await import("/static/vendor/codemirror.js");
        const area = document.createElement("textarea");
        area.value = "[farm]\\n";
        document.body.append(area);
        const editor = editTextarea(area, { language: "toml" });
        editor.setDiagnostics([{ line: 1, message: "wrong" }]);
        editor.setText("a = 1\\n");
        return [area.value, editor.view.dom.querySelectorAll(".cm-line").length];
    }""")
    assert told == ["a = 1\n", 2]
