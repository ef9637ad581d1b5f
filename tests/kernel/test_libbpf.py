"""What is said when the packet filter cannot be loaded: the problem, and what an operator can do."""

import errno
import os
import subprocess
import sys

import pytest

from l2mode.kernel.errors import FilterError
from l2mode.kernel.libbpf import NEEDED, OBJECT, TC, BpfFilter, missing_capabilities, why_refused

NET_ADMIN, SYS_ADMIN, PERFMON, BPF = (1 << number for number in (12, 21, 38, 39))
ALL = NET_ADMIN | PERFMON | BPF

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to load programs into the kernel")

LOAD = """
from l2mode.kernel.errors import FilterError
from l2mode.kernel.libbpf import TC, BpfFilter
try:
    print(BpfFilter([TC]).programs[TC].name)
except FilterError as error:
    print(error)
"""


def load_without(*capabilities):
    """Load the filter in a process that lacks capabilities, and give what it printed."""
    without = ",".join(f"-{name}" for name in capabilities)
    command = ["setpriv", "--bounding-set", without, sys.executable, "-c", LOAD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


@needs_root
def test_net_admin_bpf_and_perfmon_suffice():
    # Beside what loading needs: libbpf raises the limit of locked memory only on kernels that count it.
    assert load_without("sys_admin", "sys_resource") == TC


@needs_root
@pytest.mark.parametrize("missing", ["net_admin", "bpf", "perfmon"])
def test_the_capability_that_is_missing_is_named(missing):
    said = load_without(missing, "sys_admin")
    assert f"the process has no {missing.upper()}; grant {missing.upper()}" in said
    assert 'set filter = "nfqueue"' in said


@needs_root
def test_sys_admin_replaces_bpf_and_perfmon():
    assert load_without("bpf", "perfmon") == TC


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
        (errno.EPERM, ALL, "although this process has the capabilities", "user namespace"),
        (errno.EPERM, NET_ADMIN, "the process has no BPF, PERFMON", "grant BPF, PERFMON"),
        (errno.EACCES, NET_ADMIN | BPF, "the process has no PERFMON", "grant PERFMON"),
        (errno.ENOSYS, ALL, "CONFIG_BPF_SYSCALL", "use a kernel that has it"),
        (errno.ENOMEM, ALL, "no memory", "ulimit -l"),
        (errno.EINVAL, ALL, "Invalid argument: 7: (85) call 200 / invalid func 200", "Linux 5.10 or newer"),
    ],
)
def test_what_the_kernel_meant(number, capabilities, problem, remedy):
    said = ["-- BEGIN --", "7: (85) call 200", "invalid func 200", "processed 7 insns", "-- END --", "libbpf: failed"]
    error = why_refused(number, said, capabilities)
    assert problem in error.problem
    assert remedy in error.remedy


def test_a_missing_object_file_asks_for_a_new_installation(tmp_path):
    with pytest.raises(FilterError, match=r"none\.o cannot be opened: No such file .* install hcsidecar again"):
        BpfFilter([TC], path=tmp_path / "none.o")


@needs_root
def test_the_verifiers_last_words_are_told(tmp_path):
    broken = tmp_path / "broken.o"
    whole = OBJECT.read_bytes()
    # bpf_skc_lookup_tcp's number becomes one that no helper has.
    call = bytes([0x85, 0, 0, 0, 99, 0, 0, 0])
    assert call in whole
    broken.write_bytes(whole.replace(call, bytes([0x85, 0, 0, 0, 0xFF, 0xFF, 0, 0])))
    with pytest.raises(FilterError, match=r"the kernel refuses the packet filter: Invalid argument: .*invalid func"):
        BpfFilter([TC], path=broken)
