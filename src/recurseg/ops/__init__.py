"""Operations: what networks compute, apart from weights.

Library functions of one argument are called once here, by one thread. Intel's MKL picks the kernel of each at its
first call, and releases before 2025.0, which PyTorch is built with, can take one of low accuracy for a part of the
numbers if that call comes from several threads at once (pytorch/pytorch#188792).
"""

import torch

for _name in ("tanh", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "erf", "sin", "cos", "tan", "atan"):
    for _dtype in (torch.float32, torch.float64):
        getattr(torch.ones(1, dtype=_dtype), _name)()
