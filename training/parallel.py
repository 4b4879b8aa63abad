"""Data-parallel training on several processes: `torchrun --nproc_per_node=N -m training …`.

Every process ("rank") holds the whole model and takes its share of the global batch; they exchange gradients by gloo on
CPUs and NCCL on GPUs. Every rank draws the random numbers of the whole batch from the same stream and keeps its own
rows. So the result of a run, and its saved state, does not depend on the number of processes, up to the order of sums
and to the batch norm in PianoGAN's encoder, whose statistics each rank takes from its own rows.

`DistributedDataParallel` is not used: it reduces gradients in hooks of one `backward()` after one `forward()`, its
documentation excludes `torch.autograd.grad`, which the gradient penalty needs, and a `Task` calls other methods of its
networks than `forward`. One all-reduce of all gradients before each optimizer step moves as many bytes.

Without torchrun there is one rank, and nothing is exchanged.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0. Only rank 0 writes files."""
    return dist.get_rank() if world_size() > 1 else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def joined() -> Iterator[None]:
    """Connects to the other processes if torchrun started this one; disconnects at the end."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield
        return
    # gloo beside NCCL: flags on the host are exchanged without waiting for a GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
        dist.barrier()  # or one would take its connections down while another still uses them
    finally:
        dist.destroy_process_group()


def rand(size: Sequence[int], rng: torch.Generator | None) -> Tensor:
    """As `torch.rand`; the first dimension is this rank's part of the batch."""
    return local_rows(torch.rand(_global_size(size), generator=rng, device=rng.device if rng else None))


def randn(size: Sequence[int], rng: torch.Generator) -> Tensor:
    """As `torch.randn`; the first dimension is this rank's part of the batch."""
    return local_rows(torch.randn(_global_size(size), generator=rng, device=rng.device))


def randint(low: int, high: int, size: Sequence[int], rng: torch.Generator) -> Tensor:
    """As `torch.randint`; the first dimension is this rank's part of the batch."""
    return local_rows(torch.randint(low, high, _global_size(size), generator=rng, device=rng.device))


def _global_size(size: Sequence[int]) -> tuple[int, ...]:
    return (size[0] * world_size(), *size[1:])


def local_rows(drawn: Tensor) -> Tensor:
    """This rank's rows of a tensor for the whole batch."""
    return drawn.chunk(world_size())[rank()]


def gathered(x: Tensor) -> Tensor:
    """The rows of all ranks in one tensor, without gradients."""
    x = x.detach().contiguous()
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)


def rank_zero_first(work: Callable[[], T]) -> T:
    """Returns `work()`, called on rank 0 before the others, which then find what it cached."""
    if rank() > 0:
        any_rank(False)  # a barrier
        return work()
    result = work()
    any_rank(False)
    return result


def same_weights(modules: Iterable[nn.Module]) -> None:
    """Copies the weights of rank 0 to all ranks: other processors may draw other last bits from the same seed."""
    if world_size() > 1:
        for module in modules:
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replaces the gradients of an optimizer's parameters by their means over all ranks."""
    if world_size() > 1:
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = average(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def average(values: Tensor) -> Tensor:
    """The mean of each number over all ranks."""
    if world_size() > 1:
        dist.all_reduce(values)
        values /= world_size()
    return values


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank. A signal reaches ranks at different steps; all must stop at the same one."""
    if world_size() > 1:
        seen = torch.tensor(int(flag))
        dist.all_reduce(seen, dist.ReduceOp.MAX)
        flag = bool(seen)
    return flag


def rank_zero_decides(decide: Callable[[], T]) -> T:
    """Returns rank 0's `decide()` on all ranks, for measurements that would differ between them."""
    if world_size() == 1:
        return decide()
    decided = [decide() if rank() == 0 else None]
    dist.broadcast_object_list(decided, src=0, device=torch.device("cpu"))
    return decided[0]  # type: ignore[return-value]
