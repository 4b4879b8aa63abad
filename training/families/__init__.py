"""The families there are trainers for. A new one is a file here and a line in `TASKS`."""

from training.families.pianogan import PianoTask
from training.families.spectogan import SpectoTask
from training.task import Task

TASKS: dict[str, type[Task]] = {kind.family: kind for kind in (PianoTask, SpectoTask)}
