"""What operators set, and for whom it holds: resolved field by field, from the widest scope to the narrowest."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.models import (
    LIMIT_FIELDS,
    Cooldown,
    Freeze,
    GuardrailSetting,
    Scope,
    effective_limits,
    merge_limits,
    scope_name,
)
from guardrails.queries import COVERING
from guardrails.types import Limits
from signals.types import ActionType, Kind, Mode, Target
from tests.kit.decisions import TARGET
from tests.kit.verbs import history

SCOPE = ("cluster", "kind", "namespace", "workload")
Place = tuple[str, str, str, str]  # in the order of SCOPE


def place_of(one: Mapping[str, Any]) -> Place:
    return one["cluster"], one["kind"], one["namespace"], one["workload"]


def row(place: Place, **limits: int) -> dict[str, Any]:
    return dict(zip(SCOPE, place, strict=True)) | dict.fromkeys(LIMIT_FIELDS) | limits


EVERYTHING = ("", "", "", "")
KIND = ("", "StatefulSet", "", "")
CLUSTER = ("default", "", "", "")
KIND_THERE = ("default", "StatefulSet", "", "")
NAMESPACE = ("", "", "smartops-dev", "")
KIND_OF_NAMESPACE = ("", "DaemonSet", "smartops-dev", "")
NAMESPACE_THERE = ("default", "", "smartops-dev", "")
WORKLOAD = ("", "", "smartops-dev", "erp-simulator")
DEPLOYMENT = ("", "Deployment", "smartops-dev", "erp-simulator")
WORKLOAD_THERE = ("default", "", "smartops-dev", "erp-simulator")
STATEFUL_SET_THERE = ("default", "StatefulSet", "smartops-dev", "erp-simulator")
WIDEST_FIRST = [
    *(EVERYTHING, KIND, CLUSTER, KIND_THERE, NAMESPACE, KIND_OF_NAMESPACE, NAMESPACE_THERE),
    *(WORKLOAD, DEPLOYMENT, WORKLOAD_THERE, STATEFUL_SET_THERE),
]


def test_without_settings_the_defaults_hold_and_are_named_as_such() -> None:
    limits = merge_limits([])

    assert (limits.max_replicas, limits.cooldown_seconds, limits.max_actions_per_hour) == (8, 300, 6)
    assert limits.max_scale_increase == 3
    assert limits.sources == dict.fromkeys(LIMIT_FIELDS, "default")


@pytest.mark.parametrize(("wider", "narrower"), list(pairwise(WIDEST_FIRST)))
def test_the_narrower_scope_outweighs_the_wider(wider: Place, narrower: Place) -> None:
    rows = [row(wider, max_replicas=1, max_actions_per_hour=1), row(narrower, max_replicas=2)]

    for given_ in (rows, rows[::-1]):
        limits = merge_limits(given_)
        assert (limits.max_replicas, limits.sources["max_replicas"]) == (2, scope_name(*narrower))
        assert (limits.max_actions_per_hour, limits.sources["max_actions_per_hour"]) == (1, scope_name(*wider))
        assert (limits.cooldown_seconds, limits.sources["cooldown_seconds"]) == (300, "default")


def test_zero_is_a_limit_and_not_an_empty_field() -> None:
    rows = [row(EVERYTHING, max_actions_per_hour=9), row(NAMESPACE, max_actions_per_hour=0)]

    assert merge_limits(rows).max_actions_per_hour == 0


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (EVERYTHING, "everything"),
        (KIND, "StatefulSets"),
        (CLUSTER, "cluster default"),
        (KIND_THERE, "cluster default, StatefulSets"),
        (NAMESPACE, "namespace smartops-dev"),
        (KIND_OF_NAMESPACE, "DaemonSets in namespace smartops-dev"),
        (NAMESPACE_THERE, "cluster default, namespace smartops-dev"),
        (WORKLOAD, "smartops-dev/erp-simulator"),
        (DEPLOYMENT, "Deployment smartops-dev/erp-simulator"),
        (WORKLOAD_THERE, "cluster default, smartops-dev/erp-simulator"),
        (STATEFUL_SET_THERE, "cluster default, StatefulSet smartops-dev/erp-simulator"),
    ],
)
def test_a_scope_has_a_name_for_people(place: Place, name: str) -> None:
    assert scope_name(*place) == name


@st.composite
def places(draw: st.DrawFn) -> Place:
    namespace = draw(st.sampled_from(["", "smartops-dev", "production"]))
    workload = draw(st.sampled_from(["", "erp-simulator", "api"])) if namespace else ""
    return draw(st.sampled_from(["", "default", "edge"])), draw(st.sampled_from(["", *Kind])), namespace, workload


TARGETS = st.builds(
    Target,
    st.sampled_from(["default", "edge"]),
    st.sampled_from(["smartops-dev", "production"]),
    st.sampled_from(["erp-simulator", "api"]),
    st.sampled_from(Kind),
)
FIELDS = st.fixed_dictionaries(
    {}, optional={name: st.none() | st.integers(5, 100) for name in ("max_replicas", "cooldown_seconds")}
)
ROWS = st.lists(st.builds(lambda place, fields: row(place, **fields), places(), FIELDS), max_size=8).map(
    lambda rows: list({place_of(one): one for one in rows}.values())
)


def covers(scope: dict[str, Any], target: Target) -> bool:
    place = (target.cluster, target.kind, target.namespace, target.name)
    return all(scope[name] in ("", value) for name, value in zip(SCOPE, place, strict=True))


@contextmanager
def undone() -> Iterator[None]:
    """What one example stores is not there for the next."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@given(ROWS, st.randoms())
