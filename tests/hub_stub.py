"""A small local Hub: takes models in commits and gives their files back, in memory.

It speaks as much of the Hub's HTTP interface as `huggingface_hub` needs to create a model
repository, upload a folder and download files, and `datasets` to read a data set's files. Every
file goes into the commit itself, so there is no large-file storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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


def python(script, *arguments, hub, home):
    """What a script prints, in a process of its own: the Hub's address is read at import."""
    tests = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)]),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


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
        if match := re.match(r"(?:/datasets)?/[^/]+/[^/]+/resolve/[^/]+/([^?]+)", self.path):
            content = self.server.files.get(match[1])
            if content is None:
                self._answer({}, status=404, headers={"X-Error-Code": "EntryNotFound"})
            else:
                etag = hashlib.sha1(content).hexdigest()
                headers = {"ETag": f'"{etag}"', "X-Repo-Commit": SHA}
                wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if wanted:
                    first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                    self._answer(content[first : last + 1], status=206, headers=headers)
                else:
                    self._answer(content, headers=headers)
        elif re.match(r"/api/models/[^/]+/[^/]+/tree/", self.path):
            self._answer([])
        elif match := re.match(r"/api/datasets/[^/]+/[^/]+/tree/[^/?]+/?([^?]*)", self.path):
            self._answer(self._tree(match[1]))
        else:
            siblings = [{"rfilename": path} for path in self.server.files]
            repo = self.server.repos[0] if self.server.repos else self.path.split("/", 3)[3]
            self._answer({"id": repo, "sha": SHA, "siblings": siblings})

    do_HEAD = do_GET

    def _tree(self, folder: str) -> list[dict]:
        """What is directly in a folder."""
        entries = {}
        for path, content in self.server.files.items():
            above, _, _ = path.rpartition("/")
            if above == folder:
                oid = hashlib.sha1(content).hexdigest()
                entries[path] = {"type": "file", "path": path, "size": len(content), "oid": oid}
            elif folder == "" or above.startswith(f"{folder}/"):
                name = "/".join(above.split("/")[: folder.count("/") + 1 + bool(folder)])
                entries[name] = {"type": "directory", "path": name, "size": 0, "oid": SHA}
        return list(entries.values())

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
