"""`Engine`: renders recipes on the checkpoints of a folder, for the app, the command line, Python and notebooks."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from explorer import checkpoint, shelf
from explorer.checkpoint import Card, CheckpointError
from explorer.directions import Search
from explorer.generators import FAMILIES
from explorer.generators.base import Generator
from explorer.judge import Judge, find_judge
from explorer.model import Model
from explorer.recipe import Place, Recipe
from explorer.sound.base import Sound
from explorer.tracing import trace_when_busy

CACHED_SOUNDS = 64
CACHED_BYTES = 256 << 20  # of all cached sounds together; a waveform counts once it is synthesised
CACHED_MODELS = 16  # enough for a checkpoint and all its snapshots

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_setting_threads = threading.Lock()
_patient: ContextVar[bool] = ContextVar("patient", default=False)
_this_thread = threading.local()  # `.works` is set in the threads of the engine's pools


def _use_one_thread() -> None:
    """Initialises a thread of a pool: torch uses a single thread for what this thread computes.

    `torch.set_num_threads` sets the number for the calling thread, and as the default of threads started later. That
    default is restored, by a short-lived thread, so that the rest of the program keeps its own number.
    """
    with _setting_threads:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = threading.Thread(target=torch.set_num_threads, args=(before,))
        restoring.start()
        restoring.join()
    _this_thread.works = True


@contextmanager
def patiently() -> Iterator[None]:
    """What is computed inside of this block leaves half of the threads to others, for whom somebody waits: all such
    blocks of an engine together use one thread, or half of the cores. It holds for the calling thread alone."""
    token = _patient.set(True)
    try:
        yield
    finally:
        _patient.reset(token)


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine:
    """Renders recipes on the checkpoints of a folder. Safe to share between threads.

    The same recipe gives the same bits on the same machine, whether the app, the command line or Python asks: every
    sound is computed on one thread, since another number of threads gives other last bits. As many sounds are computed
    at a time as there are CPU cores, in the order of the requests, but half as many of those asked for `patiently`.
    Generators in eval mode have no state, so two sounds of one model need no lock. Looking up a model or a card never
    waits for a sound.

    Methods take a `Recipe`, which they complete first, or a `Place`, which they use as it is.
    """

    def __init__(self, folder: Path = shelf.DEFAULT_FOLDER) -> None:
        self.folder = folder
        self._lock = threading.Lock()  # for the caches; never held while anything is computed
        self._loading: dict[str, threading.Lock] = {}
        # Not functools.lru_cache, which would compute two equal keys twice and cannot be asked whether it has one.
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._sounds: OrderedDict[Place, Sound] = OrderedDict()
        self._pool = ThreadPoolExecutor(cores(), "sound", _use_one_thread)
        self._patient = threading.Semaphore(max(1, cores() // 2))
        self._searches = ThreadPoolExecutor(1, "directions", _use_one_thread)
        self._traces = ThreadPoolExecutor(1, "tracing", _use_one_thread)

    def names(self) -> list[str]:
        """The names of all checkpoints, sorted."""
        return sorted(shelf.find_checkpoints(self.folder))

    def cards(self) -> list[Card]:
        """The cards of all checkpoints, sorted by name. Raises CheckpointError if a file is broken."""
        return [shelf.read_card(path) for _, path in sorted(shelf.find_checkpoints(self.folder).items())]

    def warm_up(self) -> None:
        """Does once for each family of the checkpoints what would keep its first sound waiting.

        Raises CheckpointError if a file is broken.
        """
        for family in sorted({card.family for card in self.cards()}):
            FAMILIES[family].warm_up()

    def model(self, name: str) -> Model:
        """Loads a checkpoint; a cached one is returned unless its file has changed.

        NAME@STEP is a snapshot of the training of NAME: the weights of that step, with the directions, representation
        and judge of NAME.

        Raises:
            CheckpointError: if there is no such checkpoint (the message lists the existing ones), or it cannot be used.
        """
        path = shelf.locate(self.folder, name)
        if path is None:
            raise CheckpointError(shelf.no_checkpoint(name, self.folder))
        card = shelf.read_card(path)
        own = path.parent in (self.folder, self.folder / shelf.LESSONS)
        final = None if own else self.model(name.rpartition("@")[0])
        if final is not None:  # the hash covers all that affects the sound, such as the final vocoder
            both = f"{card.sha256} {final.card.sha256}"
            card = replace(card, name=name, sha256=sha256(both.encode()).hexdigest())
        model = self._cached(self._models, name)
        if model is not None and model.card.sha256 == card.sha256:
            return model
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:  # loaded once, however many threads ask for it at the same time
            model = self._cached(self._models, name)
            if model is None or model.card.sha256 != card.sha256:
                model = self._load(card) if final is None else self._snapshot(card, final)
                self._cache(self._models, name, model, CACHED_MODELS)
            return model

    def complete(self, recipe: Recipe) -> Place:
        """Completes a recipe to its place: fills in open fields (weights, label, path, settings) and removes values
        without effect, so that two recipes of the same sound have equal places.

        Raises:
            CheckpointError: if the checkpoint is not here, or has other weights than the recipe was made with.
            RecipeError: if the model has no such label, direction or setting.
        """
        return self.model(recipe.model).complete(recipe)

    def latent(self, at: Recipe | Place) -> Tensor:
        """The latent (*latent.shape) of a place. Raises as `complete`."""
        model, place = self._resolve(at)
        return self._work(lambda: model.latent(place))

    def output(self, at: Recipe | Place) -> Tensor:
        """The generator's output (*representation.shape) in [-1, 1], not yet decoded. Raises as `complete`."""
        model, place = self._resolve(at)
        return self._work(lambda: model.output(place))

    def render(self, at: Recipe | Place) -> Sound:
        """The sound of a place. Raises as `complete`."""
        model, place = self._resolve(at)
        sound = self._cached(self._sounds, place)
        if sound is None:
            sound = self._queued(self._work(lambda: model.sound(place)))
            self._cache(self._sounds, place, sound, CACHED_SOUNDS)
        self._drop_sounds()
        return sound

    def stages(self, at: Recipe | Place) -> list[Sound]:
        """The sounds from which that of a place emerges, as `Model.stages`. Raises as `complete`."""
        model, place = self._resolve(at)
        return [self._queued(sound) for sound in self._work(lambda: model.stages(place))]

    def hear(self, at: Recipe | Place) -> dict[str, float]:
        """Probability of each label, by the judge, for the sound of a place, as `Model.hear`. Raises as `complete`."""
        model, place = self._resolve(at)
        if model.judge is None:
            return {}
        sound = self.render(place)
        return self._work(lambda: model.hear(sound))

    def render_all(self, recipes: Iterable[Recipe | Place]) -> Iterator[Sound]:
        """Renders recipes one after another, to the same bits as `render`."""
        return map(self.render, recipes)

    def _resolve(self, at: Recipe | Place) -> tuple[Model, Place]:
        """The model and the place of a recipe, which is completed, or of a place, unless its weights were replaced."""
        if isinstance(at, Recipe):
            model = self.model(at.model)
            return model, model.complete(at)
        model = self.model(at.recipe.model)
        if model.card.sha256 != at.recipe.weights:  # the file was replaced
            return model, model.complete(at.recipe)  # raises CheckpointError
        return model, at

    def _work(self, function: Callable[[], T]) -> T:
        """Runs a function on a thread of the pool and waits for its result; directly, if already on such a thread."""
        if getattr(_this_thread, "works", False):
            return function()
        with self._patient if _patient.get() else nullcontext():
            return self._pool.submit(_without_gradients, function).result()

    def _queued(self, sound: Sound) -> Sound:
        """A sound whose waveform is synthesised on a thread of the pool."""
        return replace(sound, synthesize=lambda: self._work(sound.synthesize))

    def _cached(self, cache: OrderedDict[K, T], key: K) -> T | None:
        with self._lock:
            if key in cache:
                cache.move_to_end(key)
            return cache.get(key)

    def _cache(self, cache: OrderedDict[K, T], key: K, value: T, size: int) -> None:
        with self._lock:
            cache[key] = value
            cache.move_to_end(key)
            while len(cache) > size:
                cache.popitem(last=False)

    def _drop_sounds(self) -> None:
        """Drops the sounds used least recently, but for the last, until the others have CACHED_BYTES at most."""
        with self._lock:
            total = sum(sound.nbytes for sound in self._sounds.values())
            while total > CACHED_BYTES and len(self._sounds) > 1:
                total -= self._sounds.popitem(last=False)[1].nbytes

    def _load(self, card: Card) -> Model:
        generator, directions = checkpoint.load(card.path)
        for module in (generator, *generator.representation.parts().values()):
            trace_when_busy(module, self._traces.submit)
        search, level = Search(generator, self._searches), shelf.read_level(card.path)
        return Model(card, generator, self._judge(card), directions, search, level)

    def _snapshot(self, card: Card, final: Model) -> Model:
        generator, _ = checkpoint.load(card.path)
        if _kind(generator) != _kind(final.generator):
            raise CheckpointError(f"{card.name!r}: its latent, labels or sounds are not those of {final.card.name!r}")
        generator.representation = final.generator.representation  # with its vocoder, if there is one
        trace_when_busy(generator, self._traces.submit)
        return replace(final, card=card, generator=generator)

    def _judge(self, card: Card) -> Judge | None:
        """A judge for the checkpoint's labels, from its own folder or else from the shipped checkpoints."""
        if card.labels is None:
            return None
        found = (find_judge(folder, card.labels, card.sample_rate) for folder in (self.folder, shelf.DEFAULT_FOLDER))
        return next((judge for judge in found if judge is not None), None)


def _kind(generator: Generator) -> tuple[Any, ...]:
    """What two generators share if the same places can be played with both; their networks may differ."""
    made = generator.representation
    sounds = (type(made), made.shape, getattr(made, "config", None))
    return generator.family, generator.latent, generator.noise, generator.condition, generator.settings, sounds


def _without_gradients(function: Callable[[], T]) -> T:
    with torch.inference_mode():
        return function()
