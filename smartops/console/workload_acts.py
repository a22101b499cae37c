"""Acts on one workload: Scale, Restart and Patch, each with a dry run of the API server first; Hold, Clear cooldown.

A form of a change requests its dry run, which a reconciler executes. On the page of the dry run, the same change is
requested for real, bound to what was shown: if the object has changed since, another dry run is made instead.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models.functions import Now
from django.http import Http404
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from guardrails.models import Cooldown
from orchestrator.acts import Done, NotDone, Outcome
from orchestrator.acts import freezes as freeze_acts
from orchestrator.acts.cooldowns import clear_cooldown
from orchestrator.acts.direct import request as request_action
from orchestrator.decide.direct import active_action, is_overridable, waits
from orchestrator.models import Action, ActionState, ObservedWorkload
from signals.proposals import PROPOSAL_TYPES
from signals.proposals.images import Irreversible
from signals.proposals.patch_allowlist import MAX_REPLICAS, forbidden
from signals.types import ActionType, Kind, Origin, Proposal, Target
from smartops import queries
from smartops.console import actions, kubectl
from smartops.console.acts import ActForm, Confirmation, Elsewhere, ReasonedForm, person, posted, respond, way_back
from smartops.console.pages import ConsoleRequest, act, require
from smartops.console.workload import visible_target
from smartops.console.workloads import address
from smartops.json_field import JsonField
from smartops.people.access import Right

FRESH = timedelta(minutes=15)  # how long what a dry run has shown counts


class RestartForm(ActForm):
    def params(self) -> dict[str, Any]:
        return {}


class ScaleForm(ActForm):
    replicas = forms.IntegerField(min_value=0, max_value=MAX_REPLICAS)

    def params(self) -> dict[str, Any]:
        return {"replicas": self.cleaned_data["replicas"]}


class PatchForm(ActForm):
    patch = JsonField(
        label="Patch, as JSON",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "code"}),
        help_text='A strategic merge patch, for instance {"spec": {"minReadySeconds": 5}}. Only fields of the '
        "allowlist are accepted.",
    )

    def clean_patch(self) -> dict[str, Any]:
        patch = self.cleaned_data["patch"]
        if (refusal := forbidden(patch, tuple(settings.SMARTOPS_ALLOWED_PATCH_PREFIXES))) is not None:
            raise ValidationError("{}: {}.".format(*refusal))
        return dict(patch)

    def params(self) -> dict[str, Any]:
        return {"patch": self.cleaned_data["patch"]}


class RunForm(ActForm):
    shown = forms.CharField(widget=forms.HiddenInput)


class HoldForm(ReasonedForm):
    lasts = forms.ChoiceField(
        label="For how long?",
        choices=[(name, words.capitalize()) for name, (words, _) in freeze_acts.ENDS.items()],
        widget=forms.RadioSelect,
    )


FORMS: dict[ActionType, type[RestartForm] | type[ScaleForm] | type[PatchForm]] = {
    ActionType.SCALE: ScaleForm,
    ActionType.RESTART: RestartForm,
    ActionType.PATCH: PatchForm,
}


def change(type_: ActionType) -> Callable[..., HttpResponseBase]:
    """The form of a change. Its post requests the dry run."""

    @act(Right.ACT)
    def view(request: ConsoleRequest, cluster: str, kind: str, namespace: str, name: str) -> HttpResponseBase:
        target = _target(request, cluster, kind, namespace, name)
        if type_ is ActionType.SCALE and target.kind is Kind.DAEMON_SET:
            raise Http404

        def perform(given: dict[str, Any]) -> Outcome | Elsewhere:
            reason = given["reason"]
            proposal = Proposal(type_, target, Origin.DIRECT, form.params(), reason, dry_run=True, verify=False)
            return _to_action(request_action(proposal, person(request)))

        form = FORMS[type_](posted(request))
        asked = Confirmation(
            "Show the dry run",
            f"{type_.capitalize()} {target.name}",
            "A reconciler sends the change to the API server as a dry run: nothing is changed. Its page shows each "
            "field before and after, and has the button that makes the change.",
            back=_address(target),
            targets=[target.with_kind],
        )
        return respond(request, form, asked, perform, own_transaction=True)

    return view


@act(Right.ACT)
def run(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    """The change of a dry run for real, with the same parameters."""
    dry_run = get_object_or_404(queries.actions().filter(actions.visible(request.access)), pk=pk)
    target = dry_run.workload.target
    require(request, Right.ACT, target)
    if not may_run(dry_run):
        raise Http404
    proposal = replace(dry_run.proposal, origin=Origin.DIRECT, dry_run=False, verify=True)

    def perform(given: dict[str, Any]) -> Outcome | Elsewhere:
        if given["shown"] != shown(dry_run) or has_changed(dry_run):
            again = replace(proposal, dry_run=True, verify=False)
            return _to_action(
                request_action(again, person(request)),
                f"Nothing was changed: {target} has changed since the dry run. This is another one.",
            )
        asked_for = replace(proposal, reason=given["reason"] or proposal.reason)
        return _to_action(request_action(asked_for, person(request), key=f"run:{pk}"))

    asked = Confirmation(
        dry_run.type.capitalize(),
        f"{PROPOSAL_TYPES[proposal.type].describe(proposal.params)}: {target.name}",
        f"The guardrails decide again before the write. If the object changes before, the write names its new version. "
        f"{_in_the_way(dry_run)}".strip(),
        back=actions.address(dry_run),
        targets=[target.with_kind],
        details="console/run.html",
    )
    form = RunForm(posted(request), initial={"shown": shown(dry_run), "reason": dry_run.justification})
    return respond(
        request, form, asked, perform, own_transaction=True,
        action=dry_run, command=kubectl.command(proposal.type, target, dry_run.change or {}), undo=undo_of(dry_run),
    )  # fmt: skip


@act(Right.ACT)
def undo(request: ConsoleRequest, pk: UUID) -> HttpResponseBase:
    """The dry run of the change that puts the fields back."""
    action = get_object_or_404(queries.actions().filter(actions.visible(request.access)), pk=pk)
    target = action.workload.target
    require(request, Right.ACT, target)
    params = undo_of(action)
    if not may_undo(action) or params is None or isinstance(params, Irreversible):
        raise Http404

    def perform(given: dict[str, Any]) -> Outcome | Elsewhere:
        reason = f"Undo of action {action.pk}" + (f": {given['reason']}" if given["reason"] else "")
        type_ = ActionType(action.type)
        proposal = Proposal(type_, target, Origin.DIRECT, params, reason, dry_run=True, verify=False)
        return _to_action(request_action(proposal, person(request)))

    asked = Confirmation(
        "Show the dry run",
        f"Undo {action}",
        "The fields are put back as they were before this action. A dry run comes first: it shows what they are now.",
        back=actions.address(action),
        targets=[target.with_kind],
        details="console/undo.html",
    )
    return respond(request, ActForm(posted(request)), asked, perform, own_transaction=True, action=action)


@act(Right.ACT)
def hold(request: ConsoleRequest, cluster: str, kind: str, namespace: str, name: str) -> HttpResponseBase:
    target = _target(request, cluster, kind, namespace, name)

    def perform(given: dict[str, Any]) -> Outcome:
        return freeze_acts.hold(target, freeze_acts.ENDS[given["lasts"]][1], person(request), given["reason"])

    effect = freeze_acts.would_hold(freeze_acts.FreezeScope.of(target))
    signals, waiting = effect.signals.count(), effect.waiting.count()
    asked = Confirmation(
        "Hold",
        f"Hold {target.name}",
        f"No action starts on this workload until the hold ends. It holds {signals} signals and {waiting} waiting "
        "actions now. A hold is a freeze of exactly this workload: Lift ends it.",
        back=way_back(request, _address(target)),
        targets=[target.with_kind],
    )
    return respond(request, HoldForm(posted(request)), asked, perform)


@act(Right.ACT)
def clear(request: ConsoleRequest, cluster: str, kind: str, namespace: str, name: str, type_: str) -> HttpResponseBase:
    target = _target(request, cluster, kind, namespace, name)
    if type_ not in set(ActionType):
        raise Http404
    row = get_object_or_404(Cooldown.of(target, ActionType(type_)))

    def perform(given: dict[str, Any]) -> Outcome:
        return clear_cooldown(row.pk, given["until"], person(request), given["reason"])

    class ClearForm(ActForm):
        until = forms.DateTimeField(widget=forms.HiddenInput)

    asked = Confirmation(
        "Clear cooldown",
        f"Clear the cooldown of {type_} on {target.name}",
        "The closed loop may repeat this type of action at once. The signals that wait for it are decided on now.",
        back=way_back(request, _address(target)),
        targets=[target.with_kind],
    )
    form = ClearForm(posted(request), initial={"until": row.until.isoformat()})
    return respond(request, form, asked, perform)


def following(request: ConsoleRequest, action: Action) -> Iterator[tuple[str, str]]:
    """The buttons of the action's page that request another action: their texts and addresses."""
    if request.access.may_change(Right.ACT, action.workload.target):
        if may_run(action):
            yield action.type.capitalize(), reverse("console:run", args=[action.pk])
        if may_undo(action) and not isinstance(undo_of(action), Irreversible | None):
            yield "Undo", reverse("console:undo", args=[action.pk])


