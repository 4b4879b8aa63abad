"""The API over MCP, called by MCP's own client; it has the limits of every other way in."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from asynchronous import run_async
from toy import write

from explorer.engine import Engine
from explorer.recipe import Recipe
from explorer.ui import serve
from explorer.ui.limits import MAX_BODY
from explorer.ui.starting import temporary_files

if "CI" not in os.environ:  # there it is installed
    pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with temporary_files():
        app = serve(Engine(folder), "127.0.0.1", mcp=True)
        yield f"{app.local_url}gradio_api/mcp/"
        app.close()


def spoken(url: str, scenario: Callable[[Any], Any]) -> Any:
    """What a scenario returns, which is given a session of a client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async def session() -> Any:
        with anyio.fail_after(120):
            async with streamable_http_client(url) as (reading, writing, _), ClientSession(reading, writing) as session:
                await session.initialize()
                return await scenario(session)

    return run_async(session)


def called(url: str, name: str, **arguments: Any) -> tuple[bool, list[str]]:
    """Whether a tool has failed, and the texts that it has answered."""

    async def call(session: Any) -> Any:
        return await session.call_tool(name, arguments)

    answer = spoken(url, call)
    return answer.isError, [part.text for part in answer.content if part.type == "text"]


def test_the_tools_are_the_functions_of_the_api_with_their_arguments(url: str) -> None:
    async def tools(session: Any) -> Any:
        return (await session.list_tools()).tools

    found = {tool.name: tool for tool in spoken(url, tools)}
    assert list(found) == ["models", "render", "morph", "measure"]
    arguments = found["render"].inputSchema
    assert arguments["required"] == ["recipe"]
    assert arguments["properties"]["format"]["default"] == "wav"
    assert all(x["description"] for x in arguments["properties"].values())
    assert all("Example: " in tool.description for tool in found.values())


def test_a_sound_is_rendered_measured_and_rendered_again(url: str, folder: Path) -> None:
    failed, (models,) = called(url, "models")
    assert not failed
    assert [model["name"] for model in json.loads(models)] == ["toy"]
    _, (address, recipe) = called(url, "render", recipe={"model": "toy", "seed": 3})
    place = Engine(folder).complete(Recipe("toy", seed=3))
    assert Recipe.from_json(recipe) == place.recipe
    assert httpx.get(address, timeout=60).content.startswith(b"RIFF")
    assert called(url, "render", recipe=recipe) == (False, [address, recipe])
    _, (measured,) = called(url, "measure", recipe=recipe)
    assert json.loads(measured)["recipe"] == json.loads(recipe)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("render", {"recipe": {"model": "cats"}}),
        ("render", {"recipe": {"model": "../toy"}}),
        ("render", {"recipe": {"model": "toy", "t": "x" * 5000}}),
        ("render", {"recipe": 5}),
        ("render", {"recipe": "/etc/passwd", "format": "json"}),
        ("render", {}),
        ("morph", {"recipe": {"model": "toy"}, "steps": 10**9}),
        ("lead", {"recipe": {"model": "toy"}}),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_call_is_one_sentence(url: str, name: str, arguments: dict[str, Any]) -> None:
    failed, (said,) = called(url, name, **arguments)
    assert failed
    assert len(said) < 1000
    assert "\n" not in said
    assert "/site-packages" not in said


def test_it_has_the_limits_of_every_other_way_in(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        as_json = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        assert client.post("", content=b"[" * (MAX_BODY + 1), headers=as_json).status_code == 413
        assert client.post("", content=b"[" * 100_000, headers=as_json).status_code == 400
        assert client.post("", json={}, headers={**as_json, "Host": "evil.example"}).status_code == 403
        assert client.post("", json={}, headers={**as_json, "Origin": "https://evil.example"}).status_code == 403
        assert client.get("", headers=as_json).status_code == 405  # a stream without an end
        assert client.get("sse").status_code == 405
        assert client.post("messages/?session_id=x", json={}).status_code == 404
