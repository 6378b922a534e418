"""Several processes that train one network together (`torchrun` starts them), and their devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from zfnb.errors import BadInput, UnknownName


@dataclass(frozen=True)
class Processes:
    """The processes that train together: `torchrun` starts them, or there is only this one.

    Attributes
    ----------
    rank, world : int
        This process's number, and how many there are.
    local : int
        This process's number among those of its machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    def part(self, count: int) -> slice:
        """This process's share of a batch."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def total(self, numbers: Tensor) -> Tensor:
        """Sum over all processes."""
        if self.world > 1:
            dist.all_reduce(numbers)
        return numbers

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the values of the first one."""
        for tensor in tensors if self.world > 1 else ():
            dist.broadcast(tensor, 0)

    def gather(self, value: Any) -> list:
        """The `value` of each process, in order; everyone waits for the last one."""
        values = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()


@contextmanager
def processes(device: torch.device):
    """Join the processes that `torchrun` started; leave them at the end."""
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world == 1:
        yield Processes()
        return
    ours = not dist.is_initialized()
    if ours:
        # The others wait while the first one decodes the pictures, which may take hours.
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=1)
        )
    try:
        local = int(os.environ.get("LOCAL_RANK", 0))
        yield Processes(dist.get_rank(), dist.get_world_size(), local)
    finally:
        if ours:
            dist.destroy_process_group()


def exact(device: torch.device) -> torch.dtype:
    """What to count and sum in on a device: float64 where it can."""
    return torch.float32 if device.type == "mps" else torch.float64


def choose_device(name: str | None = None) -> torch.device:
    """The device asked for; else this process's GPU, else the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnknownName.of("device", name, ["cpu", "cuda", "cuda:0", "mps"]) from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise BadInput("There is no GPU that PyTorch can use here; choose the device cpu.")
        if device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        if device.index >= torch.cuda.device_count():
            raise BadInput(
                f"There is no {device} here; PyTorch sees {torch.cuda.device_count()} GPUs."
            )
        torch.cuda.set_device(device)
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise BadInput(
            f"PyTorch cannot use the device {name} here ({reason}); choose the device cpu."
        ) from error
    return device
