"""Runs asynchronous functions from tests, also where Playwright holds an event loop in the tests' thread."""

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
LIMIT = 120  # seconds


def run_async(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """The result of an asynchronous function, run in a thread of its own with the caller's context."""
    context = copy_context()

    def call() -> T:
        return context.run(lambda: anyio.run(function, *args))

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(timeout=LIMIT)
