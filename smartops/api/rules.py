"""`/v1/rules/try`: what a rule would do, before it is saved."""

from django.core.exceptions import ValidationError
from ninja import Router
from pydantic import Field

from orchestrator.what_if.rule_trial import try_rule
from signals.models import Signal
from signals.names import ClusterName
from smartops.api.principals import AuthenticatedRequest, BearerToken, readable
from smartops.api.problems import invalid
from smartops.rule_trials import MAX_SIGNALS, RuleBody, RuleTrialView, field_errors
from smartops.scan import Scan
from smartops.tokens import Scope

router = Router(tags=["rules"], auth=BearerToken(write=Scope.RULES_TRY))


class RuleTrialRequest(RuleBody):
    cluster: ClusterName | None = Field(None, description="Try it on signals of this cluster. Default: all.")
    signals: int = Field(200, ge=1, le=MAX_SIGNALS, description="Try it on so many of the newest signals.")

    def body(self) -> RuleBody:
        return RuleBody(**self.model_dump(exclude={"cluster", "signals"}))


@router.post("/rules/try", response=RuleTrialView, summary="Try a rule on stored signals; nothing is saved")
def try_rule_on_signals(request: AuthenticatedRequest, body: RuleTrialRequest) -> RuleTrialView:
    """Which of the newest signals the rule would match, what it would propose, and what the guardrails would decide
    now. Warns of a rule that can never match, is shadowed by another one, or can never be allowed. A token that is
    limited to namespaces tries the rule on their signals only. They are taken from the newest 50,000 of all."""
    try:
        rule = body.body().rule()
    except ValidationError as error:
        raise invalid(field_errors(error)) from None
    rows = readable(Signal.objects.filter(source=rule.source).defer("payload"), request.auth, None, "namespace")
    if body.cluster:
        rows = rows.filter(cluster=body.cluster)
    newest = Scan(rows, Signal.objects.all(), compares=True).read(body.signals).rows
    return RuleTrialView.of(try_rule(rule, newest))
