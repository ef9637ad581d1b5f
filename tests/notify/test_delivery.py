"""Messages to real web and mail servers on this machine, which refuse, hang and lie."""

import asyncio
import sys

import pytest
from msgspec import structs
from receivers import MailServer, WebServer, listening, make_certificate, server_context
from waiting import on_a_loop

from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.farm_file import MailReceiver, WebhookReceiver
from hcsidecar.core.notify.documents import Notification
from hcsidecar.core.notify.outbox import NotificationMessage
from hcsidecar.notify.delivery import Deliveries

MESSAGE = NotificationMessage(
    told=(
        Notification(
            origin="web1", life=1, number=1, time=1e9, level=Level.ERROR, node="web2", text="is dead", change="dead"
        ),
    )
)
WORD = "word-of-the-operator"
WITH_TOKEN = {"token_file": "token"}


@pytest.fixture
def directory(tmp_path):
    make_certificate(tmp_path)
    for name, text in (("token", f"{WORD}\n"), ("login", "farm\npassw0rd\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    return tmp_path


async def sent(directory, receiver, message=MESSAGE, **more):
    deliveries = Deliveries(farm="apache", node="web1", directory=directory, at_once=1, **more)
    return await deliveries.send(receiver, message)


def webhook(url, **more):
    return WebhookReceiver(type="webhook", **({"url": url} if url else {}), **more)


def mail(port, **more):
    more = {"ca_file": "host.crt", "sender": "farm@example.com", "to": ("night@example.com",)} | more
    return MailReceiver(type="mail", server=f"127.0.0.1:{port}", **more)


@on_a_loop
async def test_a_webhook_gets_the_document_and_the_token_over_tls_that_is_verified(directory):
    server = WebServer()
    async with listening(server, context=server_context(directory)) as port:
        receiver = webhook(f"https://127.0.0.1:{port}/hook?to=night", **WITH_TOKEN, ca_file="host.crt")
        assert (await sent(directory, receiver)).taken
    ((path, headers, document),) = server.posts
    assert (path, headers["authorization"]) == ("/hook?to=night", f"Bearer {WORD}")
    assert (document["subject"], document["notifications"][0]["node"]) == ("farm apache: web2 is dead", "web2")


@on_a_loop
async def test_a_certificate_that_nobody_vouches_for_is_refused(directory):
    server = WebServer()
    async with listening(server, context=server_context(directory)) as port:
        outcome = await sent(directory, webhook(f"https://127.0.0.1:{port}/", **WITH_TOKEN))
    assert (outcome.taken, server.posts) == (False, [])
    assert outcome.text.startswith("its certificate is not accepted: self")


@on_a_loop
async def test_a_certificate_of_another_host_is_refused(directory):
    make_certificate(directory, host="192.0.2.9")
    async with listening(WebServer(), context=server_context(directory)) as port:
        outcome = await sent(directory, webhook(f"https://127.0.0.1:{port}/", ca_file="host.crt"))
    assert "its certificate is not accepted: IP address mismatch" in outcome.text


@on_a_loop
async def test_a_chat_system_gets_what_its_template_says_at_a_url_that_is_secret(directory):
    server = WebServer()
    async with listening(server) as port:
        (directory / "url").write_text(f"http://127.0.0.1:{port}/services/s3cret\n")
        (directory / "url").chmod(0o600)
        assert (await sent(directory, webhook(None, url_file="url", template='{"text": "{text}"}'))).taken
    ((path, headers, document),) = server.posts
    assert path == "/services/s3cret"
    assert "authorization" not in headers
    assert document == {"text": "2001-09-09 01:46:40 UTC error: web2 is dead (noticed by web1)"}


@on_a_loop
async def test_an_answer_other_than_success_is_told_without_the_secrets_in_it(directory):
    server = WebServer(status=403, answer=f"no such token: {WORD}\x1b[0m\nnor path: /services/s3cret".encode())
    async with listening(server) as port:
        (directory / "url").write_text(f"http://127.0.0.1:{port}/services/s3cret\n")
        (directory / "url").chmod(0o600)
        outcome = await sent(directory, webhook(None, url_file="url", **WITH_TOKEN))
    assert outcome.text == "answers 403 Said: no such token: … [0m nor path: …"


@on_a_loop
async def test_a_redirection_is_no_success(directory):
    async with listening(WebServer(status=302)) as port:
        assert (await sent(directory, webhook(f"http://127.0.0.1:{port}/"))).text == "answers 302 Said"


@on_a_loop
async def test_a_server_that_hangs_or_is_not_there_is_told(directory):
    async with listening(WebServer(hangs=True)) as port:
        begun = asyncio.get_running_loop().time()
        outcome = await sent(directory, webhook(f"http://127.0.0.1:{port}/", timeout=1.0))
        assert outcome.text == "no answer within 1 s"
        assert asyncio.get_running_loop().time() > begun + 0.9
    assert (await sent(directory, webhook(f"http://127.0.0.1:{port}/"))).text == "connection refused"


@on_a_loop
async def test_a_process_that_hangs_is_killed_and_the_loop_goes_on_meanwhile(directory):
    turns = 0

    async def turn():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(turn())
    hangs = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
    receiver = webhook("http://127.0.0.1:1/", timeout=1.0)
    outcome = await sent(directory, receiver, command=hangs, start=0.1)
    beside.cancel()
    assert outcome.text == "no answer within 1 s"
    assert turns > 100


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ((sys.executable, "-S", "-c", "raise SystemExit('broken')"), "has failed: broken"),
        ((sys.executable, "-S", "-c", "print('{}')"), "has failed: exit status 0"),
        (("/no/such/program",), "cannot be started"),
    ],
    ids=["fails", "says nonsense", "is missing"],
)
@on_a_loop
async def test_a_process_that_fails_is_told(directory, command, said):
    assert said in (await sent(directory, webhook("http://127.0.0.1:1/"), command=command)).text


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@on_a_loop
async def test_mail_is_sent_over_tls_after_a_login(directory, tls):
    context = server_context(directory)
    server = MailServer(context=context if tls == "starttls" else None, login=("farm", "passw0rd"))
    async with listening(server, context=context if tls == "tls" else None) as port:
        outcome = await sent(directory, mail(port, tls=tls, login_file="login"))
    assert (outcome.taken, outcome.text) == (True, "")
    ((sender, recipients, text),) = server.mails
    assert (sender, recipients) == ("farm@example.com", ["night@example.com"])
    assert "Subject: farm apache: web2 is dead" in text
    assert "Auto-Submitted: auto-generated" in text
    assert "error: web2 is dead (noticed by web1)" in text


