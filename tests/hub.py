"""A local double of the Hugging Face Hub's HTTP interface, as far as commits need it.

Like the Hub it refuses a commit with a binary file that was not stored as a large file before.
"""

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_of_a_test"


@dataclass
class Hub:
    """What it holds: of each repository, such as "spaces/me/app", the bytes of each file."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)  # a branch is one of its own, NAME@BRANCH
    created: dict[str, Any] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    commits: dict[str, str] = field(default_factory=dict)  # the newest of each repository
    asked: list[str] = field(default_factory=list)

    def put(self, name: str, files: Mapping[str, bytes]) -> str:
        """Gives a repository these files; returns the hash of the commit."""
        self.repositories[name] = dict(files)
        self.commits[name] = sha1(repr(sorted(files.items())).encode()).hexdigest()
        return self.commits[name]

    def at(self, name: str, revision: str) -> dict[str, bytes]:
        """The files of a branch or of the newest commit of one. Raises Refused."""
        for branch in self.repositories:
            own = branch.partition("@")[2] or "main"
            if branch.partition("@")[0] == name and revision in (own, self.commits[branch]):
                return self.repositories[branch]
        raise Refused(404, "Invalid rev id")

    def environment(self) -> dict[str, str]:
        """Variables that lead huggingface_hub here. Xet is a service of its own; files go by Git LFS instead."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


class Refused(Exception):
    """An answer with a status other than 200."""

    def __init__(self, status: int, message: str, url: str = "") -> None:
        super().__init__(message)
        self.status, self.url = status, url


def answer(hub: Hub, method: str, path: str, authorization: str, body: bytes) -> Any:
    """The answer to a request, as JSON values. Raises Refused."""
    if path == "/api/validate-yaml":
        return {"errors": [], "warnings": []}
    if method == "PUT" and (stored := re.fullmatch("/store/([0-9a-f]{64})", path)):
        if sha256(body).hexdigest() != stored[1]:
            raise Refused(400, "these are other bytes")
        hub.large[stored[1]] = body
        return {}
    if resolved := re.fullmatch(r"/([\w-]+/[\w-]+)/resolve/(\w+)/(.+)", path):
        data = hub.at(f"models/{resolved[1]}", resolved[2]).get(resolved[3])
        if data is None:
            raise Refused(404, "Entry not found")
        return File(data, resolved[2])
    if authorization != f"Bearer {TOKEN}":
        raise Refused(401, "Invalid username or password.")
    if path == "/api/repos/create":
        wanted = json.loads(body)
        name = f"{wanted['type']}s/{wanted['organization']}/{wanted['name']}"
        if name in hub.repositories:
            raise Refused(409, "You already created this repo", f"{hub.url}/{name}")
        hub.created[name] = wanted
        hub.put(name, {".gitattributes": b"*.safetensors filter=lfs\n"})
        return {"url": f"{hub.url}/{name}", "id": name.partition("/")[2]}
    path = re.sub(r"^/([\w-]+/[\w-]+\.git/)", r"/models/\1", path)  # so only of models
    if found := re.fullmatch(r"/(?:api/)?(\w+/[\w-]+/[\w-]+)(?:\.git)?/(.*)", path):
        files = hub.repositories.get(found[1])
        if files is None:
            raise Refused(404, "Repository not found")
        return _of_repository(hub, files, found[1], found[2], body)
    raise Refused(404, "Not found")


def _of_repository(hub: Hub, files: dict[str, bytes], name: str, path: str, body: bytes) -> Any:
    if path.startswith("revision/"):
        sha = next(hub.commits[branch] for branch, x in hub.repositories.items() if x is hub.at(name, path[9:]))
        return {"id": name.partition("/")[2], "sha": sha, "siblings": []}
    if path.startswith("branch/"):
        hub.put(f"{name}@{path[7:]}", files)
        return {}
    if path.startswith("preupload/"):
        samples = {file["path"]: base64.b64decode(file["sample"]) for file in json.loads(body)["files"]}
        modes = {path: "lfs" if b"\0" in sample else "regular" for path, sample in samples.items()}
        return {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]}
    if path == "info/lfs/objects/batch":
        objects = [{"oid": x["oid"], "size": x["size"]} for x in json.loads(body)["objects"]]
        for x in objects:
            if x["oid"] not in hub.large:
                x["actions"] = {"upload": {"href": f"{hub.url}/store/{x['oid']}"}}
        return {"transfer": "basic", "objects": objects}
    if path.startswith("commit/"):
        files = hub.at(name, path[7:])
        for entry in map(json.loads, body.splitlines()):
            value = entry["value"]
            if entry["key"] == "file":
                data = base64.b64decode(value["content"])
                if _is_large(data):
                    raise Refused(400, "Your push was rejected because it contains binary files.")
                files[value["path"]] = data
            elif entry["key"] == "lfsFile":
                files[value["path"]] = hub.large[value["oid"]]
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
        branch = next(branch for branch, x in hub.repositories.items() if x is files)
        oid = hub.commits[branch] = sha1(body).hexdigest()
        return {"commitUrl": f"{hub.url}/{name}/commit/{oid}", "commitOid": oid, "success": True}
    if path.startswith("tree/"):
        return [_entry(path, data) for path, data in hub.at(name, path[5:]).items()]
    raise Refused(404, "Not found")


@dataclass
class File:
    """An answer that is a file of a commit. One with bytes of 0 is a large one, named by its SHA-256."""

    data: bytes
    commit: str

    @property
    def headers(self) -> dict[str, str]:
        tag = f'"{sha256(self.data).hexdigest() if _is_large(self.data) else sha1(self.data).hexdigest()}"'
        return {"X-Repo-Commit": self.commit, "ETag": tag, "X-Linked-ETag": tag, "X-Linked-Size": str(len(self.data))}


def _is_large(data: bytes) -> bool:
    return b"\0" in data


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": sha1(data).hexdigest()}
    lfs = {"oid": sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return {**entry, "lfs": lfs} if _is_large(data) else entry


@contextmanager
def running() -> Iterator[Hub]:
    """A double that answers until the end of the block."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            try:
                status, found = 200, answer(hub, self.command, path, self.headers.get("Authorization", ""), body)
            except Refused as refused:
                status, found = refused.status, {"error": str(refused), "url": refused.url}
            data = found.data if isinstance(found, File) else json.dumps(found).encode()
            self.send_response(status)
            for key, value in found.headers.items() if isinstance(found, File) else ():
                self.send_header(key, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = do

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
