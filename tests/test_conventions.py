"""What every test keeps to, read from the source: no asserted durations, no wait without an end, a name of its own. And
how text that people read writes a share."""

import ast
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from test_architecture import ROOT

CLOCKS = {name + end for name in ("monotonic", "perf_counter", "process_time", "thread_time") for end in ("", "_ns")}
CLOCKS |= {"ru_utime", "ru_stime"}
# A clock is read there for another reason than to judge how fast something is.
MAY_READ_A_CLOCK = {"tests/serving.py": "ends the wait for a server that never answers"}
WAITS = {"communicate", "join", "result", "wait"}  # endless, called without an argument
PROGRAMS = {"call", "check_call", "check_output", "run"}  # of subprocess; endless without `timeout`

TESTS = {
    path.relative_to(ROOT).as_posix(): path
    for path in sorted(ROOT.glob("tests/**/*.py"))
    if not {"benchmarks", "node_modules"} & set(path.parts)
}

READ = ("*.md", "docs/*.md", "checkpoints/**/*.md", "explorer/**/*.py", "training/**/*.py", "explorer/ui/page/*.[hj]*")
TIGHT = re.compile(r"\d%(?!\w)|\}%|%\}")  # 5%, {share}% and {share:.0%}


def clocks(source: str) -> Iterator[int]:
    """The lines that read a clock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (node.lineno for alias in node.names if alias.name != "sleep")
        elif isinstance(node, ast.Attribute) and (
            node.attr in CLOCKS or ast.unparse(node) in ("time.time", "time.time_ns")
        ):
            yield node.lineno


def endless(source: str) -> Iterator[int]:
    """The lines that wait for a thread, a process or a result without a limit, as far as one call shows."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of_subprocess = isinstance(node.func.value, ast.Name) and node.func.value.id == "subprocess"
        if of_subprocess and node.func.attr in PROGRAMS and "timeout" not in {word.arg for word in node.keywords}:
            yield node.lineno
        if node.func.attr in WAITS and not node.args and not node.keywords:
            yield node.lineno


@pytest.mark.parametrize("name", sorted(TESTS.keys() - MAY_READ_A_CLOCK.keys()))
def test_no_test_asserts_a_duration(name: str) -> None:
    assert list(clocks(TESTS[name].read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("name", TESTS)
def test_every_wait_has_a_limit(name: str) -> None:
    assert list(endless(TESTS[name].read_text(encoding="utf-8"))) == []


def test_no_two_modules_share_a_name() -> None:  # or pytest collects neither
    names = Counter(path.name for path in TESTS.values() if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("line", ["time.time()", "from time import perf_counter", "resource.getrusage(0).ru_utime"])
def test_a_clock_is_seen(line: str) -> None:
    assert list(clocks(line)) == [1]


@pytest.mark.parametrize("line", ["subprocess.run(['ls'])", "done.result()", "thread.join()", "started.wait()"])
def test_an_endless_wait_is_seen(line: str) -> None:
    assert list(endless(line)) == [1]


@pytest.mark.parametrize(
    "line", ["subprocess.run(['ls'], timeout=9)", "done.result(9)", "''.join(names)", "datetime.time(9)"]
)
def test_what_has_an_end_is_allowed(line: str) -> None:
    assert list(endless(line)) == list(clocks(line)) == []


def test_every_exception_is_needed() -> None:
    assert [name for name in MAY_READ_A_CLOCK if not list(clocks(TESTS[name].read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize("pattern", READ)
def test_a_space_is_before_a_percent_sign(pattern: str) -> None:
    lines = [(path, line) for path in ROOT.glob(pattern) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines
    assert [(path.name, line) for path, line in lines if TIGHT.search(line) and "style." not in line] == []
