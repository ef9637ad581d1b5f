"""What a machine has no more of, in words, and when a shortage is news."""

import errno

from hcsidecar.core.exhaustion import QUIET, Shortage, explained


def test_what_limits_is_named_and_other_errors_are_nobodys_exhaustion():
    assert "LimitNOFILE=" in explained(errno.EMFILE)
    assert "TasksMax=" in explained(errno.EAGAIN)
    assert explained(errno.ENOENT) is None
    assert explained(None) is None


def test_a_shortage_is_told_once_when_it_begins_and_once_when_it_is_over():
    shortage = Shortage()
    assert shortage.met("too many open files", now=5).message.startswith("too many open files: connections that")
    assert shortage.met("too many open files", now=5.1) is None
    assert shortage.look(now=5.1 + QUIET - 0.1) is None
    assert shortage.met("too many open files", now=60) is None
    assert shortage.look(now=60 + QUIET).message == "new connections find room again; 3 times they found none"
    assert shortage.look(now=61 + QUIET) is None
    assert shortage.met("too many open files", now=200) is not None
