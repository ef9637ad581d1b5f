"""A web server for trying a farm out: python3 site.py PORT PID_FILE. It goes on in the background."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NODE = os.environ.get("HCSIDECAR_NODE", "a server")


class NamePage(BaseHTTPRequestHandler):
    """Answers every request with the name of this node."""

    def do_GET(self) -> None:
        """Send the page."""
        content = f"<!doctype html><title>{NODE}</title><h1>{NODE} has answered.</h1>\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Write no line for each request."""


server = ThreadingHTTPServer(("", int(sys.argv[1])), NamePage)
child = os.fork()
if child:
    Path(sys.argv[2]).write_text(str(child), encoding="ascii")
else:
    server.serve_forever()
