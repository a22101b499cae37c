"""Read queries that the API and the console share."""

from django.db.models import Q, QuerySet

from orchestrator.models import Action, DecisionRecord


def actions() -> QuerySet[Action]:
    """Actions with their workload and verification, in one query."""
    return Action.objects.select_related("workload", "verification")


def decisions(about: Q) -> QuerySet[DecisionRecord]:
    """Decisions, oldest first, without their inputs, which are large and only needed for a replay."""
    return DecisionRecord.objects.filter(about).defer("inputs").order_by("pk")
