from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.events import Level
from hcsidecar.core.remarks import remark


def test_a_remark_says_who_made_it():
    made = remark(Level.WARNING, "the disk is replaced", origin="operator", by="root@web2")
    assert (made.level, made.origin, made.message) == (Level.WARNING, "operator", "the disk is replaced (root@web2)")


@given(st.text(min_size=1, max_size=3000), st.text(max_size=130))
def test_who_made_it_is_there_however_long_the_text_is(text, by):
    message = remark(Level.INFO, text, origin="script", by=by).message
    assert len(message) <= max(1000, len(text))
    assert len(message) <= 1000
    assert message.endswith(f" ({by})")
