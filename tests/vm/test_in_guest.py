"""The tests that ask the kernel, and the packet filter beside its specification, on stock kernels."""

import os
import re
from pathlib import Path

import pytest
from vm import seen
from vm.image import PYTHON, image
from vm.kernels import kernel
from vm.machine import Build, Machine
from vm.network import network

KERNELS = os.environ.get("KERNELS", "6.1 6.12").split()
FRAMES = 20_000
"So many reach every reason; `make test` tries more on the kernel that it runs on."
PARTS = {
    "the filter beside its specification": ("filter_differential",),
    "tests of xdp and tc": ("libbpf", "filter_program", "packet_filter", "preflight", "tc", "xdp"),
    "tests of nfqueue": ("packet_queue",),
    "tests of all else in the kernel": (
        *(
            "checks",
            "conditions",
            "host_setup",
            "host",
            "interface_kinds",
            "netlink",
            "raw_frames",
            "record",
            "network_state",
            "reconfiguration",
            "sockets",
            "survey",
        ),
    ),
}
"Files of tests/kernel, by the row of the table."
LIMIT = 1700
SLOW = (
    *("what_comes_back_is_told_at_once", "what_changes_elsewhere_counts_as_no_attempt"),
    "a_new_director_is_known_at_once",
)
"Tests that need a machine which does in milliseconds what an emulated one does in a second."


@pytest.fixture(scope="module", params=KERNELS)
def machine(request):
    build = Build(kernel=kernel(request.param), memory=768)
    with network() as net:
        made = Machine(net, 1, build, disk=image(exact="QUICK" not in os.environ))
        try:
            yield made.start().wait()
        finally:
            made.kill()


def test_no_file_of_tests_is_forgotten():
    found = {file.stem.removeprefix("test_") for file in (Path(__file__).parents[1] / "kernel").glob("test_*.py")}
    assert {name for names in PARTS.values() for name in names} == found


@pytest.mark.vm
@pytest.mark.parametrize("part", PARTS)
def test_the_tests_of_the_kernel_pass_there(machine, part):
    with seen.check(machine.build.kernel, part) as figures:
        files = " ".join(f"tests/kernel/test_{name}.py" for name in PARTS[part])
        chosen = f"-m 'not soak' -k 'not {' and not '.join(SLOW)}' {files}"
        # Of what is broken on purpose there is only the source, and no compiler.
        _, output = machine.status_of(
            f"cd /root/checkout; export PYTHONPATH=tests:. HCSIDECAR_FRAMES={FRAMES}\n"
            f"timeout {LIMIT} {PYTHON} -m pytest --timeout 600 -rs {chosen}",
            limit=LIMIT + 30,
        )
        summary = output.rstrip().splitlines()[-1]
        assert re.search(r"\b[1-9]\d* passed", summary), output
        assert not re.search(r"failed|error", summary), output
        figures[""] = re.sub(r" in .*", "", summary)
