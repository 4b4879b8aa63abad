"""What strangers may send to the app: every answer is one sentence, bounded, and says nothing of the server."""

import http.client
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from asynchronous import run_async
from gradio import processing_utils
from serving import ROOT
from toy import write

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.sound import synth
from explorer.ui import limits, serve
from explorer.ui.limits import MAX_BODY, MAX_UPLOAD, Limits, Newest
from explorer.ui.starting import TEMPORARY, temporary_files

API = "/gradio_api"
LINK = "?model=toy&seed=3"
MEGABYTE = 1 << 20
SESSIONS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The app on a toy, started where the environment asks for what it must not do."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder)
    with pytest.MonkeyPatch.context() as patch, temporary_files():
        patch.setenv("GRADIO_SSR_MODE", "true")
        patch.setattr("explorer.ui.app.SESSIONS", SESSIONS)
        app = serve(Engine(folder))  # at an address of this machine alone
        yield app
        app.close()


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.local_url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def config(client: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/config").json()
    return found


@pytest.fixture(scope="module")
def call(client: httpx.Client, config: dict[str, Any]) -> Callable[..., httpx.Response]:
    """Calls a server function as the page does."""
    ids = {name: x["id"] for x in config["components"] for name in x["props"].get("server_fns", [])}

    def send(name: str, data: Any, page: str = "page") -> httpx.Response:
        request = {"data": data, "component_id": ids[name], "fn_name": name, "session_hash": page}
        return client.post(f"{API}/component_server", content=json.dumps(request), headers=AS_JSON)

    return send


@pytest.fixture(scope="module")
def event(client: httpx.Client, config: dict[str, Any]) -> Callable[..., httpx.Response]:
    """Sends a gradio event: "load" of the page, or "upload"."""

    def send(name: str, data: list[Any]) -> httpx.Response:
        (number,) = (x["id"] for x in config["dependencies"] if any(target[1] == name for target in x["targets"]))
        return client.post(f"{API}/run/predict", json={"data": data, "fn_index": number, "session_hash": "page"})

    return send


AS_JSON = {"Content-Type": "application/json"}


def sentence(answer: httpx.Response) -> str:
    """The error in an answer, once it is certain that it says nothing of the server."""
    assert len(answer.content) < 2000
    said = answer.json().get("error") or answer.json()["detail"]
    assert isinstance(said, str)
    assert "\n" not in said
    assert not re.search(r"Traceback|site-packages|(?<![\w.])/(?:tmp|home|usr|root|srv)/", said)
    return said


def files() -> set[Path]:
    """The files of visitors that the server keeps."""
    return {path for path in Path(os.environ[TEMPORARY]).rglob("*") if path.is_file() and path.name != ".lock"}


def uploaded(client: httpx.Client, name: str, data: bytes) -> httpx.Response:
    return client.post(f"{API}/upload", files=[("files", (name, data))])


# Requests that are refused before they are parsed.


@pytest.mark.parametrize("path", ["component_server", "run/predict", "api/render", "call/render", "queue/join"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_is_refused_before_it_is_parsed(client: httpx.Client, path: str, chunked: bool) -> None:
    body = b"[" + b"[]," * (MEGABYTE // 3) + b"0]"
    content = iter([body[:MAX_BODY], body[MAX_BODY:]]) if chunked else body
    answer = client.post(f"{API}/{path}", content=content, headers=AS_JSON)
    assert answer.status_code == 413
    assert sentence(answer) == "This is too large: at most 128 kB are taken."


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_is_refused_before_it_has_ended(chunked: bool) -> None:
    pieces = [{"type": "http.request", "body": bytes(MAX_BODY + 1), "more_body": True}] if chunked else []
    sent: list[Any] = []

    async def receive() -> Any:
        return pieces.pop()  # an error, once more is asked for

    async def send(message: Any) -> None:
        sent.append(message)

    async def parse(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    headers = [] if chunked else [(b"content-length", b"%d" % (MAX_BODY + 1))]
    scope = {"type": "http", "method": "POST", "path": f"{API}/component_server", "headers": headers}
    run_async(Limits(parse, loopback=False), scope, receive, send)
    assert sent[0]["status"] == 413


async def sent_to(app: Limits, receive: Callable[[], Any], path: str = "component_server") -> int:
    """The status with which a request is answered, to the end, whose body is received so."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": f"{API}/{path}", "headers": []}, receive, send)
    start, _ = sent
    return int(start["status"])


async def answer_all(scope: Any, receive: Any, send: Any) -> None:
    """An app that reads a request, begins to answer it, and ends once its client is gone."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    assert (await receive())["type"] == "http.disconnect"
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("whole", [False, True])
def test_a_request_that_takes_long_to_arrive_is_refused_but_an_answer_may_take_long(
    monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(limits, "ARRIVAL_SECONDS", 0.05)
    messages: Iterator[Any] = iter(
        [{"type": "http.request", "body": b"{", "more_body": not whole}, {"type": "http.disconnect"}]
    )

    async def receive() -> Any:
        message = next(messages)
        if message["type"] == "http.disconnect":
            await anyio.sleep(0.2 if whole else 100)
        return message

    assert run_async(sent_to, Limits(answer_all, loopback=False), receive) == (200 if whole else 408)


def test_uploads_that_arrive_at_one_time_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_UPLOADS", 2 * MAX_BODY)

    async def scenario() -> tuple[int, list[int]]:
        app, held_up, first = Limits(answer_all, loopback=False), anyio.Lock(), list[int]()

        def body(held: bool) -> Callable[[], Any]:
            pieces = [{"type": "http.request", "body": bytes(MAX_BODY), "more_body": more} for more in (True, False)]

            async def receive() -> Any:
                if held and len(pieces) == 1:
                    async with held_up:
                        pass
                return pieces.pop(0) if pieces else {"type": "http.disconnect"}

            return receive

        async def slow() -> None:
            first.append(await sent_to(app, body(True), "upload"))

        async with anyio.create_task_group() as tasks, held_up:
            tasks.start_soon(slow)
            await anyio.wait_all_tasks_blocked()
            first += [await sent_to(app, body(False), "upload") for _ in range(2)]
        return await sent_to(app, body(False), "upload"), first

    assert run_async(scenario) == (200, [503, 503, 200])


def test_a_request_for_24_pictures_of_long_recipes_is_small_enough_to_be_answered() -> None:
    long = Recipe("m" * 60, weights="0" * 64, label="x" * 60, offsets=tuple((f"pc{i}", 1.25) for i in range(16)))
    assert len(json.dumps([long.to_json()] * 24)) < MAX_BODY / 2


@pytest.mark.parametrize("length", ["-1", "x", "1" * 5000])
def test_a_false_length_is_refused(server: Any, length: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("POST", f"{API}/component_server", headers={"Content-Length": length})
    assert connection.getresponse().status in (400, 413)
    connection.close()


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /config HTTP/1.1\r\nHost: ", b"POST /gradio_api/upload HTTP/1.1\r\nContent-Length: 99\r\n\r\n-"],
    ids=["nothing", "headers", "body"],
)
def test_connections_that_send_no_more_keep_nobody_waiting(server: Any, client: httpx.Client, begun: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            address = ("127.0.0.1", server.server_port)
            stack.enter_context(socket.create_connection(address, timeout=60)).sendall(begun)
        assert client.get("/config").status_code == 200


def test_no_websocket_is_opened(client: httpx.Client) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}
    for path in ("/", "/queue/join", f"{API}/queue/join"):
        assert client.get(path, headers=headers).status_code in (200, 400, 403, 404, 405)


def test_a_form_is_taken_for_uploads_alone(client: httpx.Client) -> None:
    before = files()
    for path in ("component_server", "process_recording", "run/predict"):
        answer = client.post(f"{API}/{path}", files={"files": ("a.wav", b"RIFF")})
        assert answer.status_code in (404, 415)
        sentence(answer)
    assert files() == before


@pytest.mark.parametrize(
    "path", ["login", "gradio_api/process_recording", "gradio_api/vibe-edit", "gradio_api/run-history/connect"]
)
def test_what_the_app_does_not_use_cannot_be_posted_to(client: httpx.Client, path: str) -> None:
    assert client.post(f"/{path}", json={}).status_code == 404


@pytest.mark.parametrize(
    "path", ["deep_link?session_hash=page", "proxy=http://example.org/", "run-history/buckets", "profiling/traces"]
)
def test_what_the_app_does_not_use_cannot_be_asked_for(client: httpx.Client, path: str) -> None:
    before = files()
    assert client.get(f"{API}/{path}").status_code == 404
    assert files() == before


def test_neither_server_side_rendering_nor_the_run_history_is_on(server: Any, client: httpx.Client) -> None:
    # In them lies the known hole of gradio 6.27 to 6.31.
    assert server.ssr_mode is False
    assert server.run_history is False
    assert client.get(f"{API}/runs").status_code == 404
    assert client.post(f"{API}/run-history/connect", json={}).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:7860"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "192.0.2.1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1234", "Origin": "http://127.0.0.1:99"}, 200),
        ({"Host": "[::1]:7860"}, 200),
        ({"Host": "LOCALHOST."}, 200),
    ],
    ids=str,
)
def test_a_loopback_server_answers_to_loopback_names_alone(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    assert client.get("/config", headers=headers).status_code == status


# Names, links and calls.


@pytest.mark.parametrize(
    "name", ["x" + "@1" * 40_000, "toy" + "@1" * 1000, "../toy", "/etc/passwd", "toy\0", "\ud800", "CON"]
)
def test_a_hostile_name_is_refused_in_a_sentence_by_every_function_that_takes_one(
    call: Callable[..., httpx.Response], name: str
) -> None:
    recipe = json.dumps({"model": name})
    requests = {
        "lead": recipe,
        "appraise": recipe,
        "save": [recipe, "wav"],
        "steps": [recipe, 2, "t", False],
        "begin_file": [recipe, 2, "t", "wav"],
        "lesson_data": recipe,
        "measure": [recipe],
        "stages": recipe,
        "gallery": name,
    }
    for function, request in requests.items():
        answer = call(function, request)
        assert answer.status_code == 200
        assert sentence(answer), function


JUNK: dict[str, Any] = {
    "null": None,
    "true": True,
    "number": 1e308,
    "empty": "",
    "list": [],
    "object": {},
    "list of null": [None] * 4,
    "long": "x" * 100_000,
    "nested": json.loads("[" * 900 + "]" * 900),
    "recipe nested": '{"model":' + "[" * 40_000,
    "recipe of digits": '{"model":"toy","seed":' + "9" * 90_000 + "}",
    "recipe of nan": '{"model":"toy","t":NaN}',
    "recipe of many": json.dumps({"model": "toy", "offsets": {f"z{i}": 1 for i in range(5000)}}),
    "markup": "?model=<img src=x onerror=alert(1)>",
    "file": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
}
FUNCTIONS = (
    "lead",
    "save",
    "appraise",
    "pictures",
    "steps",
    "begin_file",
    "file_progress",
    "fetch_file",
    "gallery",
    "measure",
)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_refused_in_a_sentence(call: Callable[..., httpx.Response], function: str, junk: str) -> None:
    answer = call(function, JUNK[junk])
    assert answer.status_code == 200
    if (function, junk) != ("pictures", "list"):
        assert "pictures" in answer.json() or sentence(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps({"data": 1}).encode(),
        json.dumps({"data": 1, "component_id": 10**9, "fn_name": "lead", "session_hash": "x"}).encode(),
        json.dumps({"data": 1, "component_id": [], "fn_name": "lead", "session_hash": "x"}).encode(),
        json.dumps({"data": 1, "component_id": 1, "fn_name": "__class__", "session_hash": {}}).encode(),
        json.dumps({"data": [1], "fn_index": 0, "session_hash": "x"}).encode(),
        json.dumps({"data": [1], "fn_index": -5, "session_hash": "x"}).encode(),
        json.dumps({"data": None, "fn_index": 10**9}).encode(),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("path", ["component_server", "run/predict", "api/nothing", "call/nothing", "queue/join"])
def test_a_malformed_request_is_the_clients_mistake(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(f"{API}/{path}", content=body, headers=AS_JSON)
    assert answer.status_code < 500
    assert len(answer.content) < 5000
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text


@pytest.mark.parametrize(
    "link",
    [
        "?model=x" + "@1" * 1500,
        "?model=toy&seed=" + "9" * 3000,
        "?model=toy&t=nan",
        "?model=../../etc/passwd",
        "?model=<script>alert(1)</script>",
        "?model=toy&label=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        "?model=toy&offsets." + "z" * 3000 + "=1",
        "?model=toy&weights=zzzz",
        "?model=%00",
        "?model=%ed%a0%80",
        "?" + "&" * 3000 + "model=",
    ],
    ids=lambda link: link[:24],
)
def test_whatever_the_link_the_page_opens_and_says_why_it_cannot_be_played(
    event: Callable[..., httpx.Response], link: str
) -> None:
    shown = event("load", [link]).json()["data"][-1]
    assert shown["error"].startswith("This link cannot be played: ")
    assert len(shown["error"]) < 1000
    assert json.loads(shown["recipe"])["model"] == "toy"


# Files.


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "/proc/self/environ",
        "explorer/ui/app.py",
        "C:\\Windows\\win.ini",
        "//example.org/x",
        "http://127.0.0.1:1/",
        "http://169.254.169.254/latest/meta-data/",
        "https://example.org/",
        "HTTPS:/example.org/",
        " http://example.org/",
        "file:///etc/passwd",
        "\0",
    ],
)
def test_no_file_outside_the_cache_and_no_address_is_served(client: httpx.Client, path: str) -> None:
    answer = client.get(f"{API}/file={path}".replace("\0", "%00"))
    assert answer.status_code in (403, 404)
    assert len(answer.content) < 500


@pytest.mark.parametrize("path", ["/etc/hostname.json", "http://example.org/a.json", "https://huggingface.co/a.json"])
def test_only_an_uploaded_file_can_be_opened(event: Callable[..., httpx.Response], path: str) -> None:
    before = files()
    answer = event("upload", [{"path": path, "orig_name": "a.json", "meta": {"_type": "gradio.FileData"}}])
    assert answer.status_code < 500
    sentence(answer)
    assert files() == before


def test_no_other_file_of_the_server_can_be_opened(event: Callable[..., httpx.Response]) -> None:
    path = Path(os.environ[TEMPORARY]) / "of-somebody.json"  # where gradio allows every file
    path.write_text(Recipe("toy", seed=5).to_json(), encoding="utf-8")
    answer = event("upload", [{"path": str(path), "orig_name": "a.json", "meta": {"_type": "gradio.FileData"}}])
    assert "no longer there" in answer.json()["data"][-1]["error"]
    path.unlink()


@pytest.mark.usefixtures("server")
def test_gradio_fetches_no_address() -> None:
    with pytest.raises(ValueError, match="no addresses"):
        run_async(processing_utils.async_ssrf_protected_download, "https://example.org/a.json", os.environ[TEMPORARY])


def test_an_uploaded_file_is_opened(client: httpx.Client, event: Callable[..., httpx.Response]) -> None:
    (path,) = uploaded(client, "../../place.json", Recipe("toy", seed=5).to_json().encode()).json()
    assert Path(path).name == "place.json"
    opened = event("upload", [{"path": path, "orig_name": "a.json", "meta": {"_type": "gradio.FileData"}}])
    assert json.loads(opened.json()["data"][-1]["recipe"])["seed"] == 5


def test_an_upload_is_one_file_of_bounded_size(client: httpx.Client) -> None:
    before = files()
    assert client.post(f"{API}/upload", files=[("files", (name, b"x")) for name in "ab"]).status_code == 400
    assert client.post(f"{API}/upload", files={"other": ("a", b"x")}).status_code == 400
    for size in (MAX_UPLOAD + 1, 2 * MAX_UPLOAD):
        assert uploaded(client, "a.wav", bytes(size)).status_code == 413
    assert files() == before
    assert uploaded(client, "a.wav", bytes(MAX_UPLOAD)).status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(server: Any, client: httpx.Client) -> None:
    before = files()
    head = (
        f"POST {API}/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {4 * MEGABYTE}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(head.encode() + bytes(3 * MEGABYTE))
    assert client.get("/config").status_code == 200
    assert files() == before


def test_a_part_of_a_file_does_not_have_the_headers_of_its_request(client: httpx.Client) -> None:
    (path,) = uploaded(client, "a.json", b"0123456789").json()
    sent = {"Range": "bytes=2-4", "Set-Cookie": "a=b", "Refresh": "0; url=https://evil.example/", "X-Evil": "1"}
    answer = client.get(f"{API}/file={path}", headers=sent)
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert answer.headers.keys() & {"set-cookie", "refresh", "x-evil", "host"} == set()


def test_the_same_upload_is_the_same_file(client: httpx.Client) -> None:
    assert uploaded(client, "a.json", b"{}").json() == uploaded(client, "a.json", b"{}").json()


@pytest.mark.parametrize(
    "path", ["/", "/config", f"{API}/info", "/nothing", f"{API}/file=/etc/passwd", f"{API}/deep_link"]
)
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    for policy in ("referrer-policy", "cross-origin-resource-policy", "cross-origin-opener-policy"):
        assert headers[policy] == "same-origin"
    assert headers["permissions-policy"].startswith("camera=(), microphone=()")
    parts = [part.strip().partition(" ") for part in headers["content-security-policy"].split(";")]
    content = {name: sources for name, _, sources in parts}
    if path.startswith(f"{API}/file="):  # is never shown as a page
        assert content == {"default-src": "'none'", "frame-ancestors": "'none'", "sandbox": ""}
        return
    assert content.pop("frame-ancestors") == "'self' https://huggingface.co"  # of Spaces
    assert (content["default-src"], content["object-src"], content["base-uri"]) == ("'self'", "'none'", "'self'")
    assert set(" ".join(content.values()).split()) == {
        *("'self'", "'none'", "data:", "blob:"),
        *("'unsafe-inline'", "'unsafe-eval'"),  # gradio's page needs them
    }


def test_the_page_says_nothing_of_the_servers_folders_and_has_the_samples(client: httpx.Client) -> None:
    for path in ("/", "/config", f"{API}/info"):
        text = client.get(path).text
        assert [folder for folder in (str(ROOT), sys.prefix, os.environ[TEMPORARY]) if folder in text] == []
    assert client.get("/samples/hard-C2.ogg").content == (synth.SAMPLES / "hard-C2.ogg").read_bytes()
    assert client.get("/samples/%2e%2e/synth.py").status_code == 404


def test_what_is_kept_of_pages_and_programs_is_bounded_and_others_are_served(
    server: Any, client: httpx.Client, config: dict[str, Any], call: Callable[..., httpx.Response]
) -> None:
    (measure,) = (x["id"] for x in config["dependencies"] if x["api_name"] == "measure")

    def join(session: str) -> None:
        request = {"data": [{"model": "toy"}], "fn_index": measure, "session_hash": session}
        assert client.post(f"{API}/queue/join", json=request).status_code == 200

    for i in range(SESSIONS + 5):
        assert call("cancel_file", "nothing", page=f"{i}").status_code == 200
        join("x" * 100_000 + str(i))  # whose answer nobody fetches
    join("last")
    assert '"success":true' in client.get(f"{API}/queue/data", params={"session_hash": "last"}).text
    kept = server._queue.pending_messages_per_session, server._queue.pending_event_ids_session
    assert [len(x) for x in (server.app.state_holder.session_data, *kept)] == [SESSIONS] * 3


def test_what_is_written_for_a_session_that_is_no_longer_kept_is_lost() -> None:
    kept = Newest(2, list[int])
    for session in "abc":
        kept[session] = [0]
    kept["a"].append(1)
    assert kept == {"b": [0], "c": [0]}
