"""A Hugging Face hub on the loopback interface, for tests of what talks to one.

Serves the parts of the hub's protocol that `datasets.load_dataset` and
`huggingface_hub.snapshot_download` use: repository info, file trees, paths-info, and
files with HEAD, GET, ETag, X-Repo-Commit and Range. It can break off files and hang.
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qs, unquote, urlsplit

Files = dict[str, bytes]

KINDS = {"models", "datasets"}
ALWAYS = -1
LONGEST_HANG_S = 60.0


class FakeHub:
    """A hub with the given repositories, from `with FakeHub() as hub` until the block ends.

    breaks: how many downloads are still to break off half-way (ALWAYS: every one, and a
    resumed download gets no further). hangs: requests whose path contains it are accepted
    and never answered ("/": all of them). drips: answers to requests whose "METHOD path" contains it come a
    byte every tenth of a second. requests: "METHOD path" of every request so far.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Files] = {}
        self.breaks = 0
        self.hangs: str | None = None
        self.drips: str | None = None
        self.requests: list[str] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        handler = type("BoundHandler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops answering and frees the port; a second call does nothing."""
        if not self.closing.is_set():
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """The address to give as HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, kind: str, name: str, files: Files) -> None:
        """Publishes a repository. kind: "models" or "datasets"; name: "owner/name"."""
        self.repos[kind, name] = files

    def take_break(self) -> bool:
        """Whether this download is to break off."""
        with self._lock:
            if self.breaks > 0:
                self.breaks -= 1
                return True
            return self.breaks == ALWAYS


def commit(files: Files) -> str:
    """The commit sha of a repository: 40 hex digits of its content."""
    digest = hashlib.sha1()
    for path, content in sorted(files.items()):
        digest.update(path.encode() + b"\0" + content)
    return digest.hexdigest()


class _Dripping:
    """A stream that passes bytes on slowly, until the hub closes."""

    def __init__(self, stream: BinaryIO, closing: threading.Event) -> None:
        self.stream, self.closing = stream, closing

    def write(self, content: bytes) -> int:
        for byte in content:
            if self.closing.wait(0.1):
                break
            self.stream.write(bytes([byte]))
            self.stream.flush()
        return len(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test output quiet."""

    def _answer(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.hangs is not None and self.hub.hangs in self.path:
            self.hub.closing.wait(LONGEST_HANG_S)
            self.close_connection = True
            return
        if self.hub.drips is not None and self.hub.drips in f"{self.command} {self.path}":
            self.wfile = _Dripping(self.wfile, self.hub.closing)  # type: ignore[assignment]
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if parts[0] == "api":
            self._api(parts[1:])
        elif "resolve" in parts:
            self._resolve(parts)
        else:
            self._refuse("RepoNotFound")

    def _api(self, parts: list[str]) -> None:
        """/api/<kind>/<owner>/<name>[/revision/<sha>, /tree/<sha>[/<folder>], /paths-info/<sha>]."""
        if len(parts) == 1 and parts[0] in KINDS:
            return self._json([])
        files = self.hub.repos.get((parts[0], "/".join(parts[1:3])))
        if files is None:
            return self._refuse("RepoNotFound")
        action, revision = (*parts[3:5], "revision", "main")[:2] if len(parts) > 3 else ("revision", "main")
        if revision not in ("main", commit(files)):
            return self._refuse("RevisionNotFound")
        if action == "tree":
            return self._tree(files, "/".join(parts[5:]))
        if action == "paths-info":
            return self._paths_info(files)
        return self._json(_info("/".join(parts[1:3]), files))

    def _tree(self, files: Files, folder: str) -> None:
        prefix = f"{folder}/" if folder else ""
        within = [path for path in files if path.startswith(prefix)]
        if not within:
            return self._refuse("EntryNotFound")
        query = parse_qs(urlsplit(self.path).query)
        if query.get("recursive", ["false"])[0].lower() == "true":
            return self._json([*_folders(within), *(_entry(path, files) for path in within)])
        direct = [path for path in within if "/" not in path.removeprefix(prefix)]
        deeper = sorted({prefix + path.removeprefix(prefix).split("/")[0] for path in within} - set(direct))
        return self._json([*map(_folder, deeper), *(_entry(path, files) for path in direct)])

    def _paths_info(self, files: Files) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        is_json = "json" in self.headers.get("Content-Type", "")
        wanted = json.loads(body)["paths"] if is_json else parse_qs(body).get("paths", [])
        folders = {entry["path"]: entry for entry in _folders(list(files))}
        known = [_entry(path, files) if path in files else folders.get(path) for path in wanted]
        self._json([entry for entry in known if entry])

    def _resolve(self, parts: list[str]) -> None:
        """[/datasets]/<owner>/<name>/resolve/<revision>/<path>."""
        kind = parts[0] if parts[0] in KINDS else "models"
        at = parts.index("resolve")
        files = self.hub.repos.get((kind, "/".join(parts[at - 2 : at])))
        if files is None:
            return self._refuse("RepoNotFound")
        sha, path = commit(files), "/".join(parts[at + 2 :])
        if parts[at + 1] not in ("main", sha):
            return self._refuse("RevisionNotFound")
        if path not in files:
            return self._refuse("EntryNotFound", sha)
        return self._file(files[path], sha)

    def _file(self, content: bytes, sha: str) -> None:
        """One file, whole or from the offset of the Range header on."""
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", sha)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.take_break():
            self.wfile.write(content[start : len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def _refuse(self, code: str, sha: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": f"{code}: {self.path}"}
        self._json({"error": code}, 404, {**headers, "X-Repo-Commit": sha} if sha else headers)

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _info(name: str, files: Files) -> dict[str, object]:
    return {
        "_id": name,
        "id": name,
        "modelId": name,
        "sha": commit(files),
        "private": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "lastModified": "2026-01-01T00:00:00.000Z",
        "siblings": [{"rfilename": path} for path in files],
    }


def _entry(path: str, files: Files) -> dict[str, object]:
    oid = hashlib.sha1(files[path]).hexdigest()
    return {"type": "file", "oid": oid, "size": len(files[path]), "path": path}


def _folder(path: str) -> dict[str, object]:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}


def _folders(paths: list[str]) -> list[dict[str, object]]:
    return [_folder(path) for path in sorted({path.rpartition("/")[0] for path in paths} - {""})]
