"""The page's scripts are served completely, under a URL that changes with their content."""

import re
import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from explorer.ui import scripts
from explorer.ui.scripts import PAGE, Scripts

IMPORTED = re.compile(r"""^import .* from "\./([^"]+)";$""", re.MULTILINE)
PARTS = ["player", "seed_picture", "between", "places", "learn"]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the page's folder that a test may change."""
    folder = tmp_path / "page"
    shutil.copytree(PAGE, folder)
    monkeypatch.setattr(scripts, "PAGE", folder)
    return folder


def client(served: Scripts) -> TestClient:
    return TestClient(Starlette(routes=[served.route()]))


def address(served: Scripts) -> str:
    return served.route().path.replace("{name}", "")


def test_every_imported_module_is_served_as_a_script_that_browsers_may_cache_for_good() -> None:
    served = Scripts()
    wanted = [f"{name}.js" for name in PARTS]
    for name in wanted:
        answer = client(served).get(address(served) + name)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]
        wanted += [other for other in IMPORTED.findall(answer.text) if other not in wanted]
    assert len(wanted) > len(PARTS)


def test_a_change_of_one_module_changes_the_url_of_all(copy: Path) -> None:
    before = address(Scripts())
    assert address(Scripts()) == before
    with (copy / "recipe.js").open("a") as file:
        file.write("\n// changed\n")
    assert address(Scripts()) != before


def test_a_running_server_keeps_serving_the_scripts_that_it_was_started_with(copy: Path) -> None:
    served = Scripts()
    before = client(served).get(address(served) + "player.js").text
    (copy / "player.js").write_text("changed")
    assert client(served).get(address(served) + "player.js").text == before


@pytest.mark.parametrize("name", ["style.css", "package.json", "none.js", "..%2Fapp.py", "..%2F..%2Frecipe.py"])
def test_only_scripts_are_served(name: str) -> None:
    served = Scripts()
    assert client(served).get(address(served) + name).status_code == 404


def test_the_start_script_names_the_events_of_its_module_for_gradio() -> None:
    start = Scripts().start("player", events=("random", "go"))
    assert "'random'" in start
    assert "'go'" in start
