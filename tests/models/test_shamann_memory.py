"""An image of 4096² is predicted in the working memory of one of 1024²."""

import subprocess
import sys

import pytest

PREDICT = """
import sys
import torch
from recurseg.inference.memory import peak
from recurseg.models import create_model

model = create_model("shamann", in_channels=1, num_classes=1).eval()
image = torch.zeros(1, 1, int(sys.argv[1]), int(sys.argv[1]))
before = peak()
with torch.inference_mode():
    model(image)
print(peak() - before)
"""
OF_THE_IMAGE = 4 + 8 + 8 + 8 + 4
"""Bytes a pixel: padded image, sum and means of the patches in float64, logits."""


def working_memory(side):
    done = subprocess.run([sys.executable, "-c", PREDICT, str(side)], capture_output=True, text=True, check=True)
    return int(done.stdout) - OF_THE_IMAGE * side**2


@pytest.mark.slow
def test_an_image_of_4096_takes_the_working_memory_of_one_of_1024():
    small, large = working_memory(1024), working_memory(4096)
    print(f"working memory: {small / 2**20:.0f} MiB at 1024², {large / 2**20:.0f} MiB at 4096²")
    assert large < 1.25 * small
