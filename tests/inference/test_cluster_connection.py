"""A Ray cluster that is not there or does not fit is told in one line, at once."""

from __future__ import annotations

import socket
import threading

import pytest

from recurseg.errors import ConfigError
from recurseg.inference.cluster_connection import connected

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'recurseg[ray]'")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "localhost", "http://localhost:80", "a:b"])
def test_an_address_without_a_cluster_is_told_at_once(address: str) -> None:
    with (
        pytest.raises(ConfigError, match=rf"^--ray {address}: (cannot be reached|is no address)"),
        connected(address),
    ):
        pass


def test_a_server_that_is_no_ray_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"^--ray {address}: cannot be reached"), connected(address):
            pass


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.11.1\n"),
            r"^--ray auto: The cluster was started with: Ray: 2.9.0 Python: 3.11.1: install the same versions",
        ),
        (ConnectionError("Failed to connect to Ray cluster"), r"^--ray auto: .*set RAY_AUTH_MODE=token"),
        (ConnectionError("Could not find any running Ray instance."), r"^--ray auto: .*'ray start --head'"),
    ],
)
def test_what_ray_says_in_many_lines_becomes_one(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(ConfigError, match=message) as caught, connected("auto"):
        pass
    assert "\n" not in str(caught.value)
