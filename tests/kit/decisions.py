"""Short words for what decisions are made of, and strategies for all of it."""

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


TIMES = st.datetimes(ago(hours=3).replace(tzinfo=None), ahead(hours=3).replace(tzinfo=None)).map(
    lambda naive: naive.replace(tzinfo=UTC)
)
PAST = st.timedeltas(timedelta(0), timedelta(hours=2)).map(lambda age: NOW - age)
FRACTIONS = st.none() | st.floats(0, 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)  # what jsonb can hold
NAMESPACES = st.sampled_from(["smartops-dev", "production", "kube-system"])
NAMES = st.sampled_from(["erp-simulator", "api.v1"])
TARGETS = st.builds(Target, st.just("default"), NAMESPACES, NAMES, st.sampled_from(Kind))

RECENT = st.lists(
    st.builds(RecentAction, st.sampled_from(ActionType), PAST, st.integers(0, 4), st.integers(0, 4)), max_size=9
).map(tuple)
FREEZES = st.lists(
    st.builds(FreezeFacts, st.just("everything"), TEXTS, TEXTS, st.none() | TIMES.filter(lambda until: until > NOW)),
    max_size=2,
).map(tuple)
POLICIES = st.none() | st.builds(PolicyAnswer, st.none() | st.booleans(), TEXTS, st.just("http://opa/v1/data/x"))
AUTOSCALERS = st.builds(AutoscalerFacts, st.just("erp"), st.integers(0, 3), st.integers(3, 9))
FIELDS = st.lists(st.sampled_from(["spec.replicas", "metadata.labels.note"]), min_size=1, unique=True).map(tuple)
OWNERS = st.lists(
    st.builds(FieldOwner, st.sampled_from(OwnerKind), TEXTS, FIELDS), max_size=3, unique_by=lambda owner: owner.kind
).map(tuple)
ROLLOUTS = st.builds(
    RolloutFacts,
    st.sampled_from(RolloutState),
    st.just("1 of 2 replicas are updated"),
    by=st.sampled_from(["", "kubectl-set", "smartops"]),
    since=st.none() | TIMES,
    until=st.none() | TIMES,
    ours=st.booleans(),
    first=st.booleans(),
    changed_by=st.just("kubectl-set"),
    changed_at=st.none() | TIMES,
)
TARGET_FACTS = st.builds(
    TargetFacts,
    st.just("uid-1"),
    st.integers(0, 12),
    available=st.integers(0, 12),
    obstacle=st.just("") | TEXTS,
    deleting=st.booleans(),
    paused=st.booleans(),
    autoscaler=st.none() | AUTOSCALERS,
    autoscalers_unknown=st.just("") | TEXTS,
    owners=st.just(()) | OWNERS,
    rollout=st.just(RolloutFacts()) | ROLLOUTS,
    protected_by=st.sampled_from([(), ("tier=critical",)]),
)
APPROVALS = st.builds(
    ApprovalFacts,
    st.just("shown"),
    st.sampled_from(["shown", "another"]),
    st.sampled_from([(), ("user:ana",), ("user:ana", "user:ben")]),
    st.sampled_from([(), ("user:cem",)]),
)
FACTS = st.builds(
    Facts,
    target_seen=st.booleans(),
    target=st.none() | TARGET_FACTS,
    managed=st.booleans(),
    history_loaded=st.booleans(),
    active_action=st.sampled_from(["", "0199-a"]),
    cooldown_until=st.none() | TIMES,
    recent=RECENT,
    refused=st.none() | st.builds(RefusedFacts, st.integers(1, 12), PAST, TEXTS),
    scaled_to=st.none() | st.integers(0, 12),
    freezes=FREEZES,
    policy=POLICIES,
    failed=st.none() | st.just(FailedVerification("0199-f", "failed", "It stopped.")),
    approval=st.none() | APPROVALS,
)
MODES = st.sampled_from([Mode.AUTO, Mode.AUTO, Mode.AUTO, *Mode])
LIMITS = st.builds(
    Limits,
    max_replicas=st.integers(0, 10),
    cooldown_seconds=st.integers(0, 900),
    max_actions_per_hour=st.integers(0, 7),
    max_scale_increase=st.integers(0, 5),
    min_replicas=st.integers(0, 3),
    max_scale_decrease=st.integers(0, 5),
    rollout_settle_seconds=st.integers(0, 300),
    signal_ttl_seconds=st.integers(0, 7200),
    respect_owners=st.booleans(),
    mode=MODES,
    max_unapproved_replicas=st.integers(0, 5),
    max_unapproved_percent=st.integers(0, 200),
    protected_labels=st.sampled_from(["", "tier=critical"]),
    approve_after_failure=st.booleans(),
    approvals_required=st.integers(1, 2),
)


