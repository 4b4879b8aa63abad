"""The checkpoints of a folder, shared by everybody: what the app, the command line, Python and the notebooks call."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from explorer import checkpoint, shelf
from explorer.checkpoint import Card, CheckpointError
from explorer.directions import Search
from explorer.judge import Judge, judge_of
from explorer.model import Model
from explorer.recipe import Place, Recipe
from explorer.sound.base import Sound

CACHED_SOUNDS = 64
CACHED_MODELS = 16  # so that the snapshots of a checkpoint fit in beside it

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_setting_threads = threading.Lock()
_this_thread = threading.local()  # `.works` is set in the threads of pools


def _work_alone() -> None:
    """Sets up a pool's thread: torch computes in it on this thread alone.

    torch keeps its number of threads for each thread, and the number last set, by whichever thread, for the threads to
    come. So that number is put back, by a thread that ends with it: the program around the engine keeps its own.
    """
    with _setting_threads:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        restoring = threading.Thread(target=torch.set_num_threads, args=(before,))
        restoring.start()
        restoring.join()
    _this_thread.works = True


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine:
    """Renders recipes on the checkpoints of a folder. Safe to share between threads.

    The same recipe gives the same bits on the same machine, through whichever door it came: every sound is computed on
    one thread, since another number of threads gives other last bits. As many sounds are computed at a time as there
    are CPU cores, whoever asks, in the order in which they were asked for. Generators in eval mode have no state, so
    two sounds of one model need no lock. Looking up a model or a card waits for nobody's sound.

    Methods that take a `Recipe` or a `Place` are doors: a recipe is completed there, once, and a place is not.
    """

    def __init__(self, folder: Path = shelf.DEFAULT_FOLDER) -> None:
        self.folder = folder
        self._lock = threading.Lock()  # of the caches, and never held while anything is computed
        self._loading: dict[str, threading.Lock] = {}
        # Not functools.lru_cache, which would compute two equal keys twice and cannot be asked whether it has one.
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._sounds: OrderedDict[Place, Sound] = OrderedDict()
        self._pool = ThreadPoolExecutor(cores(), "sound", _work_alone)
        self._searches = ThreadPoolExecutor(1, "directions", _work_alone)

    def names(self) -> list[str]:
        """The checkpoints there are, sorted."""
        return sorted(shelf.find(self.folder))

    def cards(self) -> list[Card]:
        """What there is to play, by name. Raises CheckpointError if a file is broken."""
        return [shelf.read_card(path) for _, path in sorted(shelf.find(self.folder).items())]

    def model(self, name: str) -> Model:
        """Loads a checkpoint, or returns it as loaded before, unless the file has changed since.

        NAME@STEP is a snapshot of its training: the weights are those of that step, all else is the checkpoint's.

        Raises:
            CheckpointError: naming the checkpoints there are, if this is none of them, or why it cannot be used.
        """
        path = shelf.locate(self.folder, name)
        if path is None:
            names = self.names()
            there = f"there are: {', '.join(names)}" if names else shelf.nothing_found(self.folder)
            raise CheckpointError(f"no checkpoint {name!r:.100}; {there}")
        card = shelf.read_card(path)
        final = None if path.parent == self.folder else self.model(name.rpartition("@")[0])
        if final is not None:  # the hash covers all that is heard, the final checkpoint's vocoder included
            both = f"{card.sha256} {final.card.sha256}"
            card = replace(card, name=name, sha256=sha256(both.encode()).hexdigest())
        model = self._known(self._models, name)
        if model is not None and model.card.sha256 == card.sha256:
            return model
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:  # by one of all who ask for it at once
            model = self._known(self._models, name)
            if model is None or model.card.sha256 != card.sha256:
                model = self._load(card) if final is None else _snapshot(card, final)
                self._keep(self._models, name, model, CACHED_MODELS)
            return model

    def complete(self, recipe: Recipe) -> Place:
        """The place of a recipe: what it left open (weights, label, path, settings) is filled in, and what has no
        effect is taken out, so that two recipes of the same sound have equal places.

        Raises:
            CheckpointError: if the checkpoint is not here, or has other weights than the recipe was made with.
            RecipeError: if the model has no such label, direction or setting.
        """
        return self.model(recipe.model).complete(recipe)

    def latent(self, at: Recipe | Place) -> Tensor:
        """The latent (*latent.shape) of a place. Raises as `complete`."""
        model, place = self._arrive(at)
        return self._work(lambda: model.latent(place))

    def output(self, at: Recipe | Place) -> Tensor:
        """The generator's output (*representation.shape) in [-1, 1], not yet decoded. Raises as `complete`."""
        model, place = self._arrive(at)
        return self._work(lambda: model.output(place))

    def render(self, at: Recipe | Place) -> Sound:
        """The sound of a place. Raises as `complete`."""
        model, place = self._arrive(at)
        sound = self._known(self._sounds, place)
        if sound is None:
            sound = self._work(lambda: model.sound(place))
            synthesize = sound.synthesize
            sound = replace(sound, synthesize=lambda: self._work(synthesize))
            self._keep(self._sounds, place, sound, CACHED_SOUNDS)
        return sound

    def hear(self, at: Recipe | Place) -> dict[str, float]:
        """How surely the judge hears each label in the sound of a place, as probabilities; {} where there is no judge
        of such sounds. Raises as `complete`."""
        model, place = self._arrive(at)
        if model.judge is None:
            return {}
        sound = self.render(place)
        return self._work(lambda: model.hear(sound))

    def render_all(self, recipes: Iterable[Recipe | Place]) -> Iterator[Sound]:
        """The sounds of many recipes, one after another; bit for bit those of `render`."""
        return map(self.render, recipes)

    def _arrive(self, at: Recipe | Place) -> tuple[Model, Place]:
        if isinstance(at, Recipe):
            model = self.model(at.model)
            return model, model.complete(at)
        model = self.model(at.recipe.model)
        if model.card.sha256 != at.recipe.weights:  # the file was replaced since
            return model, model.complete(at.recipe)  # which says so
        return model, at

    def _work(self, function: Callable[[], T]) -> T:
        """Computes on one thread of the pool. Waits its turn, unless this already is such a thread."""
        if getattr(_this_thread, "works", False):
            return function()
        return self._pool.submit(_without_gradients, function).result()

    def _known(self, cache: OrderedDict[K, T], key: K) -> T | None:
        with self._lock:
            if key in cache:
                cache.move_to_end(key)
            return cache.get(key)

    def _keep(self, cache: OrderedDict[K, T], key: K, value: T, size: int) -> None:
        with self._lock:
            cache[key] = value
            cache.move_to_end(key)
            while len(cache) > size:
                cache.popitem(last=False)

    def _load(self, card: Card) -> Model:
        generator, directions = checkpoint.load(card.path)
        return Model(card, generator, self._judge(card), directions, Search(generator, self._searches))

    def _judge(self, card: Card) -> Judge | None:
        """From the checkpoint's folder, or else the explorer's own."""
        if card.labels is None:
            return None
        found = (judge_of(folder, card.labels, card.sample_rate) for folder in (self.folder, shelf.DEFAULT_FOLDER))
        return next((judge for judge in found if judge is not None), None)


def _without_gradients(function: Callable[[], T]) -> T:
    with torch.inference_mode():
        return function()


def _snapshot(card: Card, final: Model) -> Model:
    generator, _ = checkpoint.load(card.path)
    if generator.config != final.generator.config:
        raise CheckpointError(f"{card.name!r}: its configuration is not that of {final.card.name!r}")
    generator.representation = final.generator.representation  # with the vocoder, if it has one
    return replace(final, card=card, generator=generator)
