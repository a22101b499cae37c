"""The acts on one action: Settle, Cancel, Retry."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse

from orchestrator.acts import Done, NotDone, Outcome
from orchestrator.acts import actions as acts
from orchestrator.models import Action
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType
from smartops import queries
from smartops.console.actions import address, visible
from smartops.console.acts import ActForm, Confirmation, Elsewhere, ReasonedForm, person, posted, respond
from smartops.console.pages import ConsoleRequest, act, require
from smartops.people.access import Right

REFUSALS: dict[str, Callable[[Action], NotDone | None]] = {
    "settle": acts.settle_refusal,
    "cancel": acts.cancel_refusal,
    "retry": acts.retry_refusal,
}
CONSEQUENCES = {
    "settle": "The action ends, and its workload is free for the next one. If the change was applied, it counts in the "
    "limits from now on, and the cooldown begins. Compare the workload with the planned change first.",
    "cancel": "The action ends, and its change is not applied. Its signal closes: the next report of the problem is "
    "decided on, and may lead to the same action. To prevent that, hold the workload.",
    "retry": "A new direct action of yours requests the same change. The guardrails decide on it as on every direct "
    "action; cooldowns and limits per hour do not hold it back.",
}


class SettleForm(ReasonedForm):
    applied = forms.ChoiceField(
        label="What has happened to the change?",
        choices=[("yes", "Applied: the cluster has it"), ("no", "Not applied: the cluster does not have it")],
        widget=forms.RadioSelect,
    )


def possible(request: ConsoleRequest, action: Action) -> Iterator[tuple[str, str]]:
    """The buttons of the action's page: their texts and addresses."""
    if request.access.may_change(Right.ACT, action.workload.target):
        for name, refusal in REFUSALS.items():
            if refusal(action) is None:
                yield name.capitalize(), reverse(f"console:{name}", args=[action.pk])


@act(Right.ACT)
def settle(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    def perform(given: dict[str, Any]) -> Outcome:
        return acts.settle(pk, given["applied"] == "yes", person(request), given["reason"])

    action = _action(request, pk)
    return respond(request, SettleForm(posted(request)), _asked("settle", action), perform)


@act(Right.ACT)
def cancel(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    def perform(given: dict[str, Any]) -> Outcome:
        return acts.cancel(pk, person(request), given["reason"])

    action = _action(request, pk)
    return respond(request, ActForm(posted(request)), _asked("cancel", action), perform)


@act(Right.ACT)
def retry(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    def perform(given: dict[str, Any]) -> NotDone | Elsewhere:
        # Sent twice, it is one action: what was retried once is retried by its own action.
        match acts.retry(pk, person(request), given["reason"], key=f"retry:{pk}"):
            case Done(message, created) if created is not None:
                return Elsewhere(message, address(created))
            case outcome:
                assert isinstance(outcome, NotDone)
                return outcome

    action = _action(request, pk)
    asked = _asked("retry", action)
    return respond(request, ActForm(posted(request)), asked, perform, own_transaction=True)


def _action(request: ConsoleRequest, pk: UUID) -> Action:
    action = get_object_or_404(queries.actions().filter(visible(request.access)), pk=pk)
    require(request, Right.ACT, action.workload.target)
    return action


def _asked(name: str, action: Action) -> Confirmation:
    change = PROPOSAL_TYPES[ActionType(action.type)].describe(action.params)
    return Confirmation(
        name.capitalize(),
        f"{name.capitalize()} “{change}”",
        CONSEQUENCES[name],
        back=address(action),
        targets=[action.workload.target.with_kind],
    )
