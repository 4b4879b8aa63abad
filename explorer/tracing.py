"""Tracing: what a module calls `network` is run by torch in one call, not in one for each operation.

Python's global lock is handed over around every call into torch. That takes a quarter of a small network's time, and
more while other threads compute as well.
"""

import itertools
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

TRACED_AFTER = 16  # calls, since a trace takes as long as ten to thirty of them
RUNS = 3  # compared with the network, since torch optimises a trace during its first runs


def trace_when_busy(module: nn.Module, submit: Callable[..., Any]) -> None:
    """Has the module's `network`, if it has one, traced once it was called `TRACED_AFTER` times. See `Traced`."""
    if hasattr(module, "network"):
        # Not by setattr, which refuses to replace a submodule; the names of the weights stay as they are.
        module.__dict__["network"] = Traced(module, submit)


class Traced:
    """Calls the `network` of a module, and later its trace, which gives the same bits sooner.

    A network takes tensors, or None, and what it computes must follow from their shapes, never from a branch on their
    numbers. The trace is used in eval mode, without gradients, for arguments of the shapes with which it was made, and
    only if it gave the network's own bits. A copy of the module has the network itself.

    Args:
        submit: runs a function with arguments in the background, as `concurrent.futures.Executor.submit`.
    """

    def __init__(self, module: nn.Module, submit: Callable[..., Any]) -> None:
        self._module, self._submit = module, submit
        self._network: Callable[..., Any] = module.network  # type: ignore[assignment]
        self._calls = itertools.count(1)
        self._found: tuple[Callable[..., Tensor], Any] | None = None  # the trace, and `_shapes` of its arguments

    def __call__(self, *args: Tensor | None) -> Any:
        if self._module.training or torch.is_grad_enabled():
            return self._network(*args)
        found = self._found
        if found is not None and found[1] == _shapes(args):
            return found[0](*_tensors(args))
        if next(self._calls) == TRACED_AFTER:
            self._submit(self.trace, *args)
        return self._network(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., Any]:
        return deepcopy(self._network, memo)

    @property
    def done(self) -> bool:
        """Whether there is a trace, which is used from now on."""
        return self._found is not None

    def trace(self, *args: Tensor | None) -> None:
        """Makes the trace from arguments like those of later calls; leaves it if it fails or has other bits."""

        def network(*tensors: Tensor) -> Tensor:
            given = iter(tensors)
            return self._network(*(None if x is None else next(given) for x in args))

        try:
            examples = _tensors(args)
            others = tuple((x.flip(*range(x.dim())) / 2).to(x.dtype) for x in examples)  # as good as any other numbers
            with torch.inference_mode(), warnings.catch_warnings():
                # Tracing is deprecated in favour of compilers, which need one for C++ and give other bits. Torch also
                # warns of every look at a shape, but `_shapes` sees to those.
                warnings.simplefilter("ignore")
                trace = torch.jit.trace(network, examples, check_trace=False)
                if all(torch.equal(trace(*x), network(*x)) for _ in range(RUNS) for x in (examples, others)):
                    self._found = trace, _shapes(args)
        except Exception:
            return  # a checkpoint may hold any network, and untraced it plays as well


def _tensors(args: tuple[Tensor | None, ...]) -> tuple[Tensor, ...]:
    return tuple(x for x in args if x is not None)


def _shapes(args: tuple[Tensor | None, ...]) -> list[Any]:
    return [None if x is None else (x.shape, x.dtype) for x in args]