def of_target(request: ConsoleRequest, target: Target) -> Iterator[tuple[str, str]]:
    """The buttons of a page about a signal: what keeps the closed loop from its target, or lets it act. One query."""
    if not request.access.may_change(Right.ACT, target):
        return
    names = [target.cluster, target.kind, target.namespace, target.name]
    back = f"?{urlencode({'back': request.get_full_path()})}"
    yield "Hold", reverse("console:hold", args=names) + back
    rows = Cooldown.objects.filter(cluster=target.cluster, namespace=target.namespace, workload=target.name)
    for row in rows.filter(kind=target.kind, until__gt=Now()).order_by("until"):
        yield "Clear cooldown", reverse("console:clear-cooldown", args=[*names, row.action_type]) + back


def may_run(action: Action) -> bool:
    """A dry run that the API server has accepted, which is bound to what it has shown."""
    return action.dry_run and action.state == ActionState.SUCCEEDED and action.change is not None


def may_undo(action: Action) -> bool:
    """What was only observed has an `applied_at`, too: it counts in the limits, and has changed nothing."""
    ended = action.applied_at is not None and action.finished_at is not None
    return ended and not action.dry_run and action.state != ActionState.OBSERVED


def undo_of(action: Action) -> Any:
    """The parameters that put the fields back, why there are none, or None if nothing was planned."""
    return action.inverse(tuple(settings.SMARTOPS_ALLOWED_PATCH_PREFIXES))


