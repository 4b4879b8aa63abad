"""The generator families that can be trained. To add one, add a file here and an entry in `TASKS`."""

from training.families.diffwave import DiffWaveTask
from training.families.gansynth import SynthTask
from training.families.pianogan import PianoTask
from training.families.spectogan import SpectoTask
from training.families.wavegan import WaveTask
from training.task import Task

TASKS: dict[str, type[Task]] = {
    kind.family: kind for kind in (DiffWaveTask, SynthTask, PianoTask, SpectoTask, WaveTask)
}
