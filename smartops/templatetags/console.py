"""How the console says things: a state as a word, a shape and a tone; times; and numbers with what they mean."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from guardrails.explain import explain
from guardrails.models import GuardrailSetting
from orchestrator.models import Action, ActionState
from signals.lib import columns
from signals.models import Signal, SignalState
from signals.patterns import escaped
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType
from smartops.console.held_back import HeldBack, PageState
from smartops.console.reasons import Remedy, remedies

register = template.Library()
S = ActionState

# A tone is a colour, and never says anything that the icon and the word do not.
STATES = {
    "awaiting_approval": ("Awaiting approval", "person", "warn"),
    "pending": ("Pending", "clock", "calm"),
    "applying": ("Applying", "write", "active"),
    "verifying": ("Verifying", "eye", "active"),
    "needs_review": ("Needs review", "alert", "warn"),
    "succeeded": ("Succeeded", "check", "good"),
    "failed": ("Failed", "cross", "bad"),
    "timed_out": ("Timed out", "hourglass", "bad"),
    "cancelled": ("Cancelled", "slash", "calm"),
    "rejected": ("Rejected", "slash", "calm"),
    "expired": ("Expired", "hourglass", "calm"),
    "signal": ("Signal", "signal", "calm"),
    "admitted": ("Admitted", "check", "active"),
    "resolved": ("Resolved", "check", "good"),
    "observed": ("Observed", "eye", "calm"),
    "deferred": ("Deferred", "pause", "warn"),
    "denied": ("Refused", "shield", "bad"),
    "ignored": ("Ignored", "slash", "calm"),
    "allow": ("Allows", "check", "good"),
    "ask": ("Asks", "person", "warn"),
    "observe": ("Observes", "eye", "calm"),
    "warn": ("Warns", "alert", "warn"),
    "defer": ("Defers", "pause", "warn"),
    "deny": ("Refuses", "shield", "bad"),
    "ignore": ("Ignores", "slash", "calm"),
    "not_evaluated": ("Not evaluated", "slash", "calm"),
    "valid": ("Valid", "check", "good"),
    "unused": ("Unused", "alert", "warn"),
    "revoked": ("Revoked", "slash", "calm"),
    "SUCCESS": ("Success", "check", "good"),
    "FAILED": ("Failed", "cross", "bad"),
    "TIMED_OUT": ("Timed out", "hourglass", "bad"),
}
PARTS = {
    "uid": "Object (uid)",
    "generation": "Generation",
    "change": "Planned change",
    "rule": "Rule",
    "rule_version": "Version of the rule",
}
MAX_PIPS = 12
MAX_FIT, MAX_FIT_LINES = 150, 8  # characters and lines that are certainly shown without a scroll bar


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("console/icons.svg"), name
    )


@register.simple_tag
def act(text: str, href: str, kind: str = "") -> SafeString:
    """The button that opens the form of an act in the page's dialog; without a script, as a page. `kind`: "primary",
    "danger", or nothing."""
    answers = (403, 404)  # those that are shown there, beside 200
    return format_html(
        '<a class="button {}" role="button" href="{}" hx-get="{}" hx-target="#act" hx-swap="innerHTML"{}>{}</a>',
        kind,
        href,
        href,
        format_html_join("", ' hx-status:{}="swap:innerHTML"', ((status,) for status in answers)),
        text,
    )


@register.filter
def alias_form(signal: Signal) -> str:
    """The address of the form for an alias of its name, filled in."""
    fields = {"pattern": escaped(signal.workload), "source": signal.source, "namespace": signal.namespace}
    if signal.nearest:
        fields["workload"] = signal.nearest[0]
    return f"{reverse('console:alias-add')}?{urlencode(fields)}"


@register.filter
def outcome(signal: Signal) -> str:
    """Its state; "deferred" for one that waits until a time."""
    return "deferred" if signal.state == SignalState.PENDING and signal.reason else signal.state


@register.filter
def held_back(row: Signal | Action, known: PageState) -> tuple[HeldBack, ...]:
    """What holds it back."""
    return known.of(row)


@register.filter
def needs_person(state: str) -> bool:
    """Whether a new action in this state is read aloud: it waits for a person, or has failed."""
    return state in (S.AWAITING_APPROVAL, S.NEEDS_REVIEW, S.FAILED, S.TIMED_OUT)


@register.filter
def needs_remedy(state: str) -> bool:
    return state not in (S.SUCCEEDED, S.VERIFYING)


@register.filter
def explained(verdict: Mapping[str, Any]) -> str:
    return explain(verdict)


@register.filter
def reason_link(reason: str) -> SafeString:
    """Leads to what the reason means, and what to do."""
    if reason not in remedies():
        return format_html("<code>{}</code>", reason)
    return format_html('<a class="reason" href="{}#{}"><code>{}</code></a>', reverse("console:reasons"), reason, reason)


@register.filter
def remedy_of(reason: str) -> Remedy | None:
    return remedies().get(reason)


@register.filter
def re2(name: str) -> str:
    """The pattern that matches a name and nothing else."""
    return escaped(name)


@register.filter
def long(text: str) -> SafeString:
    """Text of callers, which may have 100 kB: what does not fit scrolls, also by the keyboard."""
    scrolls = len(text) > MAX_FIT or text.count("\n") > MAX_FIT_LINES
    return format_html('<bdi class="long"{}>{}</bdi>', SafeString(' tabindex="0"') if scrolls else "", text)


@register.filter
def badge(state: str) -> SafeString:
    label, shape, tone = STATES[state]
    return format_html('<span class="badge {}">{}{}</span>', tone, icon(shape), label)


@register.filter
def state_name(state: str) -> str:
    return STATES[state][0]


@register.filter
def tone(state: str) -> str:
    return STATES[state][2]


@register.filter
def shape(state: str) -> SafeString:
    return icon(STATES[state][1])


@register.filter
def headline(action: Action) -> str:
    """What it does, in words: “erp-simulator: Scale by +1 (3 → 4)”."""
    text = f"{action.workload.name}: {PROPOSAL_TYPES[ActionType(action.type)].describe(action.params)}"
    before, after = _replicas(action)
    if before is None or after is None:
        return text
    return f"{text} ({before}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{after})"


@register.filter
def waiting_for(action: Action) -> str:
    """What an action waits for, and until when."""
    if action.state == ActionState.VERIFYING:
        return format_html("watching until {}", clock(action.deadline_at))
    if action.state == ActionState.PENDING and action.attempts:
        return format_html("next attempt {}", clock(action.not_before))
    return ""


@register.filter
def ago(moment: datetime) -> SafeString:
    """Kept up to date by the page itself."""
    return _time(moment, f"{span(timezone.now() - moment)} ago", "ago")


@register.filter
def running_since(moment: datetime) -> SafeString:
    return _time(moment, span(timezone.now() - moment), "for")


@register.filter
def left(moment: datetime) -> SafeString:
    return _time(moment, span(moment - timezone.now()), "left")


@register.filter
def clock(moment: datetime) -> SafeString:
    """In UTC, with the date unless it is today; the page's script puts the reader's zone before it."""
    return _time(moment, _exactly(moment), "")


@register.filter
def until(later: datetime, earlier: datetime) -> str:
    return span(later - earlier)


@register.filter
def span(duration: timedelta) -> str:
    """“240 ms”, “8.4 s”, “42 s”, “5 min”, “3 h”, “2 d”: as exact as an eye can use."""
    seconds = max(0.0, duration.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


@register.filter
def figures(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts behind a verdict, as (what, how much)."""
    left = {name: value for name, value in details.items() if value is not None}
    pairs: list[tuple[str, str]] = []
    if "value" in left and "limit" in left:
        value, wanted, limit = left.pop("value"), left.pop("wanted", 0), left.pop("limit")
        text = f"{value} + {wanted} of {limit}" if wanted else f"{value} of {limit}"
        pairs.append(("used", format_html("{}{}", _meter(value + wanted, limit), text)))
    return pairs + [_figure(name, value) for name, value in left.items()]


