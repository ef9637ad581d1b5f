from hcsidecar.core.events import Level
from hcsidecar.core.notify.documents import Notification
from hcsidecar.core.notify.message import document_of, subject_of, text_of
from hcsidecar.core.notify.outbox import NotificationMessage

NOON = 1_796_040_000.0


def notification(node="web2", text="is dead", *, level=Level.ERROR, origin="web1", time=NOON, change=""):
    return Notification(origin=origin, life=1, number=1, time=time, level=level, node=node, text=text, change=change)


def test_a_single_notification_is_the_subject_itself():
    message = NotificationMessage(told=(notification(),))
    assert subject_of(message, farm="apache") == "farm apache: web2 is dead"
    assert text_of(message) == "2026-11-30 12:00:00 UTC error: web2 is dead (noticed by web1)"


def test_several_notifications_are_counted_and_their_nodes_named():
    told = tuple(notification(f"web{n}", level=Level.ERROR if n < 3 else Level.INFO) for n in (5, 4, 3, 2, 1))
    assert subject_of(NotificationMessage(told=told), farm="apache") == (
        "farm apache: 5 notifications of web1, web2, web3 and 2 more, 2 of them errors"
    )
    calm = (notification("web1", level=Level.INFO), notification("web1", level=Level.INFO))
    assert subject_of(NotificationMessage(told=calm), farm="apache") == "farm apache: 2 notifications of web1"


def test_what_a_node_tells_of_itself_needs_no_observer():
    message = NotificationMessage(told=(notification("web1", "is UP(Ready)", level=Level.INFO),))
    assert text_of(message).endswith("UTC info: web1 is UP(Ready)")


def test_what_is_left_out_or_was_thrown_away_is_said():
    message = NotificationMessage(told=(notification(),), omitted=7, thrown_away=3)
    first, _, last = text_of(message).splitlines()
    assert first.startswith("7 earlier notifications are left out")
    assert last.startswith("3 older notifications were thrown away")
    assert subject_of(message, farm="apache") == "farm apache: 8 notifications of web2, 1 of them errors"


def test_a_text_of_another_node_forges_no_line_and_a_mad_clock_breaks_nothing():
    message = NotificationMessage(told=(notification(text="is\nfine\x1b[0m", time=1e300),))
    assert text_of(message) == "at an unknown time UTC error: web2 is\\nfine\\x1b[0m (noticed by web1)"


def test_the_document_has_all_details():
    assert document_of(NotificationMessage(told=(notification(change="dead"),)), farm="apache", node="web1") == {
        "farm": "apache",
        "node": "web1",
        "subject": "farm apache: web2 is dead",
        "text": "2026-11-30 12:00:00 UTC error: web2 is dead (noticed by web1)",
        "omitted": 0,
        "thrown_away": 0,
        "notifications": [
            {
                "time": "2026-11-30T12:00:00Z",
                "node": "web2",
                "level": "error",
                "text": "is dead",
                "change": "dead",
                "noticed_by": "web1",
            }
        ],
    }


def test_a_template_gives_the_form():
    document = document_of(
        NotificationMessage(told=(notification(text='says "no"'),)),
        farm="apache",
        node="web1",
        template='{"text": "*{subject}*"}',
    )
    assert document == {"text": '*farm apache: web2 says "no"*'}
