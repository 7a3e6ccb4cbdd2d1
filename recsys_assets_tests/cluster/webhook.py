"""An admission webhook on loopback that refuses what it is told to, so that a real API server passes its words on.

Here: the HTTPS server and its registration. Not here: any claim about the platform.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cluster.control_plane import ControlPlane


class _Answers(BaseHTTPRequestHandler):
    why = ""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        response = {"uid": asked["request"]["uid"], "allowed": False, "status": {"message": self.why}}
        body = json.dumps({**asked, "response": response}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def refusing(plane: ControlPlane, namespace: str, *, plural: str, why: str) -> Iterator[ThreadingHTTPServer]:
    """Every write of this resource in this namespace is refused with these words, as long as the server answers."""
    pair = plane.authority.issue(f"webhook-{namespace}", "webhook", hosts=["127.0.0.1"])
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"why": why}))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    name = f"refuse-{namespace}"
    hook = {
        "name": "refuse.recsys-assets.dev",
        "clientConfig": {
            "url": f"https://127.0.0.1:{server.server_address[1]}/",
            "caBundle": base64.b64encode(plane.authority.certificate.read_bytes()).decode(),
        },
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": [plural]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 10,
    }
    plane.api.apply(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [hook],
        }
    )
    try:
        yield server
    finally:
        path = f"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/{name}"
        plane.api.request("DELETE", path)
        server.shutdown()
        server.server_close()