def _in_the_way(dry_run: Action) -> str:
    """What the change for real does to another action of the workload, or why that refuses it."""
    active = active_action(dry_run.workload)
    if active is None:
        return ""
    if is_overridable(active):
        return f"This ends action {active.pk} ({active}), which waits and is not written."
    return f"Action {active.pk} ({active}) has not finished: until then this is refused. {waits(active)}"


def shown(action: Action) -> str:
    """A digest of what the page of the dry run shows."""
    what = [str(action.pk), action.planned_uid, action.planned_generation, action.before_image, action.after_image]
    return sha256(json.dumps([*what, action.warnings], sort_keys=True).encode()).hexdigest()


def has_changed(action: Action) -> bool:
    """Whether a reconciler has observed another object, or another generation of it, or the dry run is old."""
    names = {"cluster": action.cluster, "kind": action.workload.kind, "namespace": action.workload.namespace}
    seen = ObservedWorkload.objects.filter(**names, name=action.workload.name).values_list("uid", "generation").first()
    is_old = action.finished_at is None or action.finished_at < timezone.now() - FRESH
    return is_old or (seen is not None and seen != (action.planned_uid, action.planned_generation))


def _to_action(outcome: Outcome, message: str = "") -> Outcome | Elsewhere:
    match outcome:
        case Done(text, created) if created is not None:
            return Elsewhere(message or text, actions.address(created))
        case NotDone(why, text) if message:
            return NotDone(why, f"{message.partition('.')[0]}. Another dry run was refused: {text}")
    return outcome


def _target(request: ConsoleRequest, cluster: str, kind: str, namespace: str, name: str) -> Target:
    target = visible_target(request, cluster, kind, namespace, name)
    require(request, Right.ACT, target)
    return target


def _address(target: Target) -> str:
    return address(target.cluster, target.kind, target.namespace, target.name)
