"""The names and the messages of Events are what Kubernetes accepts."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.k8s.events import MAX_MESSAGE, EventType, KubernetesEvent, shorten
from orchestrator.k8s.types import WorkloadKey

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
NOTE = KubernetesEvent(
    WorkloadKey("dev", "erp"), "uid-1", EventType.NORMAL, "Scaled", "Scaled from 2 to 4.", "action-1"
)

label = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
names = st.lists(label, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) <= 253)


@given(names)
def test_the_name_of_an_event_is_a_name(name: str) -> None:
    event = replace(NOTE, key=WorkloadKey("dev", name)).name
    assert SUBDOMAIN.fullmatch(event)
    assert len(event) <= 253


def test_a_long_name_is_cut_where_a_name_may_end() -> None:
    name = "a" * 235 + "-" + "b" * 17
    assert replace(NOTE, key=WorkloadKey("dev", name)).name.startswith("a" * 235 + ".")


def test_the_name_of_an_event_does_not_depend_on_its_message() -> None:
    assert replace(NOTE, message="once more").name == NOTE.name


@pytest.mark.parametrize(
    "other", [replace(NOTE, uid="uid-2"), replace(NOTE, about="action-2"), replace(NOTE, reason="Restarted")]
)
def test_events_of_other_objects_sources_or_reasons_have_other_names(other: KubernetesEvent) -> None:
    assert other.name != NOTE.name


@given(st.text(max_size=2000))
def test_a_message_is_cut_between_characters(message: str) -> None:
    kept = shorten(message)
    assert len(kept.encode()) <= MAX_MESSAGE
    if len(message.encode(errors="replace")) > MAX_MESSAGE:
        assert kept.endswith("…")
        assert message.startswith(kept[:-1])
        assert len(kept.encode()) > MAX_MESSAGE - 4  # no more is lost than must be


def test_a_message_that_fits_is_kept() -> None:
    assert shorten("ä" * 512) == "ä" * 512
