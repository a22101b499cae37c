"""What the database knows of a workload: the refusals of a change, and the replicas that were added last."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from guardrails.types import RefusedFacts, TargetFacts
from orchestrator.decide.history import Scaled, Wanted, WorkloadHistory, load_history
from orchestrator.models import Action, ActionState, ObservedWorkload, Workload
from signals import actors
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from tests.kit.signals import NAMESPACE
from tests.kit.verbs import propose

pytestmark = pytest.mark.django_db
ERP = Target("default", NAMESPACE, "erp-simulator")
PLUS_ONE = {"delta": 1}


def ended(reason: Reason, *, minutes_ago: float, applied: bool = False, **fields: Any) -> Action:
    """An action of ERP in a final state."""
    params, dry_run = fields.pop("params", PLUS_ONE), fields.pop("dry_run", False)
    target = fields.pop("target", ERP)
    with transaction.atomic():
        workload = Workload.lock([target])[target]
    proposal = Proposal(ActionType.SCALE, target, Origin.CLOSED_LOOP, params, dry_run=dry_run)
    at = Now() - timedelta(minutes=minutes_ago)
    values = {"state": ActionState.FAILED, "reason": reason, "finished_at": at, "applied_at": at if applied else None}
    return propose(proposal, workload, actors.rule("plus-one"), **{**values, "message": str(reason), **fields})


def history(params: dict[str, Any] | None = PLUS_ONE) -> WorkloadHistory:
    with transaction.atomic():
        workload = Workload.lock([ERP])[ERP]
    [known] = load_history([Wanted(ERP, workload.pk, ActionType.SCALE, params)])
    return known


class TestRefusals:
    def test_final_refusals_of_the_same_change_are_counted_with_the_last_one(self) -> None:
        ended(Reason.CLUSTER_FORBIDDEN, minutes_ago=9)
        ended(Reason.RETRIES_EXHAUSTED, minutes_ago=3)
        ended(Reason.CLUSTER_REJECTED, minutes_ago=1)

        refused = history().refused

        assert refused is not None
        assert (refused.count, refused.message) == (3, Reason.CLUSTER_REJECTED)
        assert timedelta(seconds=50) < timezone.now() - refused.at < timedelta(minutes=10)

    @pytest.mark.parametrize(
        ("reason", "fields"),
        [
            (Reason.CLUSTER_REJECTED, {"params": {"delta": 2}}),
            (Reason.CLUSTER_REJECTED, {"target": Target("default", NAMESPACE, "another")}),
            (Reason.CLUSTER_REJECTED, {"dry_run": True}),
            (Reason.CLUSTER_REJECTED, {"minutes_ago": 24 * 60 + 1}),
            (Reason.TARGET_GONE, {}),
            (Reason.VERIFICATION_TIMED_OUT, {"applied": True}),
            (Reason.ACTION_EXPIRED, {"state": ActionState.CANCELLED}),
        ],
        ids=["another change", "another workload", "a dry run", "old", "the target is gone", "applied", "expired"],
    )
    def test_nothing_else_is_a_refusal(self, reason: Reason, fields: dict[str, Any]) -> None:
        ended(reason, **{"minutes_ago": 1, **fields})
        assert history().refused is None

    def test_a_change_that_was_applied_ends_the_count(self) -> None:
        ended(Reason.CLUSTER_REJECTED, minutes_ago=9)
        ended(Reason.ROLLOUT_COMPLETE, minutes_ago=5, applied=True, state=ActionState.SUCCEEDED)
        assert history().refused is None

        ended(Reason.CLUSTER_REJECTED, minutes_ago=1)
        assert isinstance(refused := history().refused, RefusedFacts)
        assert refused.count == 1

    def test_a_question_without_a_change_has_none(self) -> None:
        ended(Reason.CLUSTER_REJECTED, minutes_ago=1)
        assert history(params=None).refused is None


def missing_up_to() -> int | None:
    scaled = history().scaled
    return None if scaled is None else scaled.to


def observed(**fields: Any) -> None:
    """As a reconciler has seen it last: complete at some time, and not now."""
    known: dict[str, Any] = {"uid": "u1", "generation": 9, "replicas": 4, "ready": 3, "available": 3, "updated": 4}
    known |= {"paused": False, "deleting": False, "owners": [], "rollout": "complete", **fields}
    ObservedWorkload.objects.create(cluster="default", kind="Deployment", namespace=NAMESPACE, name=ERP.name, **known)


class TestReplicasThatWereAdded:
    def added(self, reason: Reason, *, minutes_ago: float, by: int = 1, before: int = 3, **fields: Any) -> None:
        planned = {"before": {"replicas": before}, "scale_increase": by, "planned_uid": "u1", "planned_generation": 7}
        ended(reason, minutes_ago=minutes_ago, applied=True, **{**planned, **fields})

    @pytest.mark.parametrize(
        ("reason", "scaled_to"),
        [
            (Reason.VERIFICATION_TIMED_OUT, 4),
            (Reason.REPLICA_FAILURE, 4),
            (Reason.SUPERSEDED, 4),
            (Reason.REVIEWED, 4),
            (Reason.ROLLOUT_COMPLETE, None),
        ],
    )
    def test_they_are_missing_until_a_verification_has_found_them(self, reason: Reason, scaled_to: int | None) -> None:
        self.added(reason, minutes_ago=5)
        assert missing_up_to() == scaled_to

    def test_the_last_action_that_added_some_counts_however_old_it_is(self) -> None:
        self.added(Reason.ROLLOUT_COMPLETE, minutes_ago=100_000)
        self.added(Reason.REPLICA_FAILURE, minutes_ago=90_000, by=2)
        self.added(Reason.ROLLOUT_COMPLETE, minutes_ago=5, by=0)
        assert missing_up_to() == 5

        self.added(Reason.ROLLOUT_COMPLETE, minutes_ago=1)
        assert history().scaled is None

    @pytest.mark.parametrize(
        ("seen", "is_over"),
        [
            ({"complete_generation": 7}, False),  # right before the write
            ({"complete_generation": 8}, True),  # of the write
            ({"complete_generation": 9}, True),  # somebody has changed the spec since, and the rollout was complete
            ({}, False),
            ({"complete_generation": 9, "uid": "another"}, False),  # the row is of another object than the write
        ],
    )
    @pytest.mark.parametrize("reason", [Reason.VERIFICATION_TIMED_OUT, Reason.REPLICA_FAILURE, ""])
    def test_they_are_missing_until_a_reconciler_has_seen_all_of_them_after_the_write(
        self, reason: Any, seen: dict[str, Any], is_over: bool
    ) -> None:
        self.added(reason, minutes_ago=5)
        observed(**seen)

        assert (history().scaled is None) is is_over

    @pytest.mark.parametrize(
        ("uid", "replicas", "wanted"),
        [
            ("u1", 5, 5),
            ("u1", 6, 5),
            ("u1", 4, 5),  # one of those that were added is still there
            ("u1", 3, None),  # somebody has removed them
            ("u1", 0, None),
            ("another", 5, None),  # somebody has created the workload anew
        ],
    )
    def test_they_are_not_missing_where_somebody_has_removed_them(
        self, uid: str, replicas: int, wanted: int | None
    ) -> None:
        assert Scaled(before=3, to=5, uid="u1").wanted_of(TargetFacts(uid, replicas)) == wanted

    def test_they_are_missing_of_a_target_that_is_not_observed(self) -> None:
        assert Scaled(before=3, to=5, uid="u1").wanted_of(None) == 5

    def test_dry_runs_and_what_was_not_applied_added_none(self) -> None:
        self.added(Reason.REPLICA_FAILURE, minutes_ago=5, dry_run=True)
        self.added(Reason.CLUSTER_REJECTED, minutes_ago=5, applied_at=None)
        assert history().scaled is None
