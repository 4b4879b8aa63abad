"""Those who wait for a function of the server hold no thread that others need, and only few may wait."""

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from asynchronous import run_async

from explorer.engine import _patient
from explorer.ui import panels
from explorer.ui.limits import BUSY
from explorer.ui.panels import Queue, server_function


def run(scenario: Callable[[], Any]) -> Any:
    async def limited() -> Any:
        with anyio.fail_after(60):
            return await scenario()

    return run_async(limited)


def test_those_who_wait_keep_no_other_function_waiting() -> None:
    held = threading.Event()

    def slow(request: Any) -> dict[str, Any]:
        held.wait(50)
        return {"slow": request}

    async def scenario() -> list[Any]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = 2
        long, quick = server_function(slow, 1, waiting=40), server_function(lambda request: {"quick": request}, 1)
        answers = []

        async def ask(request: int) -> None:
            answers.append(await long(request))

        async with anyio.create_task_group() as tasks:
            for i in range(40):
                tasks.start_soon(ask, i)
            await anyio.wait_all_tasks_blocked()
            assert await quick(7) == {"quick": 7}
            assert await anyio.to_thread.run_sync(lambda: "a thread of others") == "a thread of others"
            assert answers == []
            held.set()
        return answers

    assert run(scenario) == [{"slow": i} for i in range(40)]


def test_more_than_a_few_waiting_are_refused_at_once() -> None:
    held = threading.Event()

    async def scenario() -> tuple[list[bool], str]:
        queue, results = Queue(at_once=2, waiting=3), []

        async def ask() -> None:
            results.append(await queue.run(lambda: held.wait(50)))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="busy") as refused:
                await queue.run(lambda: False)
            held.set()
        return results, str(refused.value)

    assert run(scenario) == ([True] * 5, BUSY)


@pytest.mark.parametrize(("live", "patient"), [(None, True), (60.0, False)])
def test_what_follows_no_hand_is_computed_patiently(live: float | None, patient: bool) -> None:
    function = server_function(lambda _: {"patient": _patient.get()}, 1, live_seconds=live)
    assert run(lambda: function(None)) == {"patient": patient}


def test_what_follows_a_hand_waits_as_long_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "WAIT_SECONDS", 0.1)
    held = threading.Event()

    async def scenario() -> list[Any]:
        function, answers = server_function(lambda _: {"held": held.wait(50)}, 1, live_seconds=50), []

        async def ask(_: int) -> None:
            answers.append(await function(None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, 1)
            tasks.start_soon(ask, 2)
            await anyio.sleep(0.3)
            held.set()
        return answers

    assert run(scenario) == [{"held": True}] * 2


def test_a_wait_has_an_end_and_a_function_that_has_begun_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "WAIT_SECONDS", 0.1)
    held = threading.Event()

    def slow(request: Any) -> dict[str, Any]:
        held.wait(50)
        return {"slow": request}

    async def scenario() -> list[Any]:
        function, answers = server_function(slow, 1), []

        async def ask(request: int) -> None:
            answers.append(await function(request))
            held.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, 1)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ask, 2)
        return answers

    assert run(scenario) == [{"error": BUSY}, {"slow": 1}]
