"""The support snapshot of a node that serves virtual IPs: what its kernel has for the farm is in it."""

import json
import subprocess
import sys
import zipfile

from lan.site import VIP
from lan.stage import needs_root, stage
from lan.stories import Combination

pytestmark = needs_root


def test_a_snapshot_has_the_filter_the_virtual_ips_and_what_was_changed(tmp_path):
    out = tmp_path / "web1.zip"
    with stage(tmp_path, Combination(delivery="directed", packet_filter="auto", family=4)) as on:
        inside = ["ip", "netns", "exec", on.lan.servers["web1"].namespace]
        command = [*inside, sys.executable, "-m", "hcsidecar", "snapshot", str(out), "--node", "web1"]
        done = subprocess.run(
            [*command, "--config", str(on.farm.config)], capture_output=True, text=True, timeout=90, check=False
        )

    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(out) as opened:
        parts = {name: opened.read(name).decode() for name in opened.namelist()}
    assert "hcsidecar" in parts["web1/kernel/filters.txt"]
    assert f"lo: {VIP[4]}/32" in parts["web1/kernel/network.txt"]
    assert VIP[4] in parts["web1/kernel/changes.json"]
    assert "arp_ignore" in parts["web1/kernel/settings.txt"]
    assert json.loads(parts["web1/layer-two.json"])["shares"]
    assert json.loads(parts["web1/l2-check.json"])