def _params(type_: ActionType) -> st.SearchStrategy[dict[str, Any]]:
    counts = st.builds(lambda n: {"replicas": n}, st.integers(0, 12))
    directed = st.builds(lambda count, way: count | {"direction": way}, counts, st.sampled_from(Direction))
    match type_:
        case ActionType.SCALE:
            return counts | directed | st.builds(lambda n: {"delta": n}, st.integers(-3, 4).filter(bool))
        case ActionType.RESTART:
            return st.just({})
        case ActionType.PATCH:
            labels = st.builds(lambda text: {"metadata": {"labels": {"note": text}}}, TEXTS)
            pods = st.builds(lambda patch: {"template": patch}, labels)
            specs = st.builds(lambda spec: {"spec": spec}, counts | pods)
            return st.builds(lambda patch: {"patch": patch}, labels | specs)


@st.composite
def proposals(draw: st.DrawFn, *origins: Origin) -> Proposal:
    type_ = draw(st.sampled_from(ActionType))
    origin = draw(st.sampled_from(origins or tuple(Origin)))
    return Proposal(
        type_,
        draw(TARGETS),
        origin,
        draw(_params(type_)),
        draw(TEXTS),
        verify=draw(st.booleans()),
        requested_by="token:ana",
        mode=draw(MODES),
    )


@st.composite
def signals(draw: st.DrawFn) -> SignalFacts:
    return SignalFacts(
        id="0199-s",
        source=draw(st.sampled_from(Source)),
        target=draw(TARGETS),
        symptom=draw(st.sampled_from(["resource", "memory_leak"])),
        last_seen_at=draw(PAST),
        resolved=draw(st.booleans()),
        score=draw(FRACTIONS),
        probability=draw(FRACTIONS),
        confidence=draw(FRACTIONS),
        due_at=draw(st.none() | PAST),
        kept_seconds=draw(st.floats(0, 9000)),
        deferred_for=draw(st.sampled_from(["", "CooldownActive"])),
        severity=draw(st.sampled_from(["", "critical"])),
        labels=draw(st.sampled_from([{}, {"team": "a"}])),
        lasted_seconds=draw(st.floats(0, 100)),
        recent_reports=draw(st.integers(1, 7)),
        reported_by=draw(st.sampled_from([(), ("token:agent", "token:another")])),
    )


@st.composite
def rules(draw: st.DrawFn) -> RuleSpec:
    type_ = draw(st.sampled_from(ActionType))
    return RuleSpec(
        id=draw(st.integers(1, 9)),
        version=draw(st.integers(1, 9)),
        name=draw(TEXTS.filter(bool)),
        source=draw(st.sampled_from(Source)),
        symptom=draw(st.sampled_from(["resource", "memory_leak"])),
        action_type=type_,
        params=draw(_params(type_)),
        kind=draw(st.sampled_from(["", *Kind])),
        namespace=draw(st.sampled_from(["", "smartops-dev"])),
        min_score=draw(FRACTIONS),
        min_confidence=draw(FRACTIONS),
        severity=draw(st.sampled_from(["", "critical"])),
        labels=draw(st.sampled_from(["", 'team="a"'])),
        for_seconds=draw(st.sampled_from([0, 60])),
        min_reports=draw(st.sampled_from([0, 2])),
        of_reports=3,
        mode=draw(MODES),
    )


@st.composite
def inputs(draw: st.DrawFn, facts: st.SearchStrategy[Facts] = FACTS) -> Inputs:
    """As the loop makes them: a signal with rules, a signal with its action's proposal, or a direct proposal."""
    signal, proposal = draw(st.none() | signals()), None
    found: tuple[RuleSpec, ...] = ()
    if signal is None:
        proposal = draw(proposals(Origin.DIRECT))
    elif draw(st.booleans()):
        proposal = draw(proposals(Origin.CLOSED_LOOP))
    else:
        found = tuple(draw(st.lists(rules(), max_size=4)))
    return Inputs(NOW, draw(facts), draw(LIMITS), signal, found, proposal)
