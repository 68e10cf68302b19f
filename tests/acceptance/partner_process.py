"""A partner in a process of its own: takes webhooks over HTTP, validates the CAP inside, honours the key, writes down what it did.

Run as `python partner_process.py PORT SCHEMA JOURNAL`; every request adds a line to the journal.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from lxml import etree

SECRET = b"agreed with Wujiang"


def main() -> None:
    """Serve until killed."""
    port, schema_path, journal = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    schema = etree.XMLSchema(etree.parse(schema_path))
    acted: set[str] = set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            body, key = json.loads(raw), str(self.headers["Idempotency-Key"])
            cap = etree.fromstring(body["cap"].encode())
            signed = "sha256=" + hmac.new(SECRET, raw, hashlib.sha256).hexdigest()
            line = {
                "key": key,
                "acted": key not in acted,
                "valid": schema.validate(cap),
                "signed": hmac.compare_digest(signed, self.headers.get("X-GroundWatch-Signature", "")),
                "cap": body["cap"],
            }
            acted.add(key)
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