def test_the_order_of_settings_does_not_matter(rows: list[dict[str, Any]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))

    for target in (Target("default", "smartops-dev", "api"), Target("edge", "production", "erp-simulator")):
        mine = [one for one in rows if covers(one, target)]
        assert merge_limits(mine) == merge_limits(one for one in shuffled if covers(one, target))


@pytest.mark.django_db
@settings(max_examples=60)
@given(ROWS, TARGETS)
def test_python_and_both_queries_agree_on_what_covers_a_target(rows: list[dict[str, Any]], target: Target) -> None:
    with undone():
        GuardrailSetting.objects.bulk_create(GuardrailSetting(**one) for one in rows)
        asked = [target.cluster, target.kind, target.namespace, target.name]
        with connection.cursor() as cursor:
            wanted = "(SELECT %s AS cluster, %s AS kind, %s AS namespace, %s AS name) wanted"
            cursor.execute(f"SELECT id FROM guardrails_guardrailsetting scope, {wanted} WHERE {COVERING}", asked)  # noqa: S608
            by_sql = {pk for (pk,) in cursor.fetchall()}
        by_orm = GuardrailSetting.objects.filter(Scope.covering(target))

        assert by_sql == {one.pk for one in by_orm}
        mine = [one for one in rows if covers(one, target)]
        assert sorted(map(place_of, by_orm.values())) == sorted(map(place_of, mine))
        assert effective_limits(target) == merge_limits(mine)
        assert history(target).limits == effective_limits(target)


@pytest.mark.django_db
def test_what_a_decision_reads_has_every_field_and_its_source() -> None:
    others = {
        "respect_owners": False, "mode": Mode.APPROVE, "protected_labels": "tier=a", "approve_after_failure": True,
    }  # fmt: skip
    numbers = [name for name in LIMIT_FIELDS if name not in others]
    values: dict[str, Any] = {name: number for number, name in enumerate(numbers, start=10)} | others
    GuardrailSetting.objects.create(namespace="smartops-dev", **values)

    limits = history(TARGET).limits

    assert limits == Limits(**values, sources=dict.fromkeys(LIMIT_FIELDS, "namespace smartops-dev"))


def test_a_workload_is_named_within_its_namespace() -> None:
    with pytest.raises(ValidationError, match="within its namespace"):
        GuardrailSetting(workload="erp-simulator").clean()
    Freeze(namespace="smartops-dev", workload="erp-simulator").clean()


@pytest.mark.django_db
def test_a_freeze_is_known_while_it_lasts_with_its_scope_and_its_end() -> None:
    end = timezone.now().replace(microsecond=120) + timedelta(hours=1)  # PostgreSQL drops trailing zeros
    Freeze.objects.create(reason="over", by="user:ana", until=timezone.now() - timedelta(seconds=1))
    Freeze.objects.create(namespace="production", reason="elsewhere", by="user:ana")
    Freeze.objects.create(cluster="edge", reason="elsewhere", by="user:ana")
    Freeze.objects.create(namespace="smartops-dev", reason="quarter's end", by="user:ben", until=end)
    Freeze.objects.create(reason="incident", by="user:cem")

    facts = history(TARGET).freezes

    assert [(one.scope, one.reason, one.by, one.until) for one in facts] == [
        ("namespace smartops-dev", "quarter's end", "user:ben", end),
        ("everything", "incident", "user:cem", None),
    ]
    assert {one.reason for one in Freeze.in_force(TARGET)} == {"quarter's end", "incident"}


@pytest.mark.django_db
def test_a_cooldown_is_of_one_type_and_one_workload_and_is_replaced() -> None:
    Cooldown.start([(TARGET, ActionType.SCALE, 300)])
    Cooldown.start([(TARGET, ActionType.SCALE, 540)])

    known = history(TARGET)
    assert known.cooldown_until is not None
    assert known.cooldown_until - known.now > timedelta(minutes=8)
    assert history(TARGET, ActionType.RESTART).cooldown_until is None
    assert history(Target("default", "smartops-dev", "api")).cooldown_until is None
    assert history(replace(TARGET, kind=Kind.STATEFUL_SET)).cooldown_until is None
