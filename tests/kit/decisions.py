"""Short words for what decisions are made of, and strategies for all of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from guardrails.types import (
    ApprovalFacts,
    AutoscalerFacts,
    Facts,
    FailedVerification,
    FieldOwner,
    FreezeFacts,
    Inputs,
    Limits,
    OwnerKind,
    PolicyAnswer,
    RecentAction,
    RefusedFacts,
    RolloutFacts,
    RolloutState,
    TargetFacts,
)
from signals.proposals.direction import Direction
from signals.types import ActionType, Kind, Mode, Origin, Proposal, RuleSpec, SignalFacts, Source, Target
from tests.kit.choices import choices, mostly, or_none, several, usually

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TARGET = Target("default", "smartops-dev", "erp-simulator")
LIVE = TargetFacts("uid-1", replicas=2, available=2)


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def ahead(**duration: float) -> datetime:
    return NOW + timedelta(**duration)


def scale(**params: Any) -> Proposal:
    return Proposal(ActionType.SCALE, TARGET, Origin.CLOSED_LOOP, params or {"delta": 1})


RESTART = Proposal(ActionType.RESTART, TARGET, Origin.CLOSED_LOOP, {})


def known(**fields: Any) -> Facts:
    return Facts(**{"target_seen": True, "target": LIVE, **fields})


def scaled(*minutes_ago: float, by: int = 1) -> tuple[RecentAction, ...]:
    return tuple(RecentAction(ActionType.SCALE, ago(minutes=minutes), by) for minutes in minutes_ago)


def refused(count: int, **ago_: float) -> RefusedFacts:
    return RefusedFacts(count, ago(**ago_), "exceeded quota: q")


def restarted(*minutes_ago: float) -> tuple[RecentAction, ...]:
    return tuple(RecentAction(ActionType.RESTART, ago(minutes=minutes)) for minutes in minutes_ago)


# A grid, on which two times are the same, or a limit apart; and between its points, as real ones are. JSON has six
# digits of a second, fewer or none.
PARTS = [timedelta(microseconds=part) for part in (0, 7, 0, 100_000, 0, 999_999)]
PASTS = [NOW - timedelta(seconds=30 * step) - PARTS[step % len(PARTS)] for step in range(241)]
TIMES = [NOW + timedelta(minutes=3 * step) + PARTS[step % len(PARTS)] for step in range(-60, 61)]
FRACTIONS = or_none([0.0, 1.0, 0.5, 0.8, 0.1 + 0.2, 5e-324, *(part / 97 for part in range(1, 97))])
# What JSON and jsonb escape, or do not; jsonb holds no NUL and no surrogate.
TEXTS = ["", "a", "Not on Fridays.", "ä 😀", '"\\"', "\n\t\x01\x7f", "\u2028\ufeff\ufffd\U0010ffff", " \\u0041"]
BOOLEANS = [False, True]
TARGETS = [
    Target("default", namespace, name, kind)
    for namespace in mostly("smartops-dev", "production", "kube-system")
    for name in ("erp-simulator", "api.v1")
    for kind in Kind
]
MODES = [Mode.AUTO, Mode.AUTO, Mode.AUTO, *Mode]

PAST = st.sampled_from(PASTS)
MOST_RECENT = 9
RECENT = several(
    RecentAction, 0, MOST_RECENT, type=[*ActionType], at=PASTS, scale_increase=range(5), scale_decrease=range(5)
)
FREEZES = several(
    FreezeFacts, 0, 2, scope=["everything"], reason=TEXTS, by=TEXTS, until=or_none([one for one in TIMES if one > NOW])
)
POLICIES = [PolicyAnswer(allow, text, "http://opa/v1/data/x") for allow in mostly(True, None, False) for text in TEXTS]
AUTOSCALERS = [AutoscalerFacts("erp", least, most) for least in range(4) for most in range(3, 10)]
FIELDS = ["spec.replicas", "metadata.labels.note"]
OWNERS = several(
    FieldOwner, 0, 3, kind=[*OwnerKind], name=TEXTS, fields=[(FIELDS[0],), (FIELDS[1],), (*FIELDS,), (*FIELDS[::-1],)]
).map(lambda owners: tuple({owner.kind: owner for owner in owners}.values()))
ROLLOUTS = choices(
    RolloutFacts,
    state=[*RolloutState],
    message=["1 of 2 replicas are updated"],
    by=["", "kubectl-set", "smartops"],
    since=or_none(TIMES),
    until=or_none(TIMES),
    ours=BOOLEANS,
    first=BOOLEANS,
    changed_by=["kubectl-set"],
    changed_at=or_none(TIMES),
)
TARGET_FACTS = st.builds(
    replace,
    choices(
        TargetFacts,
        uid=["uid-1"],
        replicas=[*range(1, 13), 0],
        available=range(13),
        obstacle=mostly("", *TEXTS),
        deleting=mostly(False, True),
        paused=mostly(False, True),
        autoscaler=mostly(None, *AUTOSCALERS),
        autoscalers_unknown=mostly("", *TEXTS),
        protected_by=[(), ("tier=critical",)],
    ),
    owners=usually(st.just(()), OWNERS),
    rollout=st.just(RolloutFacts()) | ROLLOUTS,
)
APPROVALS = [
    ApprovalFacts("shown", now, by, lost)
    for now in ("shown", "another")
    for by in ((), ("user:ana",), ("user:ana", "user:ben"))
    for lost in ((), ("user:cem",))
]
FACTS = st.builds(
    replace,
    choices(
        Facts,
        target_seen=mostly(True, False),
        managed=mostly(True, False),
        history_loaded=mostly(True, False),
        active_action=mostly("", "0199-a"),
        cooldown_until=mostly(None, *TIMES[::3]),
        scaled_to=or_none(range(13)),
        policy=or_none(POLICIES),
        failed=[None, FailedVerification("0199-f", "failed", "It stopped.")],
        approval=mostly(None, *APPROVALS),
    ),
    target=usually(TARGET_FACTS, st.none()),
    recent=RECENT,
    refused=usually(st.none(), choices(RefusedFacts, count=range(1, 13), at=PASTS, message=TEXTS)),
    freezes=usually(st.just(()), FREEZES),
)
LIMITS = choices(
    Limits,
    max_replicas=mostly(12, *range(11)),
    cooldown_seconds=range(0, 901, 4),
    max_actions_per_hour=range(8),
    max_scale_increase=range(6),
    min_replicas=range(4),
    max_scale_decrease=range(6),
    rollout_settle_seconds=range(0, 301, 2),
    signal_ttl_seconds=range(0, 7201, 30),
    respect_owners=BOOLEANS,
    mode=MODES,
    max_unapproved_replicas=range(6),
    max_unapproved_percent=range(201),
    protected_labels=["", "tier=critical"],
    approve_after_failure=BOOLEANS,
    approvals_required=[1, 2],
)

COUNTS: list[dict[str, Any]] = [{"replicas": count} for count in range(13)]
LABELS: list[dict[str, Any]] = [{"metadata": {"labels": {"note": text}}} for text in TEXTS]
SPECS: list[dict[str, Any]] = [{"spec": spec} for spec in (*COUNTS, *({"template": patch} for patch in LABELS))]
CHANGES: dict[ActionType, list[dict[str, Any]]] = {
    ActionType.SCALE: [
        *({"delta": delta} for delta in range(-3, 5) if delta),
        *COUNTS,
        *(count | {"direction": way} for count in COUNTS for way in Direction),
    ],
    ActionType.RESTART: [{}],
    ActionType.PATCH: [{"patch": patch} for patch in (*LABELS, *LABELS, *SPECS)],
}


def proposals(*origins: Origin) -> st.SearchStrategy[Proposal]:
    return st.one_of(
        [
            choices(
                Proposal,
                type=[type_],
                target=TARGETS,
                origin=origins or [*Origin],
                params=params,
                reason=TEXTS,
                verify=BOOLEANS,
                requested_by=["token:ana"],
                mode=MODES,
            )
            for type_, params in CHANGES.items()
        ]
    )


SYMPTOMS = mostly("resource", "memory_leak")
SOURCES = mostly(*Source)
SIGNALS = choices(
    SignalFacts,
    id=["0199-s"],
    source=SOURCES,
    target=TARGETS,
    symptom=SYMPTOMS,
    last_seen_at=PASTS,
    resolved=mostly(False, True),
    score=FRACTIONS,
    probability=FRACTIONS,
    confidence=FRACTIONS,
    due_at=or_none([*PASTS[::2]]),
    kept_seconds=[0.0, *(seconds + 0.1 for seconds in range(0, 9000, 36))],
    deferred_for=["", "CooldownActive"],
    severity=["", "critical"],
    labels=[{}, {"team": "a"}],
    lasted_seconds=[0.0, 59.9, 60.0, 100 / 3, 100.0],
    recent_reports=range(1, 8),
    reported_by=[(), ("token:agent", "token:another")],
)
RULES = several(
    lambda change, **fields: RuleSpec(action_type=change[0], params=change[1], **fields),
    0,
    4,
    id=range(1, 10),
    version=range(1, 10),
    name=[text for text in TEXTS if text],
    source=SOURCES,
    symptom=SYMPTOMS,
    change=[(type_, params) for type_, every in CHANGES.items() for params in every],
    kind=mostly("", *Kind),
    namespace=["", "smartops-dev"],
    min_score=mostly(None, 0.0, 0.8, 1.0),
    min_confidence=mostly(None, 0.0, 1 / 3, 1.0),
    severity=mostly("", "critical"),
    labels=mostly("", 'team="a"'),
    for_seconds=mostly(0, 60),
    min_reports=mostly(0, 2),
    of_reports=[3],
    mode=MODES,
)


def inputs(facts: st.SearchStrategy[Facts] = FACTS) -> st.SearchStrategy[Inputs]:
    """As the loop makes them: a direct proposal, a signal with its action's proposal, or a signal with rules."""
    now, no_rules = st.just(NOW), st.just(())
    return st.one_of(
        st.builds(Inputs, now, facts, LIMITS, st.none(), no_rules, proposals(Origin.DIRECT)),
        st.builds(Inputs, now, facts, LIMITS, SIGNALS, no_rules, proposals(Origin.CLOSED_LOOP)),
        st.builds(Inputs, now, facts, LIMITS, SIGNALS, RULES, st.none()),
    )