@register.filter
def changes(action: Action) -> list[tuple[str, str, str]]:
    """What a planned action changes, as (path, before, after); empty where the object does not have the field."""
    before, after = action.before_image or {}, action.after_image or {}
    return [(path, _value(before, path), _value(after, path)) for path in sorted(before | after)]


def _value(image: Mapping[str, Any], path: str) -> str:
    return compact(image[path]) if path in image else ""


@register.filter
def words(name: str) -> str:
    return name.replace("_", " ").capitalize()


@register.filter
def setting(name: str) -> str:
    """What the forms call a limit."""
    return columns.label(GuardrailSetting._meta.db_table, name)


@register.filter
def shown_part(what: str) -> str:
    """A part of what persons are shown (orchestrator/decide/approval.py), as the page calls it."""
    when, _, path = what.partition(" ")
    if when in ("before", "after") and path:
        return f"{path}, {when} the change"
    return PARTS.get(what) or setting(what)


@register.filter
def compact(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)


@register.filter
def pips(action: Action) -> SafeString:
    """One mark per desired replica, filled where it was seen available; nothing where there are none or too many."""
    seen, (before, after) = action.verification, _replicas(action)
    planned = before if after is None else after
    desired = planned if seen.desired_replicas is None else seen.desired_replicas
    if not desired or desired > MAX_PIPS:
        return SafeString("")
    available = seen.available_replicas or 0
    marks = format_html_join(
        "",
        '<rect class="{}" x="{}" y="1" width="6" height="12" rx="1.5"/>',
        (("full" if n < available else "empty", 1 + 9 * n) for n in range(desired)),
    )
    return format_html('<svg class="pips" width="{}" height="14" aria-hidden="true">{}</svg>', 9 * desired, marks)


