"""A local S3 for tests (moto's server), and the environment that makes everybody use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def local_s3() -> Iterator[str]:
    """A server of its own; yields its address. Skips the test where moto or s3fs are missing."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def use(endpoint: str, patch: pytest.MonkeyPatch, bucket: str) -> None:
    """Let this process and its children talk to ``endpoint``, and make ``bucket`` there."""
    import fsspec

    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "y"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        patch.setenv(name, value)
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
