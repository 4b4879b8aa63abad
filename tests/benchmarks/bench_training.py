"""The training loop's throughput on one thread: `python -m tests.benchmarks.bench_training [--rounds N]`.

For each family it measures how many real items per second the critic learns from in adversarial steps (`critic_steps`
updates of the critic and one of the generator), in three loops: the shipped one in bfloat16, the shipped one in
float32, and a plain one (float32, contiguous memory, real and fake scored in two passes, the gradient penalty in every
critic update, gradients of the critic computed in the generator's step too). The data is noise of the right shape. The
steps of the three loops alternate and processor time is counted, so that other programs hardly matter. The benchmark
also prints the kind of CPU, and which of the two precisions a run would choose (`training.machine`). To imitate a CPU
with AVX2 alone, set ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2. Target, on CPUs with instructions for bfloat16:
2.5 times the plain loop.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.generators.spectogan import SpectoGANConfig
from training import wgan_gp
from training.families import TASKS
from training.latents import draw_latents
from training.machine import choose_precision, hardware
from training.task import Batch, Prepared
from training.wgan_gp import WGANGP

ITEMS = 512
CPU = torch.device("cpu")


def spectrograms(rng: torch.Generator) -> Prepared:
    config = SpectoGANConfig()
    x = torch.rand((ITEMS, 1, config.mel.n_mels, config.mel.frames), generator=rng) * 2 - 1
    digits = tuple(map(str, range(10)))
    condition = torch.eye(10)[torch.arange(ITEMS) % 10]
    return Prepared({"x": x, "condition": condition}, {}, {"mel": vars(config.mel), "labels": digits})


def notes(rng: torch.Generator) -> Prepared:
    n = ITEMS + 256
    tensors = {
        "start": torch.arange(ITEMS),
        "pitch": torch.randint(30, 100, (n,), generator=rng).byte(),
        "step": torch.rand(n, generator=rng) / 4,
        "duration": torch.rand(n, generator=rng) + 0.1,
        "velocity": torch.randint(1, 128, (n,), generator=rng).byte(),
    }
    return Prepared(tensors, {}, {})


NOISE = {"pianogan": notes, "spectogan": spectrograms}  # the families measured, each with data that mean nothing


def noise(family: str) -> Prepared:
    """Prepared data of a family's shape and no meaning."""
    return NOISE[family](torch.Generator().manual_seed(0))


def shipped(family: str, data: Prepared, bfloat16: bool) -> WGANGP:
    """A run with the defaults of a family, without its warm start."""
    task = TASKS[family]()
    run = task.objective(replace(task.defaults, warm_steps=0), data, {}, CPU, bfloat16)
    assert isinstance(run, WGANGP)
    return run


def plain(family: str, data: Prepared) -> WGANGP:
    """A run in float32 in which all convolutions use contiguous memory instead of channels-last."""
    run = shipped(family, data, bfloat16=False)
    for module in run.modules().values():
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                layer.register_forward_pre_hook(lambda _, inputs: tuple(x.contiguous() for x in inputs))
    return run


def plain_step(run: WGANGP, tensors: dict[str, Tensor]) -> None:
    """A plain adversarial step, as written in the papers."""
    task, recipe = run.task, run.recipe

    def draw() -> tuple[Batch, Tensor]:
        index = torch.randint(ITEMS, (recipe.batch_size,), generator=run.rng)
        return task.batch(tensors, index, run.rng), draw_latents(run.generator.latent, recipe.batch_size, run.rng)

    def update(name: str, loss: Tensor) -> None:
        run.optimizers[name].zero_grad()
        loss.backward()
        run.optimizers[name].step()

    def verdict(logits: Tensor | None, batch: Batch) -> Tensor | float:
        if logits is None or batch.condition is None:
            return 0.0
        return recipe.auxiliary_weight * F.cross_entropy(logits, batch.condition)

    for _ in range(recipe.critic_steps):
        batch, z = draw()
        with torch.no_grad():
            real = task.real_view(batch, run.encoder, run.rng)
            fake = task.fake_view(run.generator, z, batch.condition, run.rng)
        real_scores, logits = run.critic(real, batch.condition)
        loss = wgan_gp.critic_loss(real_scores, run.critic(fake, batch.condition)[0]) + verdict(logits, batch)
        penalty = wgan_gp.gradient_penalty(partial(score, run.critic, batch.condition), real, fake, run.rng)
        update("critic", loss + recipe.penalty_weight * penalty)
    batch, z = draw()
    fake = task.fake_view(run.generator, z, batch.condition, run.rng)
    scores, logits = run.critic(fake, batch.condition)
    loss = wgan_gp.generator_loss(scores) + verdict(logits, batch)
    loss = sum(task.matching_loss(run.networks, tensors, recipe, run.rng).values(), loss)
    if run.step % recipe.reconstruction_every == 0 and run.encoder is not None:  # as often as the shipped loop
        loss = loss + task.warm_loss(run.generator, run.encoder, draw()[0], recipe, run.rng)[0]
    update("generator", loss)
    for average, weight in zip(run.ema.parameters(), run.generator.parameters(), strict=True):
        average.data.lerp_(weight.data, 1 - recipe.ema_decay)


def score(critic: nn.Module, condition: Tensor | None, x: Tensor) -> Tensor:
    scores: Tensor = critic(x, condition)[0]
    return scores


def rates(family: str, rounds: int) -> dict[str, float]:
    """Measures the items per second of processor time in each loop."""
    data = noise(family)
    tensors = dict(data.train)
    in_bfloat16, in_float32 = shipped(family, data, bfloat16=True), shipped(family, data, bfloat16=False)
    apart = plain(family, data)
    loops: dict[str, tuple[WGANGP, Callable[[], object]]] = {
        "bfloat16": (in_bfloat16, lambda: in_bfloat16.update(tensors)),
        "float32": (in_float32, lambda: in_float32.update(tensors)),
        "plain": (apart, lambda: plain_step(apart, tensors)),
    }
    taken = dict.fromkeys(loops, 0.0)
    for step in range(8 * rounds + 1):
        for name, (run, work) in loops.items():
            run.step = step
            since = time.process_time()
            work()
            if step > 0:  # the first pays for what is set up once
                taken[name] += time.process_time() - since
    items = 8 * rounds * apart.recipe.batch_size * apart.recipe.critic_steps
    return {name: items / seconds for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the training loop's throughput.")
    parser.add_argument("--rounds", type=int, default=1, help="of eight steps: all of what is done lazily (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(hardware(CPU))
    for family in NOISE:
        data = noise(family)
        chosen = choose_precision("auto", CPU, 1, partial(shipped, family, data), data.train).precision
        found = rates(family, args.rounds)
        texts = ", ".join(f"{name} {rate:.1f}" for name, rate in found.items())
        print(f"{family:10} items/s: {texts}; --precision auto is {chosen}: {found[chosen] / found['plain']:.2f} times")


if __name__ == "__main__":
    main()
