"""The console's pages."""

from django.urls import path

from signals.types import ActionType
from smartops.console import action_acts, freezes, workload_acts
from smartops.console.action import action
from smartops.console.actions import actions
from smartops.console.approvals import approval, approvals, approve, reject
from smartops.console.audit import audit, export
from smartops.console.decision import decision
from smartops.console.overview import overview
from smartops.console.reasons import reasons
from smartops.console.seen import seen
from smartops.console.signal import signal
from smartops.console.signals import signals
from smartops.console.tokens import issue, revoke, tokens
from smartops.console.workload import workload
from smartops.console.workloads import workloads

app_name = "console"
TARGET = "<cluster>/<kind>/<namespace>/<name>"
urlpatterns = [
    path("", overview, name="overview"),
    path("approvals/", approvals, name="approvals"),
    path("approvals/<uuid:pk>/", approval, name="approval"),
    path("approvals/<uuid:pk>/approve/", approve, name="approve"),
    path("approvals/<uuid:pk>/reject/", reject, name="reject"),
    path("actions/", actions, name="actions"),
    path("actions/<uuid:pk>/", action, name="action"),
    path("signals/", signals, name="signals"),
    path("signals/<uuid:pk>/", signal, name="signal"),
    path("reasons/", reasons, name="reasons"),
    path("audit/", audit, name="audit"),
    path("audit/export/", export, name="audit-export"),
    path("actions/<uuid:pk>/seen/", seen, name="seen"),
    path("actions/<uuid:pk>/settle/", action_acts.settle, name="settle"),
    path("actions/<uuid:pk>/cancel/", action_acts.cancel, name="cancel"),
    path("actions/<uuid:pk>/retry/", action_acts.retry, name="retry"),
    path("actions/<uuid:pk>/run/", workload_acts.run, name="run"),
    path("actions/<uuid:pk>/undo/", workload_acts.undo, name="undo"),
    path("workloads/", workloads, name="workloads"),
    path(f"workloads/{TARGET}/", workload, name="workload"),
    *(path(f"workloads/{TARGET}/{one.lower()}/", workload_acts.change(one), name=one.lower()) for one in ActionType),
    path(f"workloads/{TARGET}/hold/", workload_acts.hold, name="hold"),
    path(f"workloads/{TARGET}/cooldowns/<type_>/clear/", workload_acts.clear, name="clear-cooldown"),
    path("freeze/", freezes.freeze, name="freeze"),
    path("freeze/held/", freezes.held, name="held"),
    path("freezes/<int:pk>/lift/", freezes.lift, name="lift"),
    path("decisions/<uuid:pk>/", decision, name="decision"),
    path("tokens/", tokens, name="tokens"),
    path("tokens/issue/", issue, name="token-issue"),
    path("tokens/<uuid:pk>/revoke/", revoke, name="token-revoke"),
]
