from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from guardrails.against import Earlier, Surroundings, headroom, reasons_against
from guardrails.types import (
    AutoscalerFacts,
    FieldOwner,
    FreezeFacts,
    Limits,
    OwnerKind,
    RecentAction,
    RolloutFacts,
    RolloutState,
    TargetFacts,
)
from signals.types import ActionType
from tests.kit.decisions import NOW, ago, ahead, scaled

LIVE = TargetFacts("u1", replicas=3, available=3)
DEPLOYED = RolloutFacts(changed_by="kubectl-set", changed_at=ago(minutes=12))


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (Surroundings(LIVE), ()),
        (Surroundings(None), ()),
        (
            Surroundings(None, freezes=(FreezeFacts("namespace shop", "sale", "user:ana", None),)),
            ("user:ana froze namespace shop: sale",),
        ),
        (
            Surroundings(replace(LIVE, rollout=RolloutFacts(RolloutState.IN_PROGRESS, "1 of 3", by="kubectl"))),
            ("A rollout of kubectl is in progress: 1 of 3.",),
        ),
        (
            Surroundings(replace(LIVE, rollout=RolloutFacts(RolloutState.STUCK))),
            ("A rollout is stuck: its pods are not complete.",),
        ),
        (
            Surroundings(replace(LIVE, rollout=DEPLOYED)),
            ("kubectl-set changed the pod template 12 minutes ago.",),
        ),
        *(
            (
                Surroundings(replace(LIVE, rollout=replace(DEPLOYED, changed_at=at))),
                ("kubectl-set changed the pod template less than a minute ago.",),
            )
            for at in (ago(seconds=59), NOW, ahead(seconds=5))
        ),
        (Surroundings(replace(LIVE, rollout=replace(DEPLOYED, changed_at=ago(hours=2)))), ()),
        (
            Surroundings(replace(LIVE, available=1, obstacle="exceeded quota")),
            ("Only 1 of 3 replicas are available. exceeded quota",),
        ),
        (
            Surroundings(replace(LIVE, autoscaler=AutoscalerFacts("erp", 1, 9))),
            ("The HorizontalPodAutoscaler erp sets the replicas, from 1 to 9.",),
        ),
        (
            Surroundings(replace(LIVE, owners=(FieldOwner(OwnerKind.ARGO_CD, "shop", ("spec.replicas",)),))),
            ("Argo CD shop states spec.replicas, and sets it back.",),
        ),
        (
            Surroundings(replace(LIVE, owners=(FieldOwner(OwnerKind.HELM, "shop", ("spec.replicas",)),))),
            ("Helm shop states spec.replicas, and the next upgrade sets it back.",),
        ),
        (Surroundings(LIVE, same=(Earlier("shop/web", "succeeded", NOW),)), ()),
        (
            Surroundings(LIVE, same=(Earlier("shop/web", "failed", NOW), Earlier("shop/web", "succeeded", NOW))),
            ("Of the last 2 such actions of the workload, 1 did not succeed: failed, succeeded.",),
        ),
        (
            Surroundings(LIVE, nearby=(Earlier("shop/cart", "verifying", NOW),)),
            ("1 other action in the namespace, active or of the last 15 minutes: shop/cart (verifying).",),
        ),
    ],
)
def test_what_speaks_against_an_action(known: Surroundings, said: tuple[str, ...]) -> None:
    assert reasons_against(known, NOW) == said


@pytest.mark.parametrize(
    ("done", "replicas", "left"),
    [
        (
            RecentAction(ActionType.SCALE, NOW, 1),
            4,
            {"max_actions_per_hour": 4, "max_scale_increase": 1, "max_replicas": 4, "min_replicas": 3},
        ),
        (
            RecentAction(ActionType.SCALE, NOW, 0, 3),
            1,
            {"max_actions_per_hour": 4, "max_scale_decrease": 0, "max_replicas": 7, "min_replicas": 0},
        ),
        (RecentAction(ActionType.RESTART, NOW), None, {"max_actions_per_hour": 5}),
    ],
)
def test_what_the_limits_leave_after_an_action(done: RecentAction, replicas: int | None, left: dict[str, Any]) -> None:
    found = headroom(Limits(), scaled(5), done, replicas, NOW + timedelta(0))

    assert {one.limit: one.left for one in found} == left
    assert {one.limit for one in found if one.exhausted} == {name for name, count in left.items() if count == 0}
