"""Tables of figures, as people and programs read them."""

import json

import pytest

from training.evaluation.evaluate import Report
from training.evaluation.tables import Column, Table, Target

COLUMNS = (Column("right", "right", percent=True, ideal="high"), Column("distance", "distance", ideal="low"))
TABLE = Table(
    "Speech",
    COLUMNS,
    {"real": {"right": 0.985, "distance": 0.0}, "a model": {"distance": 12.346}},
    {"right": Target(low=0.98)},
    ("a note",),
)


def test_text_lines_up_its_columns() -> None:
    assert TABLE.text().splitlines() == [
        "Speech",
        "──────",
        "            right  distance",
        "ideal        high       low",
        "target   ≥ 98.0 %",
        "real       98.5 %     0.000",
        "a model         –     12.35",
        "* a note",
    ]


def test_markdown_has_a_row_for_each_row_and_as_many_cells_in_each() -> None:
    lines = [line for line in TABLE.markdown().splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [4] * 6
    assert lines[-1] == "| a model | – | 12.35 |"


def test_json_has_all_digits_and_omits_missing_figures() -> None:
    data = json.loads(json.dumps(TABLE.to_dict()))
    assert data["rows"] == {"real": {"right": 0.985, "distance": 0.0}, "a model": {"distance": 12.346}}
    assert data["targets"] == {"right": {"low": 0.98, "high": None}}


@pytest.mark.parametrize(
    ("target", "text"),
    [(Target(low=0.5), "≥ 50.0 %"), (Target(high=0.75), "≤ 75.0 %"), (Target(0.81, 0.87), "81.0–87.0 %")],
)
def test_a_target_is_written_with_its_direction(target: Target, text: str) -> None:
    assert target.text(COLUMNS[0]) == text


def test_the_bounds_of_a_target_meet_it_and_nan_does_not() -> None:
    target = Target(1, 2)
    assert [target.met(x) for x in (0.9, 1, 2, 2.1, float("nan"))] == [False, True, True, False, False]


def test_the_verdict_counts_the_model_row_and_every_row_of_a_table_of_measures() -> None:
    models = Table("Piano", COLUMNS, {"real": {"right": 0.5}, "model": {"right": 0.99}}, {"right": Target(low=0.98)})
    way = (Column("way", "of the way", percent=True),)
    measures = Table("Form", way, {"pulse": {"way": 0.1}, "key": {"way": 0.9}}, {"way": Target(low=0.6)})
    verdict = Report("a", "", "", (models, measures)).verdict()
    assert verdict == "2 of 3 targets met; missed: pulse 10.0 % (≥ 60.0 %)"
