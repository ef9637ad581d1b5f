"""Why a kernel did not load the packet filter, and what the operator can do about it.

Nothing here depends on the kernel's version: distributions bring features back to old kernels and switch them off in
new ones. Only what was tried and what the kernel answered counts.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NEEDED: Final = {12: "NET_ADMIN", 39: "BPF", 38: "PERFMON"}
"The capabilities that loading requires, by number (linux/capability.h); SYS_ADMIN replaces the last two."
_SYS_ADMIN: Final = 21

LAST_WORDS: Final = 20
"Lines of the verifier's log that are kept. Its objection stands at the end, after the states that led to it."
_NO_NEWS: Final = ("libbpf: ", "processed ", "-- ")
"Prefixes of lines that say only that something was refused, and how much work that was."


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFailure:
    """The reason why the filter was not loaded."""

    problem: str
    remedy: str
    last_words: tuple[str, ...] = ()
    "The end of what the verifier and libbpf said: for whoever repairs the filter, not for the operator."


def why_refused(error: OSError, said: Sequence[str], *, capabilities: int, kernel: str) -> LoadFailure:
    """Return what the kernel's error means.

    `said` has the lines that libbpf printed, the verifier's log among them. `capabilities` is the mask of effective
    capabilities of this process (CapEff of proc(5)), `kernel` the kernel's name and release.
    """
    words = tuple(line for line in said if line and not line.startswith(_NO_NEWS)) or tuple(said)
    refusal = _refusal(error, missing_capabilities(capabilities), kernel)
    return LoadFailure(problem=refusal.problem, remedy=refusal.remedy, last_words=words[-LAST_WORDS:])


def missing_capabilities(effective: int) -> tuple[str, ...]:
    """Return the capabilities that loading requires and that the mask of effective ones lacks."""
    if effective >> _SYS_ADMIN & 1:
        return () if effective >> 12 & 1 else ("NET_ADMIN",)
    return tuple(name for number, name in NEEDED.items() if not effective >> number & 1)


def _refusal(error: OSError, missing: Sequence[str], kernel: str) -> LoadFailure:
    number = error.errno
    if number == errno.ENOSYS:
        return LoadFailure(problem=f"{kernel} has no bpf (CONFIG_BPF_SYSCALL)", remedy="use a kernel that has it")
    if missing:
        names = ", ".join(missing)
        # Without PERFMON the verifier rejects the program instead, with EACCES, EINVAL, EFAULT or E2BIG, depending on
        # what it checks first.
        refused = (
            "loading the packet filter is not permitted"
            if number in (errno.EPERM, errno.EACCES)
            else f"{kernel} refuses the packet filter ({error.strerror})"
        )
        return LoadFailure(
            problem=f"{refused}: the process has no {names}",
            remedy=f"grant {names} (SYS_ADMIN replaces BPF and PERFMON)",
        )
    if number == errno.EPERM:
        return LoadFailure(
            problem="loading the packet filter is not permitted, although this process has the capabilities for it",
            remedy="run outside of a user namespace, let the container's seccomp profile allow bpf, raise `ulimit -l`",
        )
    if number == errno.ENOMEM:
        return LoadFailure(
            problem="there is no memory for the packet filter's tables (700 kB)",
            remedy="free some, or raise ulimit -l",
        )
    return LoadFailure(
        problem=f"{kernel} refuses the packet filter: {error.strerror}",
        remedy="report what the kernel objects to, which is in the log at level debug",
    )