def _replicas(action: Action) -> tuple[int | None, int | None]:
    """Before the change (None until it is planned) and after it (None if it leaves them alone)."""
    before: int | None = (action.before or {}).get("replicas")
    return before, PROPOSAL_TYPES[ActionType(action.type)].replicas(action.params, before)


def _meter(value: float, limit: float) -> SafeString:
    width = int(40 * min(1.0, value / limit)) if limit else 40  # it is full at the limit only
    bars = '<svg class="meter" viewBox="0 0 40 6" aria-hidden="true"><rect width="40" height="6" rx="3"/>{}</svg>'
    return format_html(bars, format_html('<rect width="{}" height="6" rx="3"/>', width) if width else "")


def _figure(name: str, value: Any) -> tuple[str, str]:
    if name == "uid":
        return name, f"{value[:8]}…"
    if name.endswith("_seconds"):
        exactly = f"{value} s" if value % 60 else span(timedelta(seconds=value))  # it is compared with a limit
        return name.removesuffix("_seconds").replace("_", " "), exactly
    moment = parse_datetime(value) if name.endswith("_at") or name in ("since", "until") else None
    if moment is not None:
        return name.removesuffix("_at").replace("_", " "), clock(moment)
    return name.replace("_", " "), str(value)


def _time(moment: datetime, text: str, ticks: str) -> SafeString:
    """`data-utc` is shown beside an age where no script can show the time."""
    attributes = format_html(' data-ticks="{}" data-utc="{}"', ticks, _exactly(moment)) if ticks else ""
    exactly = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return format_html('<time datetime="{}"{}>{}</time>', exactly, attributes, text)


def _exactly(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    today = moment.date() == timezone.now().date()
    return f"{moment:%H:%M:%S} UTC" if today else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
