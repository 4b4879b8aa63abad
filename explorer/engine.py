"""From a recipe to its sound: the one thing that the app, the command line, Python and the notebooks call."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explorer import checkpoint
from explorer.checkpoint import Card, CheckpointError
from explorer.directions import Direction, principal
from explorer.generators.base import Generator
from explorer.judge import Judge, judge_of
from explorer.recipe import Recipe, RecipeError
from explorer.sound.base import Sound
from explorer.sound.mel import fit

SEARCHED = 512  # latents that the directions of a checkpoint without any are found from
CACHED_SOUNDS = 64
CACHED_MODELS = 16  # so that the snapshots of a checkpoint fit in beside it


@contextmanager
def _one_thread() -> Iterator[None]:
    """At batch 1 one thread is fastest, and the same number of threads always gives the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Search:
    """The principal directions of a generator, found in a thread of their own once somebody asks for them."""

    def __init__(self, generator: Generator, worker: ThreadPoolExecutor) -> None:
        self._generator, self._worker = generator, worker
        self._lock = threading.Lock()
        self._found: Future[tuple[Direction, ...]] | None = None
        self.progress = 0.0

    def begin(self) -> Future[tuple[Direction, ...]]:
        with self._lock:
            if self._found is None:
                self._found = self._worker.submit(self._find)
            return self._found

    def _find(self) -> tuple[Direction, ...]:
        # Beside the engine's lock, so that sounds are rendered meanwhile: a generator in eval mode has no state.
        with _one_thread():
            return principal(self._generator, samples=SEARCHED, progress=self._tell)

    def _tell(self, done: int, total: int) -> None:
        self.progress = done / total


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: the card, the generator in eval mode, and who judges its words, if anybody does."""

    card: Card
    generator: Generator
    judge: Judge | None
    _shipped: tuple[Direction, ...]
    _search: _Search

    @property
    def directions(self) -> tuple[Direction, ...]:
        """What its sliders follow: what was shipped with it, or else its principal directions, waited for."""
        return self._shipped or self._search.begin().result()

    @property
    def directions_so_far(self) -> tuple[Direction, ...]:
        """The same without waiting: none while they are being found, which this begins."""
        return self.directions if self._shipped or self._search.begin().done() else ()

    @property
    def progress(self) -> float:
        """How much of the search for directions is done: from 0 to 1, where there is nothing (more) to wait for."""
        return 1.0 if self._shipped or self._search.begin().done() else min(self._search.progress, 0.99)


class Engine:
    """Renders recipes on the checkpoints of a folder. Safe to share between threads.

    The same recipe gives the same bits on the same machine, through whichever door it came.
    """

    def __init__(self, folder: Path = checkpoint.DEFAULT_FOLDER) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._sounds: OrderedDict[Recipe, Sound] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "directions")

    def names(self) -> list[str]:
        """The checkpoints there are, sorted."""
        return sorted(checkpoint.find(self.folder))

    def cards(self) -> list[Card]:
        """What there is to play, by name. Raises CheckpointError if a file is broken."""
        return [checkpoint.read_card(path) for _, path in sorted(checkpoint.find(self.folder).items())]

    def model(self, name: str) -> Model:
        """Loads a checkpoint, or returns it as loaded before, unless the file has changed since.

        NAME@STEP is a snapshot of its training: the weights are those of that step, all else is the checkpoint's.

        Raises:
            CheckpointError: naming the checkpoints there are, if this is none of them, or why it cannot be used.
        """
        path = checkpoint.locate(self.folder, name)
        if path is None:
            raise CheckpointError(f"no checkpoint {name!r} in {self.folder}; there are: {', '.join(self.names())}")
        card = checkpoint.read_card(path)
        final = None if path.parent == self.folder else self.model(name.rpartition("@")[0])
        if final is not None:  # the hash covers all that is heard, the final checkpoint's vocoder included
            both = f"{card.sha256} {final.card.sha256}"
            card = replace(card, name=name, sha256=sha256(both.encode()).hexdigest())
        with self._lock, _one_thread():
            model = self._models.get(name)
            if model is None or model.card.sha256 != card.sha256:
                model = self._models[name] = self._load(card) if final is None else _snapshot(card, final)
            self._models.move_to_end(name)
            while len(self._models) > CACHED_MODELS:
                self._models.popitem(last=False)
            return model

    def _load(self, card: Card) -> Model:
        generator, directions = checkpoint.load(card.path)
        return Model(card, generator, self._judge(card), directions, _Search(generator, self._worker))

    def _judge(self, card: Card) -> Judge | None:
        """From the checkpoint's folder, or else the explorer's own."""
        if card.labels is None:
            return None
        found = (judge_of(folder, card.labels, card.sample_rate) for folder in (self.folder, checkpoint.DEFAULT_FOLDER))
        return next((judge for judge in found if judge is not None), None)

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
        recipe = _complete(model, recipe)
        with self._lock, _one_thread(), torch.inference_mode():
            return _output(model, recipe)

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

    def hear(self, recipe: Recipe) -> dict[str, float]:
        """How surely the judge hears each label in the sound of a recipe, as probabilities; {} where there is no judge
        of such sounds. Raises as `complete` does."""
        judge = self.model(recipe.model).judge
        if judge is None:
            return {}
        waveform = fit(self.render(recipe).waveform, judge.mel.config.samples)
        with self._lock, _one_thread():
            probabilities, _ = judge.hear(waveform[None])
        return dict(zip(judge.labels, probabilities[0].tolist(), strict=True))

    def _guarded(self, sound: Sound) -> Sound:
        """The sound, whose waveform is computed on one thread too, whenever it is asked for."""

        def synthesize() -> np.ndarray:
            with self._lock, _one_thread(), torch.inference_mode():
                return sound.synthesize()

        return replace(sound, synthesize=synthesize)

    def render_all(self, recipes: Iterable[Recipe]) -> Iterator[Sound]:
        """The sounds of many recipes, one after another; bit for bit those of `render`."""
        return map(self.render, recipes)


def _snapshot(card: Card, final: Model) -> Model:
    generator, _ = checkpoint.load(card.path)
    if generator.config != final.generator.config:
        raise CheckpointError(f"{card.path}: its configuration is not that of {final.card.name!r}")
    generator.representation = final.generator.representation  # with the learned inversion, if it has one
    return replace(final, card=card, generator=generator)


def _complete(model: Model, recipe: Recipe) -> Recipe:
    generator = model.generator
    if not model.card.sha256.startswith(recipe.weights):
        raise CheckpointError(
            f"this recipe was made with weights {recipe.weights[:12]} of {recipe.model!r}; "
            f"here are weights {model.card.sha256[:12]}"
        )
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
    seed, mix = recipe.seed, recipe.mix
    if mix:
        try:
            generator.latent.shares([weight for _, weight in mix])
        except ValueError as error:
            raise RecipeError(str(error)) from None
        only, weight = mix[0]
        seed, mix = (only, ()) if len(mix) == 1 and weight > 0 else (0, mix)
    moving = not recipe.mix and recipe.seed_b is not None and recipe.t > 0
    path = recipe.path or generator.latent.default_path
    return replace(
        recipe,
        weights=model.card.sha256,
        seed=seed,
        mix=mix,
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
    if recipe.mix:
        z = space.mix([space.from_seed(seed) for seed, _ in recipe.mix], [weight for _, weight in recipe.mix])
    elif recipe.seed_b is not None:
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
    """The unit vector of a raw dimension such as "z7", or of a direction, for which alone a search is waited for."""
    size = model.generator.latent.size
    if re.fullmatch("z(0|[1-9][0-9]{0,8})", name) and int(name[1:]) < size:
        vector = torch.zeros(size)
        vector[int(name[1:])] = 1
        return vector.reshape(model.generator.latent.shape)
    for direction in model.directions:
        if direction.name == name:
            return direction.vector
    known = ", ".join(d.name for d in model.directions)
    raise RecipeError(f"{model.card.name!r} has no direction {name!r}; it has {known}, and z0 to z{size - 1}")
