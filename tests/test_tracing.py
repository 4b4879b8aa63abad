"""A traced network gives the bits of the network, or else is not used."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer import checkpoint
from explorer.engine import Engine
from explorer.generators.spectogan import SpectoGAN, SpectoGANConfig
from explorer.recipe import Recipe
from explorer.tracing import TRACED_AFTER, Traced, trace_when_busy

SMALL = SpectoGANConfig(latent=16, channels=(8, 8, 8, 8, 8), style=8, labels=("0", "1"))


def at_once(function: Callable[..., Any], *args: Any) -> None:
    function(*args)


def busy(module: nn.Module, *args: Tensor) -> Traced:
    """The module's network, called so often that it has been traced if it can be."""
    trace_when_busy(module, at_once)
    with torch.inference_mode():
        for _ in range(TRACED_AFTER):
            network(module)(*args)
    traced = network(module)
    assert isinstance(traced, Traced)
    return traced


def network(module: nn.Module) -> Callable[..., Any]:
    return module.network  # type: ignore[return-value]


def small() -> SpectoGAN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SpectoGAN(SMALL).eval().requires_grad_(False)


class Branching(nn.Module):
    """Negative numbers stay as they are if the first one is negative."""

    def network(self, x: Tensor) -> Tensor:
        return x * 2 if x[0, 0] > 0 else x


class Reading(nn.Module):
    """Its numbers pass through NumPy, where a trace does not see them."""

    def network(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.sort(x.numpy()))


class Learning(nn.Module):
    """A trace cannot hold weights that need a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(3, 3)


@pytest.mark.parametrize("kind", [Branching, Reading, Learning])
def test_a_network_that_cannot_be_traced_is_called_itself(kind: type[nn.Module]) -> None:
    x = torch.tensor([[1.0, 3.0, -2.0]])
    plain = kind()
    traced = busy(copy.deepcopy(plain).eval(), x)
    assert not traced.done
    for given in (x, -x, x.flip(1), x.repeat(2, 1)):
        assert torch.equal(traced(given), network(plain)(given))


def test_only_calls_of_the_traced_shapes_use_the_trace() -> None:
    plain, module = small(), small()
    z, weights = module.latent.sample(3, np.random.RandomState(0)), torch.eye(2)[[0, 1, 0]]
    traced = busy(module, z[:1], weights[:1])
    assert traced.done
    with torch.inference_mode():
        assert torch.equal(traced(z, weights), plain.network(z, weights))


def test_training_is_not_touched_by_a_trace() -> None:
    plain, module = small(), small()
    z, weights = module.latent.sample(1, np.random.RandomState(0)), torch.eye(2)[:1]
    names = list(module.state_dict())
    assert busy(module, z, weights).done
    assert list(module.state_dict()) == names
    copied = copy.deepcopy(module)
    gradients: list[list[Tensor | None]] = []
    for generator in (plain, module, copied):
        generator.train().requires_grad_(True)
        generator(z, weights).square().sum().backward()
        gradients.append([p.grad for p in generator.parameters()])
    for mine in gradients[1:]:
        torch.testing.assert_close(mine, gradients[0], rtol=0, atol=0)
    with torch.no_grad():  # a copy has weights of its own
        for parameter in copied.parameters():
            parameter.zero_()
    assert not torch.equal(copied(z, weights), plain(z, weights))


def test_an_engine_plays_the_same_sounds_before_and_after_it_has_traced(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "small.safetensors", small())
    engine = Engine(tmp_path)
    recipes = [Recipe("small", seed=seed, label=str(seed % 2)) for seed in range(TRACED_AFTER)]
    before = [engine.output(recipe) for recipe in recipes]
    engine._traces.submit(int).result(60)  # comes after the trace
    traced = network(engine.model("small").generator)
    assert isinstance(traced, Traced)
    assert traced.done
    assert all(torch.equal(engine.output(recipe), x) for recipe, x in zip(recipes, before, strict=True))
