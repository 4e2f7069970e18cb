#!/usr/bin/env python3
"""Serves this folder, and passes /api/ on to the shop, so that the page asks its own address alone.

    python3 examples/browser/serve.py 8080

In production, the web server that the pages come from does the same, or the shop names their address in
`http.allowed_origins`, and they ask it themselves.
"""

import http.server
import os
import sys
import urllib.error
import urllib.request

SHOP = os.environ.get("SHOP_URL", "http://127.0.0.1:8000").rstrip("/")
PASSED_ON = ("Accept", "Authorization", "Content-Type", "Link", "Retry-After")


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *connection):
        super().__init__(*connection, directory=os.path.dirname(os.path.abspath(__file__)))

    def do_GET(self):
        if self.path.startswith("/api/"):
            self.pass_on()
        else:
            super().do_GET()

    def do_POST(self):
        if self.path.startswith("/api/"):
            self.pass_on()
        else:
            self.send_error(405)

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        request = urllib.request.Request(SHOP + self.path, body, headers, method=self.command)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.headers, error.read())
        except OSError:
            self.send_error(502)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name in PASSED_ON:
            if name in headers:
                self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(f"http://127.0.0.1:{server.server_port}/?shop={SHOP}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
