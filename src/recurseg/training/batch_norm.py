"""Batch normalisation over the whole batch where it is spread over processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurseg.training.distributed import of_all_ranks


def normalise_over_ranks(model: nn.Module, device: torch.device) -> nn.Module:
    """Makes every batch normalisation of a model take its statistics over all processes; weights stay as they are.

    On a GPU it is PyTorch's `SyncBatchNorm`, which there is for GPUs alone.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(module, name, BatchNormOverRanks.of(child))
    return model


class BatchNormOverRanks(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of `(B, C, *spatial)` whose batch is that of all processes together."""

    @classmethod
    def of(cls, norm: nn.modules.batchnorm._BatchNorm) -> BatchNormOverRanks:
        """One with the settings, weights and running statistics of another one, which are shared."""
        own = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        own._parameters, own._buffers = norm._parameters, norm._buffers
        return own.train(norm.training)

    def forward(self, image: Tensor) -> Tensor:
        if not self.training:
            return super().forward(image)
        axes, shape = [0, *range(2, image.ndim)], (1, -1, *(1 for _ in image.shape[2:]))
        values = image.float()
        count = of_all_ranks(torch.tensor(image.numel() // image.shape[1], device=image.device))
        mean = of_all_ranks(values.sum(axes)) / count  # (C,)
        centred = values - mean.view(shape)
        variance = of_all_ranks(centred.square().sum(axes)) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(image.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        return

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)
