"""Files that clients of a site bring to a virtual IP and fetch from it, with curl."""

import subprocess

from lan.web import PORT


def download(host, client, vip, name, *, limit=60):
    """Give the content of a file that the server of this client has."""
    return _curl(host, client, vip, name, limit=limit)


def upload(host, client, vip, file, name, *, limit=60):
    """Bring a file to the server of this client, under a name."""
    _curl(host, client, vip, name, "-T", str(file), limit=limit)


def _curl(host, client, vip, name, *more, limit):
    address = f"[{vip}]" if ":" in vip else vip
    command = ["curl", "--silent", "--show-error", "--fail", "--globoff", "--interface", client]
    url = f"http://{address}:{PORT}/files/{name}"
    done = subprocess.run(
        ["ip", "netns", "exec", host.namespace, *command, "--max-time", str(limit), *more, url],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, f"{client}, {url}: {done.stderr.decode()}"
    return done.stdout
