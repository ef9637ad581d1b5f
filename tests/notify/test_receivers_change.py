"""Receivers of notifications that come, change and go while the daemon runs."""

from daemons_here import FarmHere
from receivers import web_server
from waiting import on_a_loop, until

from hcsidecar.core.events import Event, Level

WEBHOOK = '[[notify]]\ntype = "webhook"\nname = "chat"\nurl_file = "{file}"\nstates = false\ngroup = "0s"\n'


def told(posts):
    return [each["text"] for post in posts for each in post["notifications"]]


@on_a_loop
async def test_receivers_are_told_what_happens_from_the_moment_they_come_and_where_they_move(tmp_path):
    with web_server() as (url, posts), web_server() as (other_url, others):
        # Each server has such files for itself, beside its farm file and in no revision.
        for name, text in {"one": url, "two": other_url}.items():
            (tmp_path / name).write_text(f"{text}\n")
            (tmp_path / name).chmod(0o600)
        async with FarmHere(tmp_path, names=("web1",)).running() as farm:
            daemon = farm.daemons["web1"].daemon

            def happens(text):
                daemon.tell(Event(level=Level.ERROR, origin="test", message=text))

            happens("before")
            assert daemon._control.notifications() == ()
            [taken] = await farm.take(extra=WEBHOOK.format(file="one"))
            assert taken.waiting == ()
            happens("first")
            await until(lambda: told(posts) == ["reports: test: first"], limit=30, what="the first one told")
            await farm.take(extra=WEBHOOK.format(file="two"))
            happens("second")
            await until(lambda: told(others) == ["reports: test: second"], limit=30, what="the second told there")
            await farm.take()
            assert daemon._control.notifications() == ()
            happens("third")
            await farm.take(extra=WEBHOOK.format(file="one"))
            happens("fourth")
            await until(lambda: len(told(posts)) > 1, limit=30, what="one more told")
            assert told(posts) == ["reports: test: first", "reports: test: fourth"]
            assert told(others) == ["reports: test: second"]
