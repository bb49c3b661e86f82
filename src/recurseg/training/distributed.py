"""Training in several processes that torchrun or SLURM started, each with its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from recurseg.errors import ConfigError
from recurseg.inference.predictor import choose_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

A = TypeVar("A")
B = TypeVar("B")

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: as long as the first one measures and reports; see `ending_together`."""


def join(device: str) -> Fabric:
    """Meets the other processes of this training, where there are others.

    Args:
        device: "auto", "cpu", "cuda"; of one process alone any device. Processes of a machine take a GPU each.

    Returns:
        What knows rank, number of processes and device, and wraps a model so that gradients are means over processes.

    Raises:
        ConfigError: A device that is not there, or fewer GPUs than processes.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    chosen, launcher = choose_device(device), _launcher()
    if launcher is None:
        index = [chosen.index or 0] if chosen.type == "cuda" else 1
        return Fabric(accelerator=chosen.type, devices=index, plugins=[LightningEnvironment()])
    if str(chosen) not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: several processes take auto, cpu or cuda")
    here = int(os.environ["LOCAL_WORLD_SIZE" if launcher == "torchrun" else "SLURM_NTASKS_PER_NODE"])
    try:
        environment = TorchElasticEnvironment() if launcher == "torchrun" else SLURMEnvironment()
        fabric = Fabric(
            accelerator=chosen.type,
            num_nodes=environment.world_size() // here,
            strategy=DDPStrategy(parallel_devices=_devices(chosen.type, here, launcher), timeout=PATIENCE),
            plugins=[environment],
        )
        fabric.launch()
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{launcher}: the processes cannot meet ({reason}): start as many on every machine"
        ) from None
    return fabric


def require_alone(what: str) -> None:
    """Raises ConfigError where this is one of several processes."""
    if launcher := _launcher():
        raise ConfigError(f"{what} trains in one process: start it without {launcher}")


def first() -> bool:
    """Whether this process is the one that writes and prints."""
    return _ranks()[0] == 0


def of_all_ranks(part: Tensor) -> Tensor:
    """The sum of a tensor over all processes, through which gradients flow back to each; one process's own as it is.

    What is a function of sums over a batch, such as a mean over voxels that count, or a Dice, is so computed of the
    whole batch. Every process then has the same loss, and means of gradients over processes are those of one process.
    """
    return part if _ranks()[1] == 1 else _SumOverRanks.apply(part)


def mean_of_all_ranks(mean: Tensor, count: int) -> Tensor:
    """The mean over the whole batch of what each process has the mean over `count` of."""
    return of_all_ranks(mean * (count / of_all_ranks(torch.tensor(count, device=mean.device))))


def spread(function: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """`[function(item) for item in items]`, each process taking every so-manieth item; all get all results."""
    rank, ranks = _ranks()
    own = [function(item) for item in items[rank::ranks]]
    if ranks == 1:
        return own
    found: list[Any] = [None] * ranks
    dist.all_gather_object(found, own)
    return [found[number % ranks][number // ranks] for number in range(len(items))]


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        """Gradient of the sum of all processes' losses: it is `ranks` times too large, until means are taken."""
        return _SumOverRanks.forward(ctx, grads[0])


def _ranks() -> tuple[int, int]:
    """Number of this process and of all."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _launcher() -> str | None:
    """What started several processes, if anything did: a step of srun may itself run torchrun."""
    if dist.is_available() and dist.is_torchelastic_launched():
        return "torchrun" if int(os.environ["WORLD_SIZE"]) > 1 else None
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return None
    if "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ConfigError("srun: say how many processes a machine runs: --ntasks-per-node")
    return "srun"


def _devices(kind: str, processes: int, launcher: str) -> list[torch.device]:
    """The device of each process of this machine; SLURM may show each process its own GPU alone."""
    if kind == "cpu":
        return [torch.device("cpu")] * processes
    there = torch.cuda.device_count()
    if there < processes and not (there == 1 and launcher == "srun"):
        raise ConfigError(f"{processes} processes on a machine with {there} GPU: start one for each, or --device cpu")
    return [torch.device("cuda", number % there) for number in range(processes)]
