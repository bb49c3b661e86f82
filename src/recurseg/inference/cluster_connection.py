"""A Ray cluster: reaching it within a bounded time, and how many cases it can work on at once."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from recurseg.errors import ConfigError

_SECONDS = 10
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""Preface and empty settings; every gRPC server answers by settings of its own, a frame of type 4 (RFC 9113)."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects to a Ray cluster for the length of the block; a connection that is open already is used and kept.

    Nothing is reported to Ray's makers, and a cluster that is started here has no dashboard. Ray guards clusters by
    a token; it is sent to an address that is named here only where the user has set `RAY_AUTH_MODE=token`.

    Args:
        address: "auto" (the cluster that this machine is part of), "local" (this machine alone), `HOST:PORT` of the
            head, for machines that are part of the cluster, or `ray://HOST:PORT` for others.

    Raises:
        ConfigError: Ray is not installed, the cluster cannot be reached, or its versions differ.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", str(_SECONDS))
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs Ray: pip install 'recurseg[ray]'") from None
    if ray.is_initialized():
        yield
        return
    _require_answer(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with _silent():
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        raise ConfigError(f"--ray {address}: {_reason(error, address)}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # ray.init has put its own there
    try:
        yield
    finally:
        ray.shutdown()


def places(needs: Mapping[str, int]) -> int:
    """How many tasks the nodes that are alive can hold at once.

    Args:
        needs: Of a task: "CPU" cores, "GPU" devices and "memory" bytes; 0 needs none.
    """
    import ray

    return sum(
        min(int(node["Resources"].get(kind, 0) // number) for kind, number in needs.items() if number)
        for node in ray.nodes()
        if node["Alive"]
    )


def has_gpus() -> bool:
    """Whether any node has a GPU."""
    import ray

    return ray.cluster_resources().get("GPU", 0) >= 1


def _require_answer(address: str) -> None:
    """A ConfigError where no gRPC server answers at an address, instead of Ray's minutes of trying."""
    if address in ("auto", "local"):
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("", "ray") or host is None or port is None:
        raise ConfigError(f"--ray {address}: is no address: write auto, local, HOST:PORT or ray://HOST:PORT")
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as connection:
            connection.sendall(_HTTP2_GREETING)
            reason = "" if connection.recv(9)[3:4] == b"\x04" else "no Ray answers there"
    except OSError as error:
        reason = error.strerror or "no answer"
    if reason and os.environ.get("RAY_USE_TLS", "0") == "0":
        raise ConfigError(
            f"--ray {address}: cannot be reached ({reason}): start the cluster with 'ray start --head' or check the "
            "address"
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps off the terminal what Ray's C++ part writes there while it connects, a line a second."""
    terminal, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


def _reason(error: Exception, address: str) -> str:
    """One line for what `ray.init` says in many."""
    text = " ".join(str(error).split())
    if "mismatch" in text:
        return f"{text.removeprefix('Version mismatch: ')}: install the same versions on all machines"
    if "ray[client]" in text:
        return "ray:// addresses need Ray's client: pip install 'ray[client]'"
    if "Failed to connect" in text or "authenticat" in text.lower():
        return "it refuses this machine: where the cluster is guarded by a token, set RAY_AUTH_MODE=token"
    if address == "auto" or "Could not find any running Ray" in text:
        return "this machine is part of no Ray cluster: start one with 'ray start --head', or take --ray local"
    if "node" in text.lower():
        return (
            f"this machine is no node of it: run 'ray start --address {address}' here first, or use ray://HOST:PORT"
        )
    return f"cannot be used ({text[:160]}): check that it is the address of a running Ray cluster"
