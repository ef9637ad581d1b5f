"""What is said when a kernel does not load the packet filter: by errno, capabilities and the verifier's words."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.loading import LAST_WORDS, NEEDED, missing_capabilities, why_refused

NET_ADMIN, SYS_ADMIN, PERFMON, BPF = (1 << number for number in (12, 21, 38, 39))
ALL = NET_ADMIN | PERFMON | BPF
SAID = ["-- BEGIN --", "7: (85) call 200", "invalid func 200", "processed 7 insns", "-- END --", "libbpf: failed"]
KERNEL = "Linux 6.1.0-57-amd64"


def refused(number, capabilities=ALL, said=SAID):
    return why_refused(OSError(number, os.strerror(number)), said, capabilities=capabilities, kernel=KERNEL)


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        (ALL, ()),
        (0, tuple(NEEDED.values())),
        (ALL & ~PERFMON, ("PERFMON",)),
        (SYS_ADMIN | NET_ADMIN, ()),
        (SYS_ADMIN, ("NET_ADMIN",)),
    ],
)
def test_which_capabilities_are_missing(effective, missing):
    assert missing_capabilities(effective) == missing


@pytest.mark.parametrize(
    ("number", "capabilities", "problem", "remedy"),
    [
        (errno.EPERM, ALL, "not permitted, although this process has the capabilities", "user namespace"),
        (errno.EPERM, NET_ADMIN, "not permitted: the process has no BPF, PERFMON", "grant BPF, PERFMON"),
        (errno.EACCES, NET_ADMIN | BPF, "not permitted: the process has no PERFMON", "grant PERFMON"),
        (errno.EFAULT, NET_ADMIN | BPF, f"{KERNEL} refuses the packet filter (Bad address): the process", "PERFMON"),
        (errno.EINVAL, NET_ADMIN | BPF, "(Invalid argument): the process has no PERFMON", "grant PERFMON"),
        (errno.E2BIG, NET_ADMIN | BPF, "(Argument list too long): the process has no PERFMON", "grant PERFMON"),
        (errno.EINVAL, SYS_ADMIN, "the process has no NET_ADMIN", "grant NET_ADMIN"),
        (errno.ENOSYS, 0, f"{KERNEL} has no bpf (CONFIG_BPF_SYSCALL)", "use a kernel that has it"),
        (errno.ENOMEM, ALL, "no memory", "ulimit -l"),
        (errno.EINVAL, ALL, f"{KERNEL} refuses the packet filter: Invalid argument", "in the log at level debug"),
        (errno.EFAULT, ALL, f"{KERNEL} refuses the packet filter: Bad address", "log at level debug"),
        (errno.E2BIG, ALL, f"{KERNEL} refuses the packet filter: Argument list too long", "log at level debug"),
    ],
)
def test_what_the_kernel_meant(number, capabilities, problem, remedy):
    refusal = refused(number, capabilities)
    assert problem in refusal.problem
    assert remedy in refusal.remedy


@given(st.sampled_from(sorted(errno.errorcode)), st.integers(0, (1 << 41) - 1))
def test_a_capability_that_is_missing_is_named_whatever_the_kernel_calls_it(number, capabilities):
    refusal = refused(number, capabilities)
    if number != errno.ENOSYS:
        assert ", ".join(missing_capabilities(capabilities)) in refusal.problem
    # The verifier's words are for the authors, and a version is no reason.
    assert "invalid func" not in refusal.problem + refusal.remedy
    assert "newer" not in refusal.problem + refusal.remedy


def test_the_last_words_are_the_end_of_the_verifiers_log():
    assert refused(errno.EINVAL).last_words == ("7: (85) call 200", "invalid func 200")
    many = [f"{number}: r0 = 0" for number in range(100)]
    assert refused(errno.EINVAL, said=many).last_words == tuple(many[-LAST_WORDS:])


def test_without_a_verifiers_log_libbpf_has_the_last_word():
    said = ["libbpf: map 'filter.bss': failed to create: Invalid argument(-22)", "libbpf: failed to load object"]
    assert refused(errno.EINVAL, said=said).last_words == tuple(said)
    assert refused(errno.EPERM, said=[]).last_words == ()
