"""Several processes that train as one: each takes its share of every batch, and sums make them equal again.

The gradient of a batch is a sum over its images. Each process adds up its own share, already divided by the weight
of the *whole* batch, and one sum over the processes gives every one of them the gradient that a single process would
have: the same but for the order in which floating-point numbers are added. Everything else (order, augmentation,
schedule, choice of the epoch) is computed by all of them alike from the seed and the step.

Only the first process writes. What a process is told comes from the first, as JSON: no code travels.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from eyeline.errors import EyelineError, Interrupted

# Others wait while the first reads, decodes and checks. A process that dies is noticed at once, by its closed sockets.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; by default it is alone."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one process that writes and reports."""
        return self.rank == 0

    def share(self, total: int, unit: int = 1) -> slice:
        """This process's part of `total` rows: whole units, as even as can be; the last unit may be smaller."""
        units = -(-total // unit)
        start, stop = (min(total, units * rank // self.count * unit) for rank in (self.rank, self.rank + 1))
        return slice(start, stop)

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up `tensor` over all processes, in place; every process gets the same bits."""
        return sum_over_ranks(tensor) if self.count > 1 else tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter], loss: float) -> float:
        """Add up the gradients of all processes in place, and their losses, in one message; returns the loss."""
        if self.count == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), gradients[0].new_tensor([loss])])
        self.sum(flat)
        *parts, total = torch.split(flat, [*(gradient.numel() for gradient in gradients), 1])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
        return float(total)

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        return (self.count > 1 and bool(self.sum(torch.tensor([int(flag)])).item())) or flag

    def copy(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if self.count > 1:
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                with _all_alive():
                    dist.broadcast(whole, 0)
                tensor.detach().copy_(whole)

    def tell(self, value: Any) -> Any:
        """What the first process says, for all: plain JSON values. The `value` of the others is ignored."""
        if self.count == 1:
            return value
        data = json.dumps(value).encode() if self.first else b""
        size = self.sum(torch.tensor([len(data)]))
        message = torch.zeros(int(size), dtype=torch.uint8)
        if self.first:
            message.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        with _all_alive():
            dist.broadcast(message, 0)
        return json.loads(message.numpy().tobytes())

    def wait(self) -> None:
        """Go on when every process has come this far."""
        self.sum(torch.zeros(1))


ALONE = Ranks()


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Add up `tensor` over the processes of the current group, in place.

    Raises
    ------
    EyelineError : another process has ended (``code="rank_lost"``).
    """
    with _all_alive():
        dist.all_reduce(tensor)
    return tensor


@contextlib.contextmanager
def _all_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo and nccl have no error type of their own
        reason = (str(error).splitlines() or [""])[0].rpartition("] ")[2][:200]
        raise EyelineError(
            f"process {dist.get_rank()} of {dist.get_world_size()} has lost another: {reason}",
            code="rank_lost",
            hint="the other one's message or exit code says why; what was saved can be resumed",
        ) from error


def told_rank() -> tuple[int, int]:
    """Number of this process and how many there are, as ``torchrun`` tells it in the environment; else (0, 1)."""
    if "RANK" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Meet the other processes that ``torchrun`` started (gloo between processors, nccl between GPUs).

    A process group that exists already is used and left open. Without either this process is alone.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size())
        return
    rank, count = told_rank()
    if count == 1:
        yield ALONE
        return
    gpus = torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(rank, count)
    except (Interrupted, KeyboardInterrupt):
        # The launcher ends all others once one has ended. This one is saved and about to end by itself, with its
        # own exit code.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    dist.destroy_process_group()
