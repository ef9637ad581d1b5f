"""A farm of one node, for a machine on which a package is tried."""

INIT = "hcsidecar init /etc/hcsidecar --name apache --node web1=127.0.0.1"
VIRTUAL_IP = """
[l2]
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
ports = [80]
"""
HEALTH = """\
import time, urllib.request
end = time.monotonic() + 30
while True:
    try:
        print(urllib.request.urlopen("http://127.0.0.1:9010/health").read().decode())
        break
    except OSError:
        assert time.monotonic() < end, "no health URL"
        time.sleep(0.1)
"""
"A Python program that waits for the health URL and prints what it says."
