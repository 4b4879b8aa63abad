"""`Model`: a loaded checkpoint, which turns a recipe into a place, a latent, an output and a sound."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from explorer.checkpoint import Card, CheckpointError
from explorer.directions import Direction, Search
from explorer.generators.base import Generator
from explorer.judge import Judge
from explorer.latent import LatentSpace, Path
from explorer.recipe import Place, Recipe, RecipeError
from explorer.sound.base import Sound, chosen
from explorer.sound.level import Level
from explorer.sound.mel import fit

RAW = re.compile("z(0|[1-9][0-9]{0,8})")  # name of a raw latent dimension


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint. Its methods are pure and may run in several threads at once.

        place = model.complete(recipe)   # checked, and open fields filled in
        sound = model.sound(place)

    Attributes:
        card: metadata of the checkpoint; its `sha256` covers everything that affects the sound.
        generator: in eval mode.
        judge: classifies sounds by label; None if there is none for these labels.
        shipped: the directions stored in the checkpoint, possibly none.
        search: finds principal directions if none are shipped.
        level: how loud its sounds are, as its card states it; None if it states nothing.
    """

    card: Card
    generator: Generator
    judge: Judge | None
    shipped: tuple[Direction, ...]
    search: Search
    level: Level | None = None

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions of the sliders; () while a search, which this starts if needed, is running."""
        if self.shipped or not self.search.begin().done():
            return self.shipped
        return self.wait_for_directions()

    def wait_for_directions(self) -> tuple[Direction, ...]:
        """The directions of the sliders; if a search is needed, waits for it, which may take a minute."""
        return self.shipped or self.search.begin().result()

    @property
    def progress(self) -> float:
        """Progress of the search for directions, 0 to 1; 1 if directions are shipped."""
        return 1.0 if self.shipped or self.search.begin().done() else min(self.search.share_done, 0.99)

    @cached_property
    def settings(self) -> Mapping[str, tuple[str, ...]]:
        """Settings of generating and decoding: each name with its options, the default first."""
        return {**self.generator.settings, **self.generator.representation.settings}

    def complete(self, recipe: Recipe) -> Place:
        """Completes a recipe to its place: fills in open fields (weights, label, path, settings) and removes values
        without effect. Waits for the search for directions if an offset needs one.

        Raises:
            CheckpointError: if the recipe was made with other weights.
            RecipeError: if the model has no such label, direction or setting.
        """
        generator, name = self.generator, self.card.name
        if not self.card.sha256.startswith(recipe.weights):
            raise CheckpointError(
                f"this recipe was made with weights {recipe.weights[:12]} of {name!r}; "
                f"here are weights {self.card.sha256[:12]}"
            )
        label, label_b, blend = recipe.label, recipe.label_b, recipe.blend
        if generator.condition is None and (label is not None or label_b is not None):
            raise RecipeError(f"{name!r} takes no label")
        try:
            if generator.condition is not None:
                label = generator.condition.turn(0) if label is None else label
                for known in (label, label_b):
                    if known is not None:
                        generator.condition.encode(known)
            settings = chosen(self.settings, dict(recipe.settings))
            if recipe.mix:
                generator.latent.shares([weight for _, weight in recipe.mix])
        except ValueError as error:
            raise RecipeError(f"{name!r}: {error}") from None
        for offset, _ in recipe.offsets:
            self.vector(offset)
        if label_b is None or blend == 0 or label_b == label:
            label_b, blend = None, 0.0
        seed, mix = recipe.seed, recipe.mix
        if mix:
            only, weight = mix[0]
            seed, mix = (only, ()) if len(mix) == 1 and weight > 0 else (0, mix)
        moving = not recipe.mix and recipe.seed_b is not None and recipe.t > 0
        return Place(
            replace(
                recipe,
                weights=self.card.sha256,
                seed=seed,
                mix=mix,
                seed_b=recipe.seed_b if moving else None,
                t=recipe.t if moving else 0.0,
                path=(recipe.path or generator.latent.default_path) if moving else None,
                label=label,
                label_b=label_b,
                blend=blend,
                settings=tuple(settings.items()),
            )
        )

    def latent(self, place: Place) -> Tensor:
        """The latent (*latent.shape) of a place."""
        space, recipe = self.generator.latent, place.recipe
        z = _from_seeds(space, recipe, recipe.path) * recipe.truncation
        z = z.clamp(-1, 1) if space.prior == "uniform" else z
        for name, amount in recipe.offsets:
            z = space.move(z, self.vector(name), amount)
        return z

    def _inputs(self, place: Place) -> tuple[Tensor, Tensor | None, dict[str, str], Tensor | None]:
        """The generator's arguments for a place, as a batch of one."""
        condition, weights, recipe = self.generator.condition, None, place.recipe
        if condition is not None and recipe.label is not None:
            weights = condition.encode(recipe.label)
            if recipe.label_b is not None:
                weights = torch.lerp(weights, condition.encode(recipe.label_b), recipe.blend)
            weights = weights[None]
        own = {name: option for name, option in recipe.settings if name in self.generator.settings}
        second = self.generator.noise
        noise = None if second is None else _from_seeds(second, recipe, second.default_path)[None]
        return self.latent(place)[None], weights, own, noise

    @torch.inference_mode()
    def output(self, place: Place) -> Tensor:
        """The generator's output (*representation.shape) in [-1, 1] for a place, not yet decoded.

        Raises:
            CheckpointError: if it is not finite.
        """
        x: Tensor = self.generator(*self._inputs(place))[0]
        if not bool(x.isfinite().all()):
            raise CheckpointError(f"{self.card.name!r} makes numbers that are not finite here; its weights are broken")
        return x

    @torch.inference_mode()
    def sound(self, place: Place) -> Sound:
        """The sound of a place. Raises as `output`."""
        return self._decoded(place, self.output(place))

    def draft(self, place: Place) -> Place:
        """The place whose sound stands in for a place's while a slider moves; the place itself in most families."""
        if not self.generator.draft:
            return place
        settings = {**dict(place.recipe.settings), **self.generator.draft}
        return self.complete(replace(place.recipe, settings=tuple(settings.items())))

    @torch.inference_mode()
    def stages(self, place: Place) -> list[Sound]:
        """The sounds from which that of a place emerges, step by step, itself the last; it alone in most families."""
        return [self._decoded(place, x[0]) for x in self.generator.stages(*self._inputs(place))]

    def _decoded(self, place: Place, x: Tensor) -> Sound:
        representation = self.generator.representation
        own = {name: option for name, option in place.recipe.settings if name in representation.settings}
        return representation.decode(x, own)

    def hear(self, sound: Sound) -> dict[str, float]:
        """Probability of each label for a sound, by the judge; all 0 if it is unlike every recording that the judge
        knows, {} if there is no judge."""
        if self.judge is None:
            return {}
        probabilities, features = self.judge.hear(fit(sound.waveform, self.judge.mel.config.samples)[None])
        named = probabilities[0] * self.judge.knows(features)[0]
        return dict(zip(self.judge.labels, named.tolist(), strict=True))

    def room(self, place: Place, name: str) -> tuple[float, float]:
        """How far a place can be moved backward and forward along a direction or raw dimension until nothing changes
        any more, both >= 0, in standard deviations of the prior; infinite for a normal prior."""
        space = self.generator.latent
        return space.room(self.latent(place), self.vector(name)) if space.prior == "uniform" else (torch.inf, torch.inf)

    def vector(self, name: str) -> Tensor:
        """The unit vector (*latent.shape) of a raw dimension such as "z7" or of a direction, after a search if needed.
        Raises RecipeError if there is none of this name."""
        space = self.generator.latent
        if RAW.fullmatch(name) and int(name[1:]) < space.size:
            vector = torch.zeros(space.size)
            vector[int(name[1:])] = 1
            return vector.reshape(space.shape)
        directions = self.wait_for_directions()
        for direction in directions:
            if direction.name == name:
                return direction.vector
        known = ", ".join(d.name for d in directions)
        raise RecipeError(f"{self.card.name!r} has no direction {name!r}; it has {known}, and z0 to z{space.size - 1}")


def _from_seeds(space: LatentSpace, recipe: Recipe, path: Path | None) -> Tensor:
    """The latent (*space.shape) that the seeds of a recipe name: of one, between two, or a mix."""
    if recipe.mix:
        return space.mix([space.from_seed(seed) for seed, _ in recipe.mix], [weight for _, weight in recipe.mix])
    z = space.from_seed(recipe.seed)
    if recipe.seed_b is not None:
        z = space.interpolate(z, space.from_seed(recipe.seed_b), torch.tensor([recipe.t]), path)[0]
    return z
