"""Secrets stay out of what is written down, and everything else stays in."""

from __future__ import annotations

import pytest

from pipelines.system.redact import is_secret, redact, redact_text


@pytest.mark.parametrize(
    "name",
    ["password", "hf_token", "s3.secret-key", "dbPassword", "API_KEY", "aws_secret_access_key", "tracking.auth.token"],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["tokenizer", "monkey", "key", "keep_top_k", "author", "design", "secretary", "bypass"]
)
def test_names_that_only_look_like_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://anna:hunter2@10.0.0.1:5000/x", "http://***@10.0.0.1:5000/x"),
        ("postgresql+psycopg2://u:p%40ss@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("https://hunter2@example.test", "https://***@example.test"),
        (
            "detpress compress tracking.uri=http://a:hunter2@h seed=1",
            "detpress compress tracking.uri=http://***@h seed=1",
        ),
        ("detpress compress s3.secret_key=hunter2 seed=1", "detpress compress s3.secret_key=*** seed=1"),
        ("push --auth-token hunter2 --force", "push --auth-token *** --force"),
        (
            "https://b.test/m.pdparams?X-Amz-Signature=hunter2&part=1",
            "https://b.test/m.pdparams?X-Amz-Signature=***&part=1",
        ),
        ('{"api_key": "hunter2", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("{'dbPassword': 'hunter2 and more'}", "{'dbPassword': '***'}"),
        ("uri=https://h.test/x?token=hunter2#top", "uri=https://h.test/x?token=***"),
        ("Authorization: Bearer abcdefgh12345678", "Authorization: *** ***"),
    ],
)
def test_secrets_inside_text(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert "hunter2" not in redact_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "model=ppyoloe_l data.root=/data/coco backend=[onnxruntime]",
        "see https://example.test/a@b and mail me@example.test",
        "latency.rounds=3 accuracy.nms.keep_top_k=300 data.design=x",
        "sqlite:////tmp/a/mlflow.db",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def test_nested_values_keep_their_shape() -> None:
    config = {
        "tracking": {"uri": "http://u:hunter2@h:5000", "timeout": 10.0},
        "hook": [{"token": "hunter2"}, {"url": "https://h/x?token=hunter2"}],
        "max_tokens": 5,
        "password": None,
        "model": {"labels": ["a", "b"]},
    }
    cleaned = redact(config)
    assert "hunter2" not in str(cleaned)
    assert cleaned["tracking"] == {"uri": "http://***@h:5000", "timeout": 10.0}
    assert cleaned["hook"][0] == {"token": "***"}
    assert cleaned["max_tokens"] == 5
    assert cleaned["password"] is None
    assert cleaned["model"] == {"labels": ["a", "b"]}
    assert config["hook"] == [{"token": "hunter2"}, {"url": "https://h/x?token=hunter2"}]
