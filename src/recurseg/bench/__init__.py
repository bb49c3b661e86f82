"""How fast the networks are, how time grows with size, and against what."""

from recurseg.bench.registry import Benchmark, Measurement, Result, benchmark, benchmarks
from recurseg.bench.run import run_benchmarks

__all__ = ["Benchmark", "Measurement", "Result", "benchmark", "benchmarks", "run_benchmarks"]
