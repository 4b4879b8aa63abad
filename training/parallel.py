"""One run on several processes: `torchrun --nproc_per_node=N -m training …`, gloo on CPUs and NCCL on GPUs.

Every process ("rank") holds the whole model and takes its share of the global batch. Random numbers are drawn for the
whole batch from the same stream everywhere, and each rank keeps its rows: what a run computes, and the state that it
saves, does not depend on how many processes share it, up to the order of sums (and to the statistics of the batch
norm in PianoGAN's encoder, which each rank takes of its own rows).

`DistributedDataParallel` is not used. It reduces in hooks of one `backward()` of one `forward()`: its documentation
excludes `torch.autograd.grad`, on which the gradient penalty stands, and a `Task` enters its networks by other doors
than `forward`. One flat all-reduce before each optimizer step does the same work in as many bytes.

Alone, without torchrun, every function here does nothing at all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def rank() -> int:
    """This process's number, from 0; only number 0 writes files."""
    return dist.get_rank() if ranks() > 1 else 0


def ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Meets the other processes that torchrun started, if it did, and parts from them in the end."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield
        return
    # Both, so that flags of the host are agreed on without waiting for a GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rand(size: Sequence[int], rng: torch.Generator | None) -> Tensor:
    """As `torch.rand`; the first dimension is this rank's part of the batch."""
    return local_rows(torch.rand(_whole(size), generator=rng, device=rng.device if rng else None))


def randn(size: Sequence[int], rng: torch.Generator) -> Tensor:
    """As `torch.randn`; the first dimension is this rank's part of the batch."""
    return local_rows(torch.randn(_whole(size), generator=rng, device=rng.device))


def randint(low: int, high: int, size: Sequence[int], rng: torch.Generator) -> Tensor:
    """As `torch.randint`; the first dimension is this rank's part of the batch."""
    return local_rows(torch.randint(low, high, _whole(size), generator=rng, device=rng.device))


def _whole(size: Sequence[int]) -> tuple[int, ...]:
    return (size[0] * ranks(), *size[1:])


def local_rows(drawn: Tensor) -> Tensor:
    """This rank's rows of what is drawn for the whole batch."""
    return drawn.chunk(ranks())[rank()]


def gathered(x: Tensor) -> Tensor:
    """The rows of all ranks, as constants."""
    x = x.detach().contiguous()
    if ranks() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(ranks())]
    dist.all_gather(parts, x)
    return torch.cat(parts)


def rank_zero_first(work: Callable[[], T]) -> T:
    """What `work` returns; number 0 does it before the others, who then find its cache."""
    if rank() > 0:
        any_rank(False)  # a barrier
        return work()
    result = work()
    any_rank(False)
    return result


def same_weights(modules: Iterable[nn.Module]) -> None:
    """Gives all ranks the weights of number 0: another processor may draw other last bits from the same seed."""
    if ranks() > 1:
        for module in modules:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replaces the gradients of an optimizer's parameters by their means over all ranks."""
    if ranks() > 1:
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def average(values: Tensor) -> Tensor:
    """The mean of each number over all ranks."""
    if ranks() > 1:
        dist.all_reduce(values)
        values /= ranks()
    return values


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank: a signal reaches them at different steps, and they must stop together."""
    if ranks() > 1:
        seen = torch.tensor(int(flag))
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        flag = bool(seen)
    return flag


def rank_zero_decides(decide: Callable[[], T]) -> T:
    """What `decide` returns on number 0, on all ranks: for what is measured, and would come out differently."""
    if ranks() == 1:
        return decide()
    decided = [decide() if rank() == 0 else None]
    dist.broadcast_object_list(decided, src=0, device=torch.device("cpu"))
    return decided[0]  # type: ignore[return-value]
