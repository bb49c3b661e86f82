"""How long a user waits before anything begins."""

from __future__ import annotations

import subprocess
import sys
import time

from recurseg.bench.registry import Measurement, benchmark

ROUNDS = 5
IMPORT = """
import time, torch
begun = time.perf_counter()
import recurseg
print(time.perf_counter() - begun)
"""
HELP = "from recurseg.cli.main import main; main(['--help'])"


@benchmark("import_seconds", unit="s", what="`import recurseg` in a new interpreter that has imported torch")
def import_seconds(rounds: int = ROUNDS) -> Measurement:
    return Measurement([float(_run(IMPORT)) for _ in range(rounds)])


@benchmark("help_seconds", unit="s", what="`recurseg --help`, the interpreter's own start included")
def help_seconds(rounds: int = ROUNDS) -> Measurement:
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        _run(HELP)
        taken.append(time.perf_counter() - begun)
    return Measurement(taken)


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
