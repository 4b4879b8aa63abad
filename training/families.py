"""The families there are trainers for. A new one is a file here and a line in `TASKS`."""

from training.pianogan import PianoTask
from training.spectogan import SpectoTask
from training.task import Task

TASKS: dict[str, type[Task]] = {kind.family: kind for kind in (PianoTask, SpectoTask)}
