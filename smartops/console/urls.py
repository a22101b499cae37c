"""The console's pages."""

from django.urls import path

from signals.types import ActionType
from smartops.console import action_acts, aliases, freezes, guardrails, passkeys, previews, rules, workload_acts
from smartops.console.action import action
from smartops.console.actions import actions
from smartops.console.approvals import approval, approvals, approve, rehearse, reject
from smartops.console.audit import audit, export
from smartops.console.decision import decision
from smartops.console.overview import overview
from smartops.console.password import password
from smartops.console.reasons import reasons
from smartops.console.second_factor import app, app_remove, recovery_codes, second_factor
from smartops.console.seen import seen
from smartops.console.sign_out import sign_out_everywhere
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
    path("approvals/<uuid:pk>/dry-run/", rehearse, name="rehearse"),
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
    path("guardrails/", guardrails.guardrails, name="guardrails"),
    path("guardrails/add/", guardrails.add, name="guardrail-add"),
    path("guardrails/<int:pk>/", guardrails.guardrail, name="guardrail"),
    path("guardrails/<int:pk>/change/", guardrails.change, name="guardrail-change"),
    path("guardrails/<int:pk>/delete/", guardrails.delete, name="guardrail-delete"),
    path("guardrails/<int:pk>/revert/<int:change>/", guardrails.revert, name="guardrail-revert"),
    path("guardrails/deleted/", guardrails.deleted, name="guardrail-deleted"),
    path("guardrails/restore/<int:change>/", guardrails.restore, name="guardrail-restore"),
    path("rules/", rules.rules, name="rules"),
    path("rules/add/", rules.add, name="rule-add"),
    path("rules/<int:pk>/", rules.rule, name="rule"),
    path("rules/<int:pk>/change/", rules.change, name="rule-change"),
    path("rules/<int:pk>/delete/", rules.delete, name="rule-delete"),
    path("rules/<int:pk>/revert/<int:change>/", rules.revert, name="rule-revert"),
    path("rules/deleted/", rules.deleted, name="rule-deleted"),
    path("rules/restore/<int:change>/", rules.restore, name="rule-restore"),
    path("rules/<int:pk>/enable/", rules.enable, name="rule-enable"),
    path("rules/<int:pk>/disable/", rules.disable, name="rule-disable"),
    path("aliases/", aliases.aliases, name="aliases"),
    path("aliases/add/", aliases.add, name="alias-add"),
    path("aliases/<int:pk>/", aliases.alias, name="alias"),
    path("aliases/<int:pk>/change/", aliases.change, name="alias-change"),
    path("aliases/<int:pk>/delete/", aliases.delete, name="alias-delete"),
    path("aliases/<int:pk>/revert/<int:change>/", aliases.revert, name="alias-revert"),
    path("aliases/deleted/", aliases.deleted, name="alias-deleted"),
    path("aliases/restore/<int:change>/", aliases.restore, name="alias-restore"),
    path("aliases/<int:pk>/enable/", aliases.enable, name="alias-enable"),
    path("aliases/<int:pk>/disable/", aliases.disable, name="alias-disable"),
    path("preview/", previews.step, name="preview"),
    path("sign-out-everywhere/", sign_out_everywhere, name="sign-out-everywhere"),
    path("password/", password, name="password"),
    path("second-factor/", second_factor, name="second-factor"),
    path("second-factor/app/", app, name="second-factor-app"),
    path("second-factor/app/remove/", app_remove, name="second-factor-app-remove"),
    path("second-factor/recovery-codes/", recovery_codes, name="recovery-codes"),
    path("second-factor/passkeys/add/", passkeys.add, name="passkey-add"),
    path("second-factor/passkeys/<int:pk>/rename/", passkeys.rename, name="passkey-rename"),
    path("second-factor/passkeys/<int:pk>/remove/", passkeys.remove, name="passkey-remove"),
]
