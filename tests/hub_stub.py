"""A small local Hub: takes models in commits and gives their files back, in memory.

It speaks as much of the Hub's HTTP interface as `huggingface_hub` needs to create a model
repository, upload a folder and download files. Every file goes into the commit itself, so there is
no large-file storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "0" * 40


class HubStub(ThreadingHTTPServer):
    """The server; `commits` lists (message, {path: content}) in order, `files` is their sum."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: list[str] = []
        self.commits: list[tuple[str, dict[str, bytes]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def files(self) -> dict[str, bytes]:
        return {path: content for _, files in self.commits for path, content in files.items()}


@contextmanager
def hub_stub() -> Iterator[HubStub]:
    """Serves a Hub for the time of the block."""
    server = HubStub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            request = json.loads(body)
            name = "/".join(filter(None, (request.get("organization"), request["name"])))
            self.server.repos.append(name)
            self._answer({"url": f"{self.server.url}/{name}", "name": name})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            message = next(line["value"]["summary"] for line in lines if line["key"] == "header")
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            self.server.commits.append((message, files))
            url = f"{self.server.url}/{self.server.repos[0]}/commit/{SHA}"
            self._answer({"commitUrl": url, "commitOid": SHA, "hookOutput": ""})
        else:
            self._answer({"errors": [], "warnings": []})  # the check of the model card

    def do_GET(self) -> None:
        if match := re.match(r"/[^/]+/[^/]+/resolve/[^/]+/([^?]+)", self.path):
            content = self.server.files.get(match[1])
            if content is None:
                self._answer({}, status=404, headers={"X-Error-Code": "EntryNotFound"})
            else:
                etag = hashlib.sha1(content).hexdigest()
                self._answer(content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": SHA})
        elif re.match(r"/api/models/[^/]+/[^/]+/tree/", self.path):
            self._answer([])
        else:
            siblings = [{"rfilename": path} for path in self.server.files]
            self._answer({"id": self.server.repos[0], "sha": SHA, "siblings": siblings})

    do_HEAD = do_GET

    def _answer(self, content, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass
