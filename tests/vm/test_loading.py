"""The packet filter before the verifiers of stock kernels, and on the cards of virtual machines."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from vm import loading, seen
from vm.kernels import SOURCES, kernel

COMPILER = (
    *("clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-fno-strict-aliasing"),
    f"-I/usr/include/{os.uname().machine}-linux-gnu",
)
SOURCE = loading.OBJECT.with_suffix(".c")
XDP, TC = loading.PROGRAMS

CONSOLE = """\
Probing EDD (edd=off to disable)... ok
loader begins
card\teth0\tvirtio_net\t1
card\teth1\te1000\t2
load\thcsidecar_xdp\t0\t41
unprivileged\thcsidecar_xdp\t14
verified\thcsidecar_xdp\t157903
attach\thcsidecar_xdp\tnative\teth0\t0
attach\thcsidecar_xdp\tnative\teth1\t95
attach\thcsidecar_xdp\tgeneric\teth1\t0
load\thcsidecar_tc\t22\t1880
verifier\thcsidecar_tc\t917: (4c) w3 |= w1\t; R3_w=scalar()
verifier\thcsidecar_tc\tmath between map_value pointer and register
loader has ended with 0
"""


def test_what_the_loader_says_is_read_from_the_console():
    found = loading.read("6.1.0-57", CONSOLE)
    assert [str(card) for card in found.cards.values()] == ["virtio_net, 1 queue", "e1000, 2 queues"]
    assert found.errors == {XDP: 0, TC: 22}
    assert found.milliseconds == {XDP: 41, TC: 1880}
    assert found.verified == {XDP: 157903}
    assert found.without_perfmon == {XDP: 14}
    assert found.verifier[TC] == ["917: (4c) w3 |= w1 ; R3_w=scalar()", "math between map_value pointer and register"]
    assert found.attached == {(XDP, "native", "eth0"): 0, (XDP, "native", "eth1"): 95, (XDP, "generic", "eth1"): 0}


def test_a_card_without_native_xdp_is_no_refusal_but_one_that_takes_it_in_no_other_way_is():
    loaded = CONSOLE.replace("load\thcsidecar_tc\t22", "load\thcsidecar_tc\t0")
    assert loading.read("6.1", CONSOLE).refused == [TC]
    assert loading.read("6.1", loaded).refused == []
    assert loading.read("6.1", loaded.replace("generic\teth1\t0", "generic\teth1\t95")).refused == [XDP]


@pytest.mark.parametrize("missing", ["loader begins\n", "loader has ended with 0\n"])
def test_a_machine_that_did_not_come_as_far_is_no_success(missing):
    with pytest.raises(loading.NotTriedError, match="did not come as far"):
        loading.read("6.1", CONSOLE.replace(missing, ""))


@pytest.mark.vm
@pytest.mark.parametrize("name", SOURCES)
def test_every_kernel_loads_the_filter_and_attaches_it_to_every_card(name):
    with seen.check(kernel(name), "the filter loads") as figures:
        found = loading.try_object(name)
        assert found.errors == {XDP: 0, TC: 0}
        figures.update(xdp=f"in {found.milliseconds[XDP]} ms", tc=f"in {found.milliseconds[TC]} ms")
    with seen.check(kernel(name), "cards (pairs of queues)") as figures:
        assert found.refused == []
        assert {card.driver for card in found.cards.values()} >= {"virtio_net", "vmxnet3"}
        virtio = [interface for interface, card in found.cards.items() if card.driver == "virtio_net"]
        assert {found.attached[XDP, "native", interface] for interface in virtio} == {0}
        assert os.geteuid() != 0 or {found.cards[interface].queues for interface in virtio} > {1}
        ways = {"native XDP and tc:": [], "generic XDP and tc:": []}
        for interface, card in found.cards.items():
            native = found.attached[XDP, "native", interface] == 0
            ways["native XDP and tc:" if native else "generic XDP and tc:"].append(f"{card.driver} ({card.queues})")
        figures.update({way: " ".join(cards) for way, cards in ways.items() if cards})


@pytest.mark.vm
@pytest.mark.skipif(shutil.which("clang") is None, reason="needs clang, to compile the program that is refused")
def test_what_an_older_verifier_does_not_follow_is_found(tmp_path):
    whole = SOURCE.read_text()
    assert whole.count("barrier_var(a);") == 1
    source = tmp_path / "refused.bpf.c"
    source.write_text(whole.replace("barrier_var(a);", ""))
    subprocess.run([*COMPILER, "-c", source, "-o", source.with_suffix(".o")], check=True, timeout=60)
    found = loading.try_object("6.1", path=Path(source.with_suffix(".o")))
    assert found.refused == [TC, XDP]
    assert any("unbounded min value" in line for line in found.verifier[XDP])
    assert loading.try_object("6.12", path=Path(source.with_suffix(".o"))).refused == []
