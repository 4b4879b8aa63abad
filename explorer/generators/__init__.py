"""The families of generators. A new family is a file here and a name in `FAMILIES`."""

from explorer.generators.base import Condition, Generator
from explorer.generators.diffwave import DiffWave
from explorer.generators.gansynth import GANSynth
from explorer.generators.pianogan import PianoGAN
from explorer.generators.spectogan import SpectoGAN
from explorer.generators.wavegan import WaveGAN

FAMILIES: dict[str, type[Generator]] = {
    kind.family: kind for kind in (DiffWave, GANSynth, PianoGAN, SpectoGAN, WaveGAN)
}

__all__ = ["FAMILIES", "Condition", "DiffWave", "GANSynth", "Generator", "PianoGAN", "SpectoGAN", "WaveGAN"]
