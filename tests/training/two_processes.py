"""What each of several processes does that `test_distributed.py` starts: `torchrun two_processes.py FOLDER`."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from recurseg.data.case import IGNORE
from recurseg.training.batch_norm import BatchNormOverRanks
from recurseg.training.distributed import join, mean_of_all_ranks, spread
from recurseg.training.losses import LOSSES, balanced_cross_entropy
from recurseg.training.run import train

SAMPLES = 5


def labelled_batch():
    """Logits and labels of five samples, of which some count few voxels and one none."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(SAMPLES, 3, 4, 5, 6, generator=generator)
    labels = torch.randint(0, 3, (SAMPLES, 4, 5, 6), generator=generator)
    for number in range(SAMPLES):
        labels[number, :number] = IGNORE
    return logits, labels


def losses():
    """Every loss of a recipe by name."""
    squared = {"completion": lambda logits, _: mean_of_all_ranks(logits.square().mean(), logits.numel())}
    return LOSSES | {"balanced": balanced_cross_entropy(torch.tensor([0.2, 1.0, 3.0]))} | squared


def gradients(share: slice):
    """Value and gradient of each loss for a share of the batch."""
    found = {}
    for name, loss in losses().items():
        logits, labels = (part[share] for part in labelled_batch())
        value = loss(logits.requires_grad_(), labels)
        value.backward()
        found |= {f"{name} value": value.detach(), f"{name} gradient": logits.grad}
    return found


def normalised(norm: torch.nn.Module, share: slice):
    """What a batch normalisation makes of a share of the batch, its gradients and its running statistics."""
    image = labelled_batch()[0][share].requires_grad_()
    found = norm.train()(image)
    (found**3).sum().backward()
    given = {f"norm {name}": value for name, value in norm.state_dict().items() if name.startswith("running")}
    return given | {"norm found": found.detach(), "norm gradient": image.grad}


def main(folder: Path) -> None:
    fabric = join("cpu")
    share = slice(fabric.global_rank, None, fabric.world_size)
    norm = BatchNormOverRanks.of(torch.nn.BatchNorm3d(3))
    parts = gradients(share) | normalised(norm, share)
    parts["spread"] = torch.tensor(spread(lambda item: 10 * item + fabric.global_rank, range(5)))
    save_file({name: part.contiguous() for name, part in parts.items()}, folder / f"{fabric.global_rank}.safetensors")
    for training in json.loads((folder / "trainings.json").read_text()):
        train(**training)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
