from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartops.dev.sandbox.errors import ApiError
from smartops.dev.sandbox.protobuf import decode


def field(number: int, value: bytes | int) -> bytes:
    """One field on the wire; lengths and numbers stay below 128 here."""
    return bytes([number << 3, value]) if isinstance(value, int) else bytes([number << 3 | 2, len(value)]) + value


def sent(kind: str, *fields: bytes) -> bytes:
    return b"k8s\x00" + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, b"".join(fields))


def test_protobuf_of_kubectl_is_read_as_its_json() -> None:
    labels = field(11, field(1, b"a") + field(2, b"b")) + field(11, field(1, b"empty"))
    metadata = field(1, field(1, b"shop") + field(3, b"") + field(7, 0) + labels)
    container = (
        field(1, b"web") + field(2, b"image") + field(3, b"run") + field(3, b"me") + field(8, b"") + field(12, 0)
    )
    template = field(3, field(2, field(2, container)))
    spec = field(2, field(1, 0) + template + field(4, field(1, b"")) + field(7, 1))
    assert decode(sent("Deployment", metadata, spec, field(3, field(1, 0)))) == {
        "apiVersion": "v1",
        "kind": "Deployment",
        "metadata": {"name": "shop", "labels": {"a": "b", "empty": ""}},
        "spec": {
            "replicas": 0,
            "template": {"spec": {"containers": [{"name": "web", "image": "image", "command": ["run", "me"]}]}},
            "paused": True,
        },
    }


@pytest.mark.parametrize(
    "body", [sent("Gizmo", field(1, b"x")), sent("ConfigMap", field(3, b"x")), sent("Deployment", field(9, 1))]
)
def test_an_unknown_field_of_protobuf_is_refused_and_never_dropped(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decode(body)
    assert refused.value.code == 415


@given(st.binary(max_size=40), st.integers(0, 3))
def test_any_bytes_are_read_or_refused(junk: bytes, shape: int) -> None:
    body = [junk, b"k8s\x00" + junk, sent("Deployment", junk), sent("ConfigMap", field(2, junk))][shape]
    with suppress(ApiError):  # and raises nothing else
        assert decode(body)["kind"]
