"""Signed requests: what is proven, what is refused and why, and that no replay is ever good."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from keys import FixedKeys

from hcsidecar.api.auth import Caller, RequestRefusal, Signer, Verifier

KEYS = FixedKeys(key1="secret")
NOW = 1_700_000_000.0
NONCE = "0f" * 16
NODES = ("web1", "web2", "web3")


def counted():
    numbers = itertools.count(1)
    return lambda: f"{next(numbers):032x}"


CHALLENGE = f"{1:032x}"


def signer(node="web1", farm="apache", keys=KEYS):
    return Signer(keys=lambda: keys, farm=farm, node=node)


def verifier(node="web2", farm="apache", keys=KEYS, nonces=4096):
    return Verifier(keys=lambda: keys, farm=farm, node=node, nodes=NODES, draw=counted(), nonces=nonces)


def signed(
    *,
    by=None,
    method="POST",
    path="/api/v1/actions/drain?x=1",
    body=b"{}",
    to="web2",
    now=NOW,
    nonce=NONCE,
    challenge=CHALLENGE,
):
    return (by or signer()).sign(method, path, body, to=to, challenge=challenge, nonce=nonce, now=now)


def verified(header, by=None, method="POST", path="/api/v1/actions/drain?x=1", now=NOW):
    return (by or verifier()).verify(method, path, header, now=now)


def test_who_holds_the_key_is_believed():
    caller = verified(signed().header)
    assert isinstance(caller, Caller)
    assert caller.node == "web1"
    assert caller.sent(b"{}")


def test_another_body_is_not_what_was_sent():
    caller = verified(signed().header)
    assert not caller.sent(b'{"force":true}')
    assert not caller.sent(b"")


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "GET"},
        {"path": "/api/v1/actions/stop?x=1"},
        {"path": "/api/v1/actions/drain?x=2"},
        {"path": "/api/v1/actions/drain"},
        {"by": verifier(farm="nginx")},
        {"by": verifier(keys=FixedKeys(key1="another secret"))},
    ],
)
def test_what_was_changed_is_refused_without_a_hint(changed):
    refusal = verified(signed().header, **changed)
    assert refusal == RequestRefusal(
        reason="wrong signature: the key files differ, or the request was changed on the way"
    )


@pytest.mark.parametrize("header", [None, "", "Basic YWRtaW46YWRtaW4=", "Farm key=1", "Farm " + "x" * 100_000])
def test_what_is_not_signed_is_refused_without_a_hint(header):
    assert verified(header) == RequestRefusal(reason="not signed")


def test_an_unknown_key_is_refused_without_a_hint():
    header = signed(by=signer(keys=FixedKeys(key1="secret", key7="newer"))).header
    assert verified(header) == RequestRefusal(reason="signed with key 00000007, which is not in this node's key file")


def test_keys_rotate_without_a_stop():
    both = FixedKeys(key1="secret", key2="newer")
    asked = verifier(keys=both)
    assert isinstance(verified(signed(nonce="aa" * 16).header, by=asked), Caller)
    assert isinstance(verified(signed(by=signer(keys=both), nonce="bb" * 16).header, by=asked), Caller)


def test_a_request_for_another_node_is_refused_with_the_reason():
    refusal = verified(signed(to="web3").header)
    assert refusal.reason == "meant for web3, but this is web2"
    assert refusal.caller.node == "web1"


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (-94, "the clocks of web1 and web2 differ by 94 s, more than 30 s"),
        (-30.5, "the clocks of web1 and web2 differ by 30 s, more than 30 s"),
        (-30, None),
        (0, None),
        (30, None),
        (31, "the clocks of web1 and web2 differ by 31 s, more than 30 s"),
        (86400, "the clocks of web1 and web2 differ by 86400 s, more than 30 s"),
    ],
)
def test_clocks_may_differ_by_half_a_minute(seconds, reason):
    outcome = verified(signed().header, now=NOW - seconds)
    assert reason is None or outcome.reason == reason
    assert isinstance(outcome, Caller if reason is None else RequestRefusal)


def test_a_replay_is_refused_without_an_answer_that_could_be_believed():
    asked = verifier()
    header = signed().header
    assert isinstance(verified(header, by=asked), Caller)
    assert verified(header, by=asked, now=NOW + 1) == RequestRefusal(reason="a replay of a request of web1")


def test_a_request_refused_for_a_clock_ahead_stays_refused_when_its_time_has_come():
    asked = verifier()
    header = signed(now=NOW + 40).header
    assert "differ by 40 s" in verified(header, by=asked).reason
    assert "a replay" in verified(header, by=asked, now=NOW + 40).reason


def test_a_replay_is_refused_over_a_restart():
    header = signed().header
    assert isinstance(verified(header), Caller)
    draw = counted()
    draw()
    restarted = Verifier(keys=lambda: KEYS, farm="apache", node="web2", nodes=NODES, draw=draw)
    refusal = verified(header, by=restarted)
    assert "another challenge" in refusal.reason
    assert refusal.challenge == f"{2:032x}"


def test_who_does_not_know_the_challenge_is_told_and_may_ask_again():
    asked = verifier()
    told = verified(signed(challenge="").header, by=asked)
    assert isinstance(verified(signed(challenge=told.challenge).header, by=asked), Caller)


def test_a_full_memory_draws_a_new_challenge_and_still_refuses_every_replay():
    asked = verifier(nonces=3)
    headers = [signed(nonce=f"{n:032x}").header for n in range(3)]
    assert all(isinstance(verified(header, by=asked), Caller) for header in headers)
    assert [verified(header, by=asked).challenge for header in headers] == [f"{2:032x}"] * 3


ANSWER = b'{"ok":true}'


def answer(status=200, body=ANSWER, by=None, request=None):
    asked = by or verifier()
    caller = verified((request or signed()).header, by=asked)
    return asked.sign_answer(caller, status=status, body=body)


def test_the_asked_nodes_answer_is_believed():
    assert signer().why_not_believed(signed(), header=answer(), status=200, body=ANSWER) is None


CHANGED = "the signature of the answer is wrong: it was changed on the way, or belongs to another request"


@pytest.mark.parametrize(
    ("header", "status", "body", "reason"),
    [
        (answer(), 200, b'{"ok":false}', CHANGED),
        (answer(), 409, ANSWER, CHANGED),
        (answer(request=signed(nonce="ab" * 16)), 200, ANSWER, CHANGED),
        (answer().replace("web2", "web3"), 200, ANSWER, CHANGED),
        (
            answer().replace("key=00000001", "key=00000009"),
            200,
            ANSWER,
            "signed with key 00000009, which is not in this node's key",
        ),
        (None, 200, ANSWER, "the answer is not signed"),
        ("key=1", 200, ANSWER, "the answer is not signed"),
    ],
)
def test_any_other_answer_is_not(header, status, body, reason):
    assert reason in signer().why_not_believed(signed(), header=header, status=status, body=body)


def test_an_answer_of_another_node_is_not_believed():
    request = signed(to="web2")
    misled = verifier(node="web3")
    refusal = verified(request.header, by=misled)
    header = misled.sign_answer(refusal.caller, status=401, body=b"")
    reason = signer().why_not_believed(request, header=header, status=401, body=b"")
    assert reason == "web3 answers there, not web2"


def test_an_answer_is_signed_even_when_its_key_was_dropped_meanwhile():
    keys = [KEYS]
    asked = Verifier(keys=lambda: keys[0], farm="apache", node="web2", nodes=NODES, draw=counted())
    caller = verified(signed().header, by=asked)
    keys[0] = FixedKeys(key2="newer")
    header = asked.sign_answer(caller, status=200, body=ANSWER)
    assert signer().why_not_believed(signed(), header=header, status=200, body=ANSWER) is None


def test_the_key_is_in_no_text_of_the_caller():
    caller = verified(signed().header)
    assert repr(caller.key) not in repr(caller)
    assert "key=" not in repr(caller)


@given(
    st.text(max_size=300) | st.from_regex(r"Farm key=[0-9a-f]{8};from=\w+;to=\w+;time=\d+;nonce=[0-9a-f]{32};.*"),
    st.text(),
)
def test_no_header_and_no_path_ever_raises(header, path):
    assert isinstance(verified(header, path=path), RequestRefusal)


@given(st.data())
def test_one_changed_character_of_the_header_is_never_believed(data):
    header = signed().header
    place = data.draw(st.integers(0, len(header) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != header[place]))
    assert isinstance(verified(header[:place] + other + header[place + 1 :]), RequestRefusal)


@given(st.data())
def test_one_changed_character_of_an_answers_header_is_never_believed(data):
    header = answer()
    place = data.draw(st.integers(0, len(header) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda c: c != header[place]))
    changed = header[:place] + other + header[place + 1 :]
    assert signer().why_not_believed(signed(), header=changed, status=200, body=ANSWER) is not None


@given(st.tuples(st.text(max_size=9), st.text(max_size=9)), st.tuples(st.text(max_size=9), st.text(max_size=9)))
def test_two_requests_share_a_signature_only_when_they_are_the_same(one, other):
    first = signed(method=one[0], path=one[1]).header
    assert (first == signed(method=other[0], path=other[1]).header) == (one == other)


class Replays(RuleBasedStateMachine):
    """Whatever is recorded, restarted, delayed and played again: each request is served at most once."""

    @initialize()
    def begin(self):
        self.draw = counted()
        self.nonce = counted()
        self.now = NOW
        self.recorded = []
        self.served = []
        self.refused = set()
        self.challenge = ""
        self.restart()

    @rule()
    def restart(self):
        self.node = Verifier(keys=lambda: KEYS, farm="apache", node="web2", nodes=NODES, draw=self.draw, nonces=6)

    @rule(ahead=st.sampled_from([0, 0, -29, 29, 40, -40, 3600]), lost=st.booleans())
    def ask(self, ahead, lost):
        for _ in range(2):
            request = signed(nonce=self.nonce(), challenge=self.challenge, now=self.now + ahead)
            self.recorded.append(request)
            if lost:
                return
            outcome = self.deliver(request)
            if isinstance(outcome, Caller) or outcome.challenge is None:
                break
            self.challenge = outcome.challenge
        assert isinstance(outcome, Caller) == (abs(ahead) <= 30)

    @rule(seconds=st.sampled_from([0, 1, 20, 31, 3600, -3600]))
    def clock_moves(self, seconds):
        self.now += seconds

    @rule(data=st.data())
    def replay(self, data):
        if self.recorded:
            self.deliver(data.draw(st.sampled_from(self.recorded)))

    def deliver(self, request):
        outcome = verified(request.header, by=self.node, now=self.now)
        if isinstance(outcome, Caller):
            assert request.nonce not in self.refused
            self.served.append(request.nonce)
        else:
            self.refused.add(request.nonce)
        return outcome

    @invariant()
    def nothing_was_served_twice(self):
        assert len(self.served) == len(set(self.served))

    @invariant()
    def memory_is_bounded(self):
        assert len(self.node._seen) < 6


TestReplays = Replays.TestCase
