"""What a checkpoint tells of its making."""

from training.export import portable


def test_a_command_keeps_what_it_was_asked_for_but_not_where_the_data_lay() -> None:
    told = portable("python -m training x --data ../../data/fsdd --out runs/a; python -m training x --out /tmp/b")
    assert told == "python -m training x --data fsdd --out runs/a; python -m training x --out b"
