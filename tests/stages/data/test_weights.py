"""Weights by path and URL, against a server on this machine; and checkpoints that try to run code."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stages.data import weights
from stages.data.weights import cached_path, read_pdparams, resolve_weights, write_pdparams
from stages.errors import WeightsError

BODY = pickle.dumps({"w": np.arange(256_000, dtype=np.float32)}, protocol=4)
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``BODY``; ``cut`` ends the first answer after that many bytes, ``etag`` marks the version."""

    daemon_threads = True
    cut: int | None = None
    etag: str | None = '"v1"'
    body = BODY
    kind: str | None = None
    length = True
    ranges: list[str | None]
    sent: list[int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/models/tiny.pdparams"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if not self.path.partition("?")[0].endswith("tiny.pdparams"):
            self.send_error(404)
            return
        start = 0
        if asked and self.headers.get("If-Range") == self.server.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(BODY):
                self.send_error(416)
                return
        body = self.server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        if self.server.kind:
            self.send_header("Content-Type", self.server.kind)
        if self.server.length:
            self.send_header("Content-Length", str(len(body)))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        self.end_headers()
        cut, self.server.cut = self.server.cut, None
        self.server.sent.append(len(body[:cut]))
        self.wfile.write(body[:cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("DETPRESS_CACHE", str(tmp_path / "cache"))
    made = Server(("127.0.0.1", 0), Handler)
    made.ranges, made.sent = [], []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "a.pdparams"
    file.write_bytes(BODY)
    assert resolve_weights(str(file)) == file
    assert resolve_weights(str(file), DIGEST.upper()) == file
    with pytest.raises(WeightsError, match="weights_sha256"):
        resolve_weights(str(file), "0" * 64)
    assert file.is_file(), "the user's own file is never removed"
    with pytest.raises(WeightsError, match="no such file"):
        resolve_weights(str(tmp_path / "b.pdparams"))


def test_a_download_is_made_once(server: Server) -> None:
    seen: list[tuple[int, int]] = []
    path = resolve_weights(server.url, DIGEST, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert resolve_weights(server.url, DIGEST) == path
    assert len(server.ranges) == 1
    leftovers = [p.name for p in path.parent.iterdir() if p.suffix != ".lock"]
    assert leftovers == ["tiny.pdparams"]


def test_a_broken_download_goes_on_where_it_ended(server: Server) -> None:
    server.cut = 300_000
    with pytest.raises(WeightsError, match="the next run continues from there"):
        resolve_weights(server.url, DIGEST)
    assert not cached_path(server.url).exists()
    assert resolve_weights(server.url, DIGEST).read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-"]
    assert server.sent == [300_000, len(BODY) - 300_000]


def test_a_changed_file_is_fetched_from_the_start(server: Server) -> None:
    server.cut = 300_000
    with pytest.raises(WeightsError):
        resolve_weights(server.url)
    server.etag = '"v2"'
    assert resolve_weights(server.url, DIGEST).read_bytes() == BODY
    assert server.sent[-1] == len(BODY)


def test_without_a_version_mark_nothing_is_resumed(server: Server) -> None:
    server.cut, server.etag = 300_000, None
    with pytest.raises(WeightsError):
        resolve_weights(server.url)
    assert resolve_weights(server.url, DIGEST).read_bytes() == BODY
    assert server.ranges == [None, None]


def test_a_complete_part_is_fetched_again_rather_than_trusted(server: Server) -> None:
    part = cached_path(server.url).with_name("tiny.pdparams.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * len(BODY))
    part.with_name(part.name + ".validator").write_text('"\\"v1\\""')
    assert resolve_weights(server.url).read_bytes() == BODY


def test_a_wrong_digest_costs_no_file(server: Server) -> None:
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"has sha256 .*, model.weights_sha256 says 0{64}"):
            resolve_weights(server.url, "0" * 64)
    assert resolve_weights(server.url, DIGEST).read_bytes() == BODY
    assert len(server.ranges) == 1, "the digest was the wrong one, not the file"
    cached_path(server.url).write_bytes(b"tampered with")
    with pytest.raises(WeightsError, match=f"to fetch it again, remove {cached_path(server.url)}"):
        resolve_weights(server.url, DIGEST)
    assert cached_path(server.url).is_file()


def test_what_is_no_checkpoint_is_not_kept(server: Server) -> None:
    for body, kind, said in (
        (b"<html>please log in</html>", "text/html; charset=utf-8", "the server sends text/html"),
        (b"<html>please log in</html>", None, "is no checkpoint, and was not kept"),
        (b"", None, "is no checkpoint, and was not kept"),
        (b'{"error": 1}', "application/json", "the server sends application/json"),
    ):
        server.body, server.kind = body, kind
        with pytest.raises(WeightsError, match=said):
            resolve_weights(server.url)
        assert [p.name for p in cached_path(server.url).parent.iterdir() if p.suffix != ".lock"] == []
    server.body, server.kind = BODY, "application/octet-stream"
    assert resolve_weights(server.url, DIGEST).read_bytes() == BODY


def test_a_download_without_an_end_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGEST", 1000)
    with pytest.raises(WeightsError, match="that a checkpoint may have"):
        resolve_weights(server.url)
    assert server.ranges and not cached_path(server.url).exists()
    server.length = False  # the server does not say how much it will send
    with pytest.raises(WeightsError, match="that a checkpoint may have"):
        resolve_weights(server.url)
    assert [p.name for p in cached_path(server.url).parent.iterdir() if p.suffix != ".lock"] == []


def test_messages_tell_no_secret_of_a_url(server: Server) -> None:
    secret = server.url.replace("http://", "http://anna:hunter2@") + "?X-Amz-Signature=hunter3&key=hunter4#hunter5"
    for url in (secret.replace("tiny", "gone"), secret, secret.replace("127.0.0.1", "host.invalid")):
        with pytest.raises(WeightsError) as told:
            resolve_weights(url, "0" * 64)
        assert "hunter" not in str(told.value).replace(str(cached_path(url)), "")
        assert "http://" in str(told.value) and "pdparams" in str(told.value)
    with pytest.raises(WeightsError) as told:
        resolve_weights("ftp://anna:hunter2@h/x.pdparams?key=hunter3")
    assert "hunter" not in str(told.value)


def test_offline_says_where_to_put_the_file(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:9/tiny.pdparams"  # the discard port: nobody listens
    with pytest.raises(WeightsError) as caught:
        resolve_weights(url)
    assert str(cached_path(url)) in str(caught.value)
    cached_path(url).write_bytes(BODY)
    assert resolve_weights(url, DIGEST) == cached_path(url)


def test_an_http_error_is_named(server: Server) -> None:
    with pytest.raises(WeightsError, match="404"):
        resolve_weights(server.url + ".gone")


def test_two_urls_with_one_name_do_not_clash() -> None:
    assert cached_path("http://a/x.pdparams") != cached_path("http://b/x.pdparams")


def test_weights_round_trip(tmp_path: Path) -> None:
    arrays = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(1, np.float32)}
    file = tmp_path / "w.pdparams"
    write_pdparams(file, arrays)
    back = read_pdparams(file)
    assert set(back) == {"a.weight", "b"}
    np.testing.assert_array_equal(back["a.weight"], arrays["a.weight"])


def test_older_forms_are_read(tmp_path: Path) -> None:
    file = tmp_path / "old.pdparams"
    for protocol in (2, 4):
        with file.open("wb") as stream:
            content = {"w": ("linear_0.w_0", np.ones((2, 2), np.float32)), "StructuredToParameterName@@": {"w": "x"}}
            pickle.dump(content, stream, protocol=protocol)
        assert list(read_pdparams(file)) == ["w"]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/detpress_was_here",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "evil.pdparams"
    file.write_bytes(pickle.dumps({"w": Evil()}))
    with pytest.raises(WeightsError, match="which no weights need"):
        read_pdparams(file)
    assert not Path("/tmp/detpress_was_here").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2]), pickle.dumps({"a": 1})])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.pdparams"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pdparams"):
        read_pdparams(file)
