"""Who may decide on an action that waits for an approval. Console, admin and API ask here.

The requester never may. As requesters count:

- the person who requested the action
- who issued the token that requested it, or that reported its signal
- who made the last change of the rule that requested it, before it did or since
- who made the last change of the alias that says which workload its signal means

The history of settings says who that was. So a rule that is renamed or deleted while the action waits hides nobody.

No scope lets a token decide: the database accepts persons only (`approval_by_person`). Nothing shows that two accounts
are of one person.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Model, Q, QuerySet

from orchestrator.models import Action
from signals import actors
from signals.actors import ActorKind
from signals.aliases import Alias
from signals.models import Rule, SettingChange
from smartops.models import RoleGrant, Token
from smartops.people.access import Right, access_of
from smartops.people.roles import RIGHTS

MAX_NAMED = 12


def objection(user: Any, action: Action) -> str:
    """Why this account may not decide on the action; empty if it may."""
    target = action.workload.target
    if not access_of(user).may_change(Right.APPROVE, target):
        return f"You do not have the right to approve changes in {target.cluster}/{target.namespace}."
    me = actors.user(user.get_username())
    return next((f"You {how}: another person decides." for who, how in requesters(action) if who == me), "")


def may_decide(action: Action) -> list[str]:
    """The names of the persons who may, at most MAX_NAMED of them."""
    target = action.workload.target
    granted = RoleGrant.objects.filter(
        role__in=[role for role, rights in RIGHTS.items() if Right.APPROVE in rights],
        cluster__in=("", target.cluster),
        namespace__in=("", target.namespace),
    )
    has_right = Q(is_superuser=True) | Q(role_grants__in=granted) | Q(groups__role_grants__in=granted)
    involved = {who for who, _ in requesters(action)}
    names = User.objects.filter(has_right, is_active=True).order_by("username").values_list("username", flat=True)
    found = names.distinct()[: MAX_NAMED + len(involved)]
    return [name for name in found if actors.user(name) not in involved][:MAX_NAMED]


def requesters(action: Action) -> Iterator[tuple[str, str]]:
    """The persons who count as requesters, each with how they are involved."""
    yield from _behind(action.requested_by, "requested it", action.created_at)
    for reporter in action.reported_by:
        yield from _behind(reporter, "reported its signal", action.created_at)
    alias = None if action.signal is None else action.signal.identified_by_alias
    if alias is not None and (author := _author(Alias, alias, action.created_at)):
        yield author, f"made the last change of the alias {alias}, which says that its signal means this workload"


def _behind(actor: str, did: str, at: datetime) -> Iterator[tuple[str, str]]:
    kind, name = actors.parse(actor)
    match kind:
        case ActorKind.USER:
            yield actor, did
        case ActorKind.TOKEN:
            token = Token.objects.filter(name=name).first()
            if token is not None and (issuer := _issuer(token)):
                yield issuer, f"issued the token {name}, which {did}"
        case ActorKind.RULE:
            last, *later = [*_authors(name, at)] or [""]
            yield last, f"made the last change of the rule {name}, which {did}"
            for author in later:
                yield author, f"changed the rule {name} since it {did}"


def _issuer(token: Token) -> str:
    """Empty if the history does not say."""
    return _changes(Token, token.pk).order_by("pk").values_list("actor", flat=True).first() or ""


def _author(model: type[Model], pk: int, at: datetime) -> str:
    """Who made the row what it was at that time; empty if the history does not say."""
    made = _changes(model, pk).filter(at__lte=at).order_by("-pk")
    return made.values_list("actor", flat=True).first() or ""


def _changes(model: type[Model], pk: object) -> QuerySet[SettingChange]:
    return SettingChange.objects.filter(table_name=model._meta.db_table, key=str(pk))


def _authors(rule: str, at: datetime) -> Iterator[str]:
    """Who made the rule of this name what it was at that time, and who has changed it since."""
    changes = SettingChange.objects.filter(table_name=Rule._meta.db_table).order_by("pk")
    named = changes.filter(Q(after__name=rule) | Q(before__name=rule))
    made = named.filter(at__lte=at).last()
    first = made or named.first()
    if first is None:
        return
    yield made.actor if made is not None else ""
    yield from changes.filter(key=first.key, pk__gt=0 if made is None else made.pk).values_list("actor", flat=True)