@on_a_loop
async def test_no_mail_is_sent_in_clear_to_a_server_without_starttls(directory):
    server = MailServer()
    async with listening(server) as port:
        outcome = await sent(directory, mail(port, login_file="login"))
    assert (outcome.taken, server.mails) == (False, [])
    assert "STARTTLS" in outcome.text


@on_a_loop
async def test_mail_over_a_certificate_that_nobody_vouches_for_is_not_sent(directory):
    server = MailServer(context=server_context(directory))
    async with listening(server) as port:
        outcome = await sent(directory, mail(port, ca_file=None, login_file="login"))
    assert "its certificate is not accepted" in outcome.text
    assert server.mails == []


@on_a_loop
async def test_a_login_that_is_refused_is_told_without_the_password(directory):
    server = MailServer(context=server_context(directory), login=("farm", "another"))
    async with listening(server) as port:
        outcome = await sent(directory, mail(port, login_file="login"))
    assert outcome.text == "the login is refused: 535 no such user or password: …"


@on_a_loop
async def test_mailboxes_that_are_refused_are_told(directory):
    server = MailServer(context=server_context(directory), refuses=("old@example.com",))
    async with listening(server) as port:
        some = await sent(directory, mail(port, to=("old@example.com", "night@example.com")))
        none = await sent(directory, mail(port, to=("old@example.com",)))
    assert (some.taken, some.text) == (True, "refuses some addresses: old@example.com (550 no such mailbox)")
    assert (none.taken, none.text) == (False, "refuses the mail: old@example.com (550 no such mailbox)")


@on_a_loop
async def test_a_mail_server_on_the_machine_itself_may_do_without_tls_and_one_that_hangs_is_told(directory):
    server = MailServer()
    async with listening(server) as port:
        assert (await sent(directory, mail(port, tls="none"))).taken
    async with listening(MailServer(hangs=True)) as port:
        assert (await sent(directory, mail(port, tls="none", timeout=1.0))).text == "no answer within 1 s"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("x\n", 0o644, "can be read by others"),
        ("only one line\n", 0o600, "must have two lines"),
        (None, 0, "cannot be"),
    ],
)
@on_a_loop
async def test_a_login_file_that_cannot_be_used_is_told(directory, content, mode, said):
    if content is not None:
        (directory / "bad").write_text(content)
        (directory / "bad").chmod(mode)
    async with listening(MailServer(context=server_context(directory))) as port:
        assert said in (await sent(directory, mail(port, login_file="bad"))).text


@on_a_loop
async def test_a_secret_url_that_is_no_url_is_told_without_it(directory):
    (directory / "url").write_text("hooks.example.com/s3cret\n")
    (directory / "url").chmod(0o600)
    outcome = await sent(directory, webhook(None, url_file="url"))
    assert outcome.text == "the file url is not a URL of http or https"


@on_a_loop
async def test_the_largest_message_is_sent(directory):
    server = WebServer()
    (told,) = MESSAGE.told
    many = NotificationMessage(told=(structs.replace(told, text="é" * 300),) * 100)
    async with listening(server) as port:
        assert (await sent(directory, webhook(f"http://127.0.0.1:{port}/"), many)).taken
    assert len(server.posts[0][2]["notifications"]) == 100
