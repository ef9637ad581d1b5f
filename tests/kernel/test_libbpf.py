"""What is said when the packet filter cannot be loaded: the problem, and what an operator can do."""

import os
import subprocess
import sys

import pytest
from refused_filter import refused_object

from l2mode.kernel.errors import FilterError
from l2mode.kernel.libbpf import TC, BpfFilter

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


@needs_root
def test_sys_admin_replaces_bpf_and_perfmon():
    assert load_without("bpf", "perfmon") == TC


def test_a_missing_object_file_asks_for_a_new_installation(tmp_path):
    with pytest.raises(FilterError, match=r"none\.o cannot be opened: No such file .* install hcsidecar again"):
        BpfFilter([TC], path=tmp_path / "none.o")


@needs_root
def test_the_verifiers_last_words_are_kept_apart_from_what_the_operator_reads(tmp_path):
    with pytest.raises(FilterError, match="refuses the packet filter: Invalid argument; ") as caught:
        BpfFilter([TC], path=refused_object(tmp_path))
    assert "invalid func" in caught.value.last_words[-1]
    assert "invalid func" not in str(caught.value)
