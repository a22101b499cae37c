"""A rule that would break a limit wherever it matches is rejected when it is saved."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q

from guardrails.models import GuardrailSetting, merge_limits
from guardrails.types import Limits
from signals.models import Rule
from signals.names import name_matches
from signals.proposals import desired_replicas
from signals.types import ActionType, Origin, Proposal, Target


def exceeded_limit(rule: Rule) -> str:
    """Which limit the parameters of a rule break for every workload that it matches; "" if they may be allowed for one.
    Its parameters have no other problem."""
    target = Target("", rule.namespace, rule.workload)
    proposal = Proposal(ActionType(rule.action_type), target, Origin.CLOSED_LOOP, rule.params)
    if (replicas := desired_replicas(proposal, None)) is not None:
        return _of_replicas(replicas, _loosest(rule))
    if (delta := desired_replicas(proposal, 0)) is not None:
        return _of_delta(delta, _loosest(rule))
    return ""


def _of_replicas(replicas: int, limits: Limits) -> str:
    if replicas > limits.max_replicas:
        return f"No workload may have {replicas} replicas: max_replicas is {limits.max_replicas}."
    if replicas < limits.min_replicas:
        return f"No workload may be left with {replicas} replicas: min_replicas is {limits.min_replicas}."
    return ""


def _of_delta(delta: int, limits: Limits) -> str:
    if delta > limits.max_scale_increase:
        return f"No workload may get {delta} more replicas at once: max_scale_increase is {limits.max_scale_increase}."
    if -delta > limits.max_scale_decrease:
        return f"No workload may lose {-delta} replicas at once: max_scale_decrease is {limits.max_scale_decrease}."
    if 1 + delta > limits.max_replicas:  # a workload without replicas is left alone
        return f"No workload may get {delta} more replicas: max_replicas is {limits.max_replicas}."
    return ""


def _loosest(rule: Rule) -> Limits:
    """Of the limits that apply somewhere in the scope of the rule, each at its loosest."""
    kind = Q(kind__in=("", rule.kind)) if rule.kind else Q()
    rows: list[Mapping[str, Any]] = [
        one
        for one in GuardrailSetting.objects.filter(kind).values()
        if _may_apply(one["namespace"], rule.namespace) and _may_apply(one["workload"], rule.workload)
    ]
    common = [one for one in rows if not one["cluster"] and _covers(one["namespace"], rule.namespace)]
    common = [one for one in common if _covers(one["kind"], rule.kind)]
    everywhere = merge_limits(one for one in common if _covers(one["workload"], rule.workload))

    def values(name: str) -> Iterable[int]:
        return [getattr(everywhere, name), *(one[name] for one in rows if one[name] is not None)]

    return Limits(
        max_replicas=max(values("max_replicas")),
        min_replicas=min(values("min_replicas")),
        max_scale_increase=max(values("max_scale_increase")),
        max_scale_decrease=max(values("max_scale_decrease")),
    )


def _may_apply(scope: str, wanted: str) -> bool:
    """Whether something that the rule matches by this name is in the scope."""
    return scope == "" or name_matches(wanted, scope)


def _covers(scope: str, name: str) -> bool:
    """Whether all that the rule matches by this name is in the scope."""
    return scope in ("", name)
