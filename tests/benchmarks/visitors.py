"""Visitors without browsers: they call the server over HTTP as the page does, for bench_load.py and bench_soak.py."""

import asyncio
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

STEP_SECONDS, STEPS = 0.033, 30  # between two positions of a dragged slider, and positions of one drag
REACH = 3.0  # of the dragged slider, in standard deviations
IDLE_SECONDS = 1.0  # between two acts, on average
PATIENCE_SECONDS = 120.0
LONG = ("steps", "file", "save", "render")  # acts that take the server long


@dataclass
class Log:
    """What one visitor has waited for.

    Attributes:
        waits: by kind of request, seconds until each answer: "move", "last" (from a slider's last position to its
            sound), and those of LONG.
        refused: by kind, the errors in answers.
        wrong: answers that are not of the visitor's own place.
        last: the last place that was asked for, and the sound of its answer.
    """

    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: list[tuple[str, str]] = field(default_factory=list)
    wrong: int = 0
    last: tuple[str, Any] = ("", None)

    @property
    def count(self) -> int:
        return sum(map(len, self.waits.values()))


class Visitor:
    """A person on a page, with a place of their own: no two have the same seed.

    Args:
        models: names of checkpoints, of which this visitor has one.
        long: whether the visitor also morphs and saves.
        hurry: makes no pause and lets no position out.
    """

    def __init__(
        self, client: httpx.AsyncClient, ids: dict[str, int], number: int, models: list[str], long: bool, hurry: bool
    ) -> None:
        self._client, self._ids, self._long, self._hurry = client, ids, long, hurry
        self._page, self._rng, self.log = f"page{number}", random.Random(number), Log()
        self._recipe: dict[str, Any] = {
            "model": models[number % len(models)],
            "seed": 10_000 + number,
            "seed_b": 50_000 + number,
        }

    async def visit(self, until: float) -> Log:
        """Drags, morphs and saves until `time.monotonic()` is `until`."""
        if not self._hurry:
            await asyncio.sleep(self._rng.uniform(0, 2 * IDLE_SECONDS))
        while time.monotonic() < until:
            await self.act()
            if not self._hurry:
                await asyncio.sleep(self._rng.expovariate(1 / IDLE_SECONDS))
        return self.log

    async def act(self) -> None:
        """Drags a slider, or does one of the things that take longer."""
        kind = self._rng.choices(("drag", *LONG), (16, 1, 1, 1, 1))[0] if self._long else "drag"
        if kind == "drag":
            await self._drag()
        elif kind == "steps":
            await self._timed(kind, "steps", [self._text(), 7, "equal", True])
        elif kind == "save":
            await self._timed(kind, "save", [self._text(), "wav"])
        elif kind == "render":
            await self._render()
        else:
            await self._file()

    async def _drag(self) -> None:
        """As `Asking` of the page: one request on its way, of the positions meanwhile only the newest is asked for."""
        begun, phase, asked = time.monotonic(), self._rng.uniform(0, 6), -1
        while asked < STEPS - 1:
            passed = asked + 1 if self._hurry else int((time.monotonic() - begun) / STEP_SECONDS)
            if (at := min(passed, STEPS - 1)) == asked:
                await asyncio.sleep(STEP_SECONDS / 4)
                continue
            asked = at
            offset = round(REACH * self._rng.uniform(0.2, 1) * (-1) ** int(phase + at / 6), 4)
            self._recipe["offsets"] = {"z0": offset or 0.05}
            kind = "last" if at == STEPS - 1 else "move"
            answer = await self._timed(kind, "lead", self._text())
            if "error" not in answer:
                shown = json.loads(answer["recipe"])
                self.log.wrong += any(shown.get(name) != value for name, value in self._recipe.items())
                self.log.last = (self._text(), answer.get("pcm") or answer.get("notes"))

    async def _file(self) -> None:
        """A file of a whole morph."""
        begun = time.monotonic()
        job = (await self._ask("begin_file", [self._text(), 5, "t", "wav"])).get("job")
        state: dict[str, Any] = {} if job else {"error": "not begun"}
        while "name" not in state and "error" not in state:
            state = await self._ask("file_progress", job)
        for piece in range(state.get("pieces", 0)):
            state |= await self._ask("fetch_file", [job, piece])
        await self._ask("cancel_file", job)
        self._note("file", time.monotonic() - begun, state)

    async def _render(self) -> None:
        """As a program: a call of the API, whose file the server keeps."""
        begun = time.monotonic()
        answer = await self._post("/gradio_api/run/render", {"data": [self._text(), "npz"]})
        self._note("render", time.monotonic() - begun, answer)

    async def _timed(self, kind: str, function: str, request: Any) -> dict[str, Any]:
        begun = time.monotonic()
        answer = await self._ask(function, request)
        self._note(kind, time.monotonic() - begun, answer)
        return answer

    def _note(self, kind: str, seconds: float, answer: dict[str, Any]) -> None:
        if "error" in answer:
            self.log.refused.append((kind, str(answer["error"])))
        else:
            self.log.waits[kind].append(seconds)

    async def _ask(self, function: str, request: Any) -> dict[str, Any]:
        sent = {
            "data": request,
            "component_id": self._ids[function],
            "fn_name": function,
            "session_hash": self._page,
        }
        return await self._post("/gradio_api/component_server", sent)

    async def _post(self, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self._client.post(path, json=sent)
            found: dict[str, Any] = answer.json()
            return found
        except (httpx.HTTPError, ValueError) as error:
            return {"error": repr(error)}

    def _text(self) -> str:
        return json.dumps(self._recipe)


def function_ids(url: str) -> dict[str, int]:
    """The component of each function that the page can call."""
    config = httpx.get(f"{url}/config", timeout=PATIENCE_SECONDS).json()
    return {name: x["id"] for x in config["components"] for name in x["props"].get("server_fns", [])}


def crowd(url: str, numbers: range, models: list[str], seconds: float, long: bool, hurry: bool = False) -> list[Log]:
    """Some visitors at the same time, in one process; returns what each has waited for."""

    async def visit() -> list[Log]:
        ids = function_ids(url)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS, limits=limits) as client:
            until = time.monotonic() + seconds
            visitors = [Visitor(client, ids, number, models, long, hurry) for number in numbers]
            return await asyncio.gather(*(visitor.visit(until) for visitor in visitors))

    return asyncio.run(visit())
