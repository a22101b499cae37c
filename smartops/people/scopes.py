"""Of each model that people see in the admin: who may see a row, and who may change it.

A row with a scope, whose empty fields mean any, is shown to those whom it affects. It is changed by those who have the
right in all of its scope.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import Group, User
from django.db.models import Model, Q

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.models import Action, Approval, AuditEvent, DecisionRecord, RefusedRequest, Verification, Workload
from signals.aliases import Alias
from signals.models import Observation, Rule, SettingChange, Signal
from signals.names import is_pattern, name_matches
from smartops.models import Passkey, RoleGrant, SecondFactor, SignIn, Token
from smartops.people.access import EVERYTHING, EVERYWHERE, NOTHING, Access, Place, Right

Condition = Callable[[Access], Q]
Question = Callable[[Access], bool]


def _where(_: Any) -> Iterable[Place]:
    return (EVERYWHERE,)


def _of_scope(row: Any) -> Iterable[Place]:
    return (Place(row.cluster, row.namespace),)


def _of_rule(row: Any) -> Iterable[Place]:
    """A pattern is the name of no namespace, so it takes the right for all of them."""
    return (Place("", row.namespace),)


def _of_alias(row: Any) -> Iterable[Place]:
    """Of the signals, and of the workload that they are about then."""
    return {Place(row.cluster, row.namespace), Place(row.cluster, row.to_namespace or row.namespace)}


def _of_token(row: Any) -> Iterable[Place]:
    return [Place("", namespace) for namespace in row.namespaces] or [EVERYWHERE]


@dataclass(frozen=True, slots=True)
class Scope:
    """`visible`: the condition for the rows that are shown. `changed_by`: the right that a change takes in each of the
    `places` of the row; None for history. `opens`: whether the person sees the list at all."""

    visible: Condition
    changed_by: Right | None = None
    places: Callable[[Any], Iterable[Place]] = _where
    opens: Question = lambda access: access.has(Right.READ)

    def may_change(self, access: Access, row: Any = None) -> bool:
        """`row` has the fields of the model; those of a form will do. Without one: whether there may be such a row."""
        right = self.changed_by
        if right is None:
            return False
        if row is None and self.places is not _where:
            return access.has(right)
        return all(access.may(right, one.cluster, one.namespace) for one in self.places(row))


def _administers(access: Access) -> bool:
    return access.has(Right.ADMINISTER)


def _administers_all(access: Access) -> bool:
    return access.may(Right.ADMINISTER)


def _if(question: Question) -> Condition:
    return lambda access: EVERYTHING if question(access) else NOTHING


def columns(prefix: str = "") -> Condition:
    """The condition for rows of one namespace, whose columns have this prefix."""
    return lambda access: access.visible(cluster=f"{prefix}cluster", namespace=f"{prefix}namespace")


def visible_rules(access: Access, prefix: str = "") -> Q:
    """`prefix`: of the column `namespace`. At most one query, for those who may not see all namespaces."""
    names = {place.namespace for place in access.places.get(Right.READ, ())}
    if "" in names:
        return EVERYTHING
    patterns = Rule.objects.order_by().values_list("namespace", flat=True).distinct() if names else ()
    found = {one for one in patterns if is_pattern(one) and any(name_matches(one, name) for name in names)}
    return Q(**{f"{prefix}namespace__in": ["", *names, *found]}) if names else NOTHING


def visible_aliases(access: Access, prefix: str = "") -> Q:
    """Both namespaces must be visible: a row names both."""
    signals = access.affecting(cluster=f"{prefix}cluster", namespace=f"{prefix}namespace")
    return signals & access.affecting(cluster=f"{prefix}cluster", namespace=f"{prefix}to_namespace")


def visible_tokens(access: Access, prefix: str = "") -> Q:
    """Those all of whose namespaces the person administers, in all clusters: tokens know no cluster."""
    names = access.namespaces(Right.ADMINISTER)
    if names is None:
        return EVERYTHING
    column = f"{prefix}namespaces"
    return Q(**{f"{column}__contained_by": sorted(names)}) & ~Q(**{column: []}) if names else NOTHING


def visible_grants(access: Access, prefix: str = "") -> Q:
    return access.where(Right.ADMINISTER, cluster=f"{prefix}cluster", namespace=f"{prefix}namespace")


def _scoped(access: Access, prefix: str) -> Q:
    return access.affecting(cluster=f"{prefix}cluster", namespace=f"{prefix}namespace")


# Of recorded tables: the condition for a row whose columns have a prefix. All others are about accounts.
RECORDED: Mapping[type[Model], Callable[[Access, str], Q]] = {
    GuardrailSetting: _scoped,
    Freeze: _scoped,
    Cooldown: lambda access, prefix: columns(prefix)(access),
    Rule: visible_rules,
    Alias: visible_aliases,
    Token: visible_tokens,
    RoleGrant: visible_grants,
}


def visible_changes(access: Access) -> Q:
    """A change is shown to those who may see the row before and after it."""
    if access.may(Right.READ) and access.may(Right.ADMINISTER):
        return EVERYTHING
    found = NOTHING
    for model, visible in RECORDED.items():
        sides = [Q(**{f"{side}__isnull": True}) | visible(access, f"{side}__") for side in ("before", "after")]
        found |= Q(table_name=model._meta.db_table) & sides[0] & sides[1]
    if _administers_all(access):
        found |= ~Q(table_name__in=[model._meta.db_table for model in RECORDED])
    return found


_HISTORY_OF_WORKLOADS: Mapping[type[Model], str] = {
    Workload: "",
    Action: "workload__",
    Verification: "action__workload__",
    Approval: "action__workload__",
    AuditEvent: "action__workload__",
    DecisionRecord: "",
    RefusedRequest: "",
    Signal: "",
    Observation: "signal__",
}
_OF_SECOND_FACTORS = Scope(_if(_administers_all), Right.ADMINISTER, opens=_administers_all)
SCOPES: Mapping[type[Model], Scope] = {
    **{model: Scope(columns(prefix)) for model, prefix in _HISTORY_OF_WORKLOADS.items()},
    Action: Scope(columns("workload__"), Right.ACT, lambda row: _of_scope(row.workload)),
    SettingChange: Scope(visible_changes),
    SignIn: Scope(_if(_administers_all), opens=_administers_all),
    SecondFactor: _OF_SECOND_FACTORS,
    Passkey: _OF_SECOND_FACTORS,
    GuardrailSetting: Scope(Access.affecting, Right.TUNE, _of_scope),
    Freeze: Scope(Access.affecting, Right.ACT, _of_scope),
    Cooldown: Scope(columns(), Right.ACT, _of_scope),
    Rule: Scope(visible_rules, Right.TUNE, _of_rule),
    Alias: Scope(visible_aliases, Right.TUNE, _of_alias),
    Token: Scope(visible_tokens, Right.ADMINISTER, _of_token, _administers),
    RoleGrant: Scope(visible_grants, Right.ADMINISTER, _of_scope, _administers),
    # Who grants roles in a namespace has to find the accounts and groups; all of them are changed from one place.
    User: Scope(_if(_administers), Right.ADMINISTER, opens=_administers),
    Group: Scope(_if(_administers), Right.ADMINISTER, opens=_administers),
}
