"""The rows of the cluster cache: what is written, by whom, and what a process costs at rest."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from guardrails.types import AutoscalerFacts, FieldOwner, OwnerKind, RolloutState
from orchestrator import queries
from orchestrator.k8s.types import Condition, TemplateChange, WorkloadKey, WorkloadObject
from orchestrator.models import ObservedNamespace, ObservedWorkload
from orchestrator.reconciler import snapshot
from orchestrator.reconciler.snapshot import Snapshot, describe
from signals.lib.notifications import CHANNEL, connect
from signals.types import Kind
from tests.kit.signals import NAMESPACE
from tests.kit.simulation import SimulatedCluster, Simulation
from tests.kit.threads import at_once
from tests.kit.verbs import poison
from tests.kit.web import heard

ERP = WorkloadKey(NAMESPACE, "erp-simulator")
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def workload(**fields: Any) -> WorkloadObject:
    counts = ("observed_generation", "status_replicas", "updated_replicas", "ready_replicas", "available_replicas")
    complete = dict(zip(counts, (3, 2, 2, 2, 2), strict=True))
    known: dict[str, Any] = {"key": ERP, "uid": "uid-1", "resource_version": "7", "generation": 3, "replicas": 2}
    return WorkloadObject(**known | {"paused": False, "deleting": False, "annotations": {}} | complete | fields)


class TestDescribe:
    """Pure."""

    def test_a_row_has_the_counts_the_rollout_and_the_owners(self) -> None:
        row = describe(
            workload(owners=(FieldOwner(OwnerKind.FLUX, "Kustomization apps", ("spec.replicas",)),)),
            AutoscalerFacts("erp", 2, 9),
        )
        counts = [row[name] for name in ("replicas", "ready", "available", "updated", "generation")]
        assert (counts, row["rollout"]) == ([2, 2, 2, 2, 3], RolloutState.COMPLETE)
        assert row["autoscaler"] == {"name": "erp", "min_replicas": 2, "max_replicas": 9}
        assert row["owners"] == [{"kind": "Flux", "name": "Kustomization apps", "fields": ["spec.replicas"]}]

    def test_a_rollout_in_progress_names_who_began_it(self) -> None:
        changes = (TemplateChange("kubectl-set", AT),)
        row = describe(workload(updated_replicas=1, revision=2, template_changes=changes, observed_generation=2), None)
        assert (row["rollout"], row["rollout_by"], row["rollout_since"]) == (
            RolloutState.IN_PROGRESS, "kubectl-set", AT.isoformat(),
        )  # fmt: skip

    def test_what_the_cluster_says_of_missing_pods_is_the_problem(self) -> None:
        refused = Condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: q")
        assert describe(workload(conditions=(refused,)), None)["problem"] == "exceeded quota: q"

    @pytest.mark.parametrize(
        ("changed", "autoscaler"),
        [
            ({"uid": "uid-2"}, None),
            ({"ready_replicas": 1}, None),
            ({"paused": True}, None),
            ({}, AutoscalerFacts("erp", 2, 9)),
        ],
    )
    def test_another_row_has_another_digest(self, changed: dict[str, Any], autoscaler: AutoscalerFacts | None) -> None:
        assert describe(workload(**changed), autoscaler)["digest"] != describe(workload(), None)["digest"]

    @pytest.mark.parametrize(
        ("fields", "generation"),
        [
            ({}, 3),
            ({"available_replicas": 3}, 3),
            ({"available_replicas": 1}, 0),
            ({"replicas": 3}, 0),
            ({"observed_generation": 2}, 0),  # its counts are of an earlier generation
            ({"replicas": 0, "available_replicas": 0}, 3),
        ],
    )
    def test_a_generation_is_complete_when_all_of_its_replicas_are_available(
        self, fields: dict[str, Any], generation: int
    ) -> None:
        assert describe(workload(**fields), None)["complete_generation"] == generation

    def test_a_new_version_without_another_value_is_no_change(self) -> None:
        assert describe(workload(resource_version="8"), None) == describe(workload(), None)


def another(simulation: Simulation, name: str = "reconciler:another") -> Snapshot:
    """That of another process with the same cluster."""
    simulation.observe()
    return Snapshot("default", name, simulation.reconciler.cache)


def stored() -> dict[str, int]:
    return dict(ObservedWorkload.objects.values_list("name", "replicas"))


@pytest.mark.django_db
class TestWhatIsWritten:
    def test_the_workloads_of_the_cache_are_rows(self, simulation: Simulation) -> None:
        simulation.cluster.deploy("a", replicas=2)
        simulation.cluster.deploy("b", replicas=5)
        simulation.observe()
        simulation.sweep()
        simulation.sweep()
        assert stored() == {"a": 2, "b": 5}
        assert ObservedNamespace.objects.get().reconciler == simulation.reconciler.actor

    def test_a_change_is_written_and_a_deleted_workload_has_no_row(self, simulation: Simulation) -> None:
        a = simulation.cluster.deploy("a")
        b = simulation.cluster.deploy("b")
        simulation.observe()
        for _ in range(2):
            simulation.sweep()
        kept = ObservedWorkload.objects.get(name="a").observed_at

        simulation.cluster.change(b, replicas=7)
        simulation.observe()
        simulation.sweep()
        assert stored() == {"a": 2, "b": 7}
        assert ObservedWorkload.objects.get(name="a").observed_at == kept

        del simulation.cluster.deployments[a]
        simulation.observe()
        simulation.sweep()
        assert stored() == {"b": 7}

    def test_a_row_keeps_the_latest_generation_of_its_object_that_was_complete(self, simulation: Simulation) -> None:
        a = simulation.cluster.deploy("a")

        def seen(**fields: Any) -> int:
            simulation.cluster.change(a, **fields)
            simulation.observe()
            for _ in range(2):
                simulation.sweep()
            return ObservedWorkload.objects.get().complete_generation

        assert seen() == 1
        assert seen(generation=2, replicas=3) == 1
        assert seen(observed_generation=2) == 1
        assert seen(available_replicas=3) == 2
        assert seen(available_replicas=1) == 2
        assert seen(uid="another", generation=1, observed_generation=1, available_replicas=0) == 0

    def test_a_workload_that_cannot_be_read_keeps_its_row(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")
        simulation.observe()
        for _ in range(2):
            simulation.sweep()
        cache = simulation.reconciler.cache
        monkeypatch.setattr(cache, "is_readable", lambda *_: False)
        cache._workloads.clear()
        simulation.reconciler.sweep.snapshot.changed([WorkloadKey(NAMESPACE, "")])
        assert simulation.reconciler.sweep.snapshot.store(1e9) == 0
        assert stored() == {"a": 2}

    def test_a_workload_that_postgresql_refuses_costs_its_own_row(
        self, simulation: Simulation, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad, _ = simulation.cluster.deploy("a"), simulation.cluster.deploy("b")
        strange = Condition("ReplicaFailure", "True", "FailedCreate", "a NUL: \0")
        simulation.cluster.change(bad, conditions=(strange,))
        simulation.observe()
        for _ in range(3):
            simulation.sweep()
        assert stored() == {"b": 2}
        assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
            f"Deployment {NAMESPACE}/a could not be stored for the console; "
            "it is stored when the workload changes again"
        ]

        simulation.cluster.change(bad, conditions=())
        simulation.observe()
        simulation.sweep()
        assert stored() == {"a": 2, "b": 2}

    def test_a_workload_that_cannot_be_described_costs_its_own_row(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")
        simulation.cluster.deploy("b")
        simulation.observe()
        poison(monkeypatch, snapshot, "describe", lambda workload, _: workload.key.name == "a")
        for _ in range(2):
            simulation.sweep()
        assert stored() == {"b": 2}

    def test_a_pass_writes_a_batch_and_the_rest_follows(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(snapshot, "BATCH", 2)
        for number in range(5):
            simulation.cluster.deploy(f"erp-{number}")
        one = another(simulation)
        written = [one.store(float(second)) for second in range(6)]
        assert written == [0, 2, 2, 1, 0, 0]
        assert ObservedNamespace.objects.get().complete_at is not None

    def test_nothing_is_sent_at_rest_until_the_lease_is_renewed(self, simulation: Simulation) -> None:
        simulation.cluster.deploy("a")
        one = another(simulation)
        for second in range(3):
            one.store(float(second))
        with CaptureQueriesContext(
            connection,
        ) as sent:
            one.store(3.0)
        assert len(sent) == 0
        with CaptureQueriesContext(connection) as sent:
            one.store(3.0 + snapshot.RENEW)
        assert sum("orchestrator_observed" in query["sql"] for query in sent) == 1

    def test_listeners_are_notified_once_for_a_batch(self, transactional_db: None, simulation: Simulation) -> None:
        for name in ("a", "b", "c"):
            simulation.cluster.deploy(name)
        one = another(simulation)
        one.store(0.0)
        with connect() as session:
            session.execute(f"LISTEN {CHANNEL}")
            one.store(1.0)
            assert heard(session) == ["workload:"]

    def test_a_changed_autoscaler_changes_the_row_of_its_workload(self, simulation: Simulation) -> None:
        from orchestrator.k8s.types import Autoscaler, ObjectKey

        key = simulation.cluster.deploy("a")
        one = another(simulation)
        for second in range(2):
            one.store(float(second))
        cache = simulation.reconciler.cache
        hpa = Autoscaler(ObjectKey(NAMESPACE, "hpa"), "uid", key, 2, 9)
        one.changed(cache._autoscalers.update(hpa, deleted=False))
        one.store(2.0)
        assert ObservedWorkload.objects.get().autoscaler == {"name": "hpa", "min_replicas": 2, "max_replicas": 9}


@pytest.mark.django_db
class TestWhoWrites:
    def test_one_reconciler_writes_and_another_takes_over_when_its_lease_is_over(self, simulation: Simulation) -> None:
        a = simulation.cluster.deploy("a")
        first, second = another(simulation, "reconciler:one"), another(simulation, "reconciler:two")
        assert [first.store(0.0), second.store(0.0)] == [0, 0]
        assert [first.store(1.0), second.store(1e3)] == [1, 0]

        simulation.cluster.change(a, replicas=9)
        simulation.observe()
        second.changed([a])
        assert (second.store(2e3), stored()) == (0, {"a": 2})

        ObservedNamespace.objects.update(lease_until=Now() - timedelta(seconds=1))
        second.store(3e3)
        assert (second.store(3e3 + 1), stored()) == (1, {"a": 9})
        assert ObservedNamespace.objects.get().reconciler == "reconciler:two"

    def test_who_takes_over_corrects_every_row(self, simulation: Simulation) -> None:
        a = simulation.cluster.deploy("a")
        simulation.cluster.deploy("b")
        first = another(simulation, "reconciler:one")
        for second in range(2):
            first.store(float(second))
        ObservedNamespace.objects.update(lease_until=Now() - timedelta(seconds=1))
        ObservedWorkload.objects.filter(name="b").delete()
        ObservedWorkload.objects.filter(name="a").update(digest="of another version")
        row = ObservedWorkload.objects.get()
        ObservedWorkload.objects.create(**{
            field.attname: getattr(row, field.attname)
            for field in ObservedWorkload._meta.concrete_fields
            if not field.primary_key
        } | {"name": "deleted"})  # fmt: skip
        simulation.cluster.change(a, replicas=9)

        second_one = another(simulation, "reconciler:two")
        for second in range(2):
            second_one.store(float(second))

        assert stored() == {"a": 9, "b": 2}
        # The first one loses its lease, and does not write again.
        simulation.cluster.change(a, replicas=3)
        first.changed([a])
        assert (first.store(1e3), stored()) == (0, {"a": 9, "b": 2})

    def test_after_an_error_everything_is_compared_again(
        self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        simulation.cluster.deploy("a")
        one = another(simulation)
        one.store(0.0)

        def fails(*_: object, **__: object) -> None:
            raise OperationalError("the connection is lost")

        with monkeypatch.context() as patch, transaction.atomic():
            patch.setattr(queries, "execute", fails)
            with pytest.raises(OperationalError):
                one.store(1.0)
        assert stored() == {}
        for second in (2.0, 3.0):
            one.store(second)
        assert stored() == {"a": 2}

    def test_the_rows_of_a_namespace_that_nobody_observes_are_forgotten_after_a_day(
        self, simulation: Simulation
    ) -> None:
        simulation.cluster.deploy("a")
        one = another(simulation)
        for second in range(2):
            one.store(float(second))
        ObservedWorkload.forget_unobserved()
        assert stored() == {"a": 2}
        ObservedNamespace.objects.update(lease_until=Now() - timedelta(days=1))
        ObservedWorkload.forget_unobserved()
        assert (stored(), ObservedNamespace.objects.count()) == ({}, 0)


@pytest.mark.django_db(transaction=True)
def test_reconcilers_that_write_at_once_do_not_wait_for_each_other_and_agree() -> None:
    cluster = SimulatedCluster()
    for number in range(40):
        cluster.deploy(f"erp-{number}")
    simulation = Simulation(cluster)
    both = [another(simulation, f"reconciler:{number}") for number in range(3)]

    def write(one: Snapshot) -> int:
        return sum(one.store(float(second)) for second in range(10))

    written = at_once([lambda one=one: write(one) for one in both])  # type: ignore[misc]
    assert sorted(written) == [0, 0, 40]
    assert len(stored()) == 40


@pytest.mark.parametrize(
    ("columns", "unhealthy"),
    [
        ({}, False),
        ({"available": 1}, True),
        ({"rollout": RolloutState.STUCK}, True),
        ({"rollout": RolloutState.IN_PROGRESS}, False),
        ({"problem": "exceeded quota: q"}, True),
        ({"replicas": 0, "available": 0}, False),
    ],
)
@pytest.mark.django_db
def test_the_filter_of_unhealthy_workloads_is_what_their_page_says(columns: dict[str, Any], unhealthy: bool) -> None:
    row = describe(workload(key=replace(ERP, kind=Kind.STATEFUL_SET)), None)
    ObservedWorkload.objects.create(cluster="default", **row | columns)
    assert ObservedWorkload.objects.get().is_unhealthy is unhealthy
    assert ObservedWorkload.objects.filter(ObservedWorkload.unhealthy()).exists() is unhealthy
