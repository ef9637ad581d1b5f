"""The tests that ask the kernel, and the packet filter beside its specification, on stock kernels."""

import os
import re

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
    "tests/kernel": "tests/kernel --ignore tests/kernel/test_filter_differential.py",
    "filter as specified": "tests/kernel/test_filter_differential.py",
}
LIMIT = 1700
SLOW = (
    *("what_comes_back_is_told_at_once", "what_changes_elsewhere_counts_as_no_attempt"),
    "a_new_director_is_known_at_once",
)
"Tests that need a machine which does in milliseconds what an emulated one does in a second."

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module", params=KERNELS)
def machine(request):
    build = Build(kernel=kernel(request.param), memory=768)
    with network() as net:
        made = Machine(net, 1, build, disk=image(exact="QUICK" not in os.environ))
        try:
            yield made.start().wait()
        finally:
            made.kill()


@pytest.mark.parametrize("part", PARTS)
def test_the_tests_of_the_kernel_pass_there(machine, part):
    with seen.check(machine.build.kernel, part) as figures:
        chosen = f"-m 'not soak' -k 'not {' and not '.join(SLOW)}' {PARTS[part]}"
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
