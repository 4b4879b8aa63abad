"""From a recipe to its sound: the one thing that the app, the command line, Python and the notebooks call."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os.path import isfile  # unlike Path.is_file it takes a name of any length
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explorer import checkpoint
from explorer.checkpoint import Card, CheckpointError
from explorer.directions import Direction, principal
from explorer.generators.base import Generator
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Sound

CACHED_SOUNDS = 64
CACHED_MODELS = 8


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: the card, the generator in eval mode, and the directions its sliders follow."""

    card: Card
    generator: Generator
    directions: tuple[Direction, ...]


@contextmanager
def _one_thread() -> Iterator[None]:
    """At batch 1 one thread is fastest, and the same number of threads always gives the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Engine:
    """Renders recipes on the checkpoints of a folder. Safe to share between threads.

    The same recipe gives the same bits on the same machine, through whichever door it came.
    """

    def __init__(self, folder: Path = checkpoint.DEFAULT_FOLDER) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._sounds: OrderedDict[Recipe, Sound] = OrderedDict()

    def names(self) -> list[str]:
        """The checkpoints there are, sorted."""
        return sorted(checkpoint.find(self.folder))

    def cards(self) -> list[Card]:
        """What there is to play, by name. Raises CheckpointError if a file is broken."""
        return [checkpoint.read_card(path) for _, path in sorted(checkpoint.find(self.folder).items())]

    def model(self, name: str) -> Model:
        """Loads a checkpoint, or returns it as loaded before, unless the file has changed since.

        Raises:
            CheckpointError: naming the checkpoints there are, if this is none of them, or why it cannot be used.
        """
        path = self.folder / f"{name}.safetensors"
        if path.parent != self.folder or not isfile(path):  # a name from a link must not lead out of the folder
            raise CheckpointError(f"no checkpoint {name!r} in {self.folder}; there are: {', '.join(self.names())}")
        card = checkpoint.read_card(path)
        with self._lock, _one_thread():
            model = self._models.get(name)
            if model is None or model.card.sha256 != card.sha256:
                generator, directions = checkpoint.load(path)
                model = Model(card, generator, directions or principal(generator, samples=512))
                self._models[name] = model
            self._models.move_to_end(name)
            while len(self._models) > CACHED_MODELS:
                self._models.popitem(last=False)
            return model

    def complete(self, recipe: Recipe) -> Recipe:
        """The recipe with what it left open filled in (weights, label, path, settings) and what has no effect taken
        out, so that two recipes of the same sound are equal.

        Raises:
            CheckpointError: if the checkpoint is not here, or has other weights than the recipe was made with.
            RecipeError: if the model has no such label, direction or setting.
        """
        return _complete(self.model(recipe.model), recipe)

    def latent(self, recipe: Recipe) -> Tensor:
        """The place (*latent.shape) in latent space that a recipe names. Raises as `complete` does."""
        model = self.model(recipe.model)
        return _latent(model, _complete(model, recipe))

    def output(self, recipe: Recipe) -> Tensor:
        """The generator's output (*representation.shape) in [-1, 1], not yet decoded. Raises as `complete` does."""
        model = self.model(recipe.model)
        with self._lock, _one_thread(), torch.inference_mode():
            return _output(model, _complete(model, recipe))

    def render(self, recipe: Recipe) -> Sound:
        """The sound of a recipe. Raises as `complete` does."""
        model = self.model(recipe.model)
        recipe = _complete(model, recipe)
        with self._lock:
            if recipe not in self._sounds:
                with _one_thread(), torch.inference_mode():
                    x = _output(model, recipe)
                    sound = model.generator.representation.decode(x, dict(recipe.settings))
                    self._sounds[recipe] = self._guarded(sound)
            self._sounds.move_to_end(recipe)
            while len(self._sounds) > CACHED_SOUNDS:
                self._sounds.popitem(last=False)
            return self._sounds[recipe]

    def _guarded(self, sound: Sound) -> Sound:
        """The sound, whose waveform is computed on one thread too, whenever it is asked for."""
        def synthesize() -> np.ndarray:
            with self._lock, _one_thread(), torch.inference_mode():
                return sound.synthesize()
        return replace(sound, synthesize=synthesize)

    def render_all(self, recipes: Iterable[Recipe]) -> Iterator[Sound]:
        """The sounds of many recipes, one after another; bit for bit those of `render`."""
        return map(self.render, recipes)


def _complete(model: Model, recipe: Recipe) -> Recipe:
    generator = model.generator
    if not model.card.sha256.startswith(recipe.weights):
        raise CheckpointError(
            f"this recipe was made with weights {recipe.weights[:12]} of {recipe.model!r}; "
            f"here are weights {model.card.sha256[:12]}")
    label, label_b, blend = recipe.label, recipe.label_b, recipe.blend
    if generator.condition is None and (label is not None or label_b is not None):
        raise RecipeError(f"{recipe.model!r} takes no label")
    if generator.condition is not None:
        label = generator.condition.choices[0] if label is None else label
        for known in (label, label_b):
            if known is not None:
                try:
                    generator.condition.encode(known)
                except ValueError as error:
                    raise RecipeError(str(error)) from None
        if label_b is None or blend == 0 or label_b == label:
            label_b, blend = None, 0.0
    options = generator.representation.settings
    chosen = {name: values[0] for name, values in options.items()}
    for name, option in recipe.settings:
        if option not in options.get(name, ()):
            raise RecipeError(f"{recipe.model!r} has no setting {name} = {option!r}; it has: {dict(options)}")
        chosen[name] = option
    for name, _ in recipe.offsets:
        _vector(model, name)
    moving = recipe.seed_b is not None and recipe.t > 0
    path = recipe.path or generator.latent.default_path
    return replace(
        recipe,
        weights=model.card.sha256,
        seed_b=recipe.seed_b if moving else None,
        t=recipe.t if moving else 0.0,
        path=path if moving else None,
        label=label,
        label_b=label_b,
        blend=blend if label_b is not None else 0.0,
        settings=tuple(chosen.items()),
    )


def _latent(model: Model, recipe: Recipe) -> Tensor:
    space = model.generator.latent
    z = space.from_seed(recipe.seed)
    if recipe.seed_b is not None:
        z = space.interpolate(z, space.from_seed(recipe.seed_b), torch.tensor([recipe.t]), recipe.path)[0]
    z = z * recipe.truncation
    for name, amount in recipe.offsets:
        z = z + amount * _vector(model, name)
    return z.clamp(-1, 1) if space.prior == "uniform" else z


def _output(model: Model, recipe: Recipe) -> Tensor:
    condition, weights = model.generator.condition, None
    if condition is not None:
        assert recipe.label is not None  # filled in by _complete
        weights = condition.encode(recipe.label)
        if recipe.label_b is not None:
            weights = torch.lerp(weights, condition.encode(recipe.label_b), recipe.blend)
        weights = weights[None]
    output: Tensor = model.generator(_latent(model, recipe)[None], weights)
    return output[0]


def _vector(model: Model, name: str) -> Tensor:
    """The unit vector of a direction, or of a raw dimension such as "z7"."""
    for direction in model.directions:
        if direction.name == name:
            return direction.vector
    size = model.generator.latent.size
    if re.fullmatch("z[0-9]{1,9}", name) and int(name[1:]) < size:
        vector = torch.zeros(size)
        vector[int(name[1:])] = 1
        return vector.reshape(model.generator.latent.shape)
    known = ", ".join(d.name for d in model.directions)
    raise RecipeError(f"{model.card.name!r} has no direction {name!r}; it has {known}, and z0 to z{size - 1}")
