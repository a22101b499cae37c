"""Read queries that the API and the console share."""

from django.db.models import Q, QuerySet

from orchestrator.models import Action, DecisionRecord


def actions() -> QuerySet[Action]:
    """Actions with their workload and verification, in one query."""
    return Action.objects.select_related("workload", "verification")


def actions_of_signals() -> QuerySet[Action]:
    """To prefetch those of a list of signals, newest first. A query of its own reads the verifications of these actions
    alone: joined, PostgreSQL may read those of all months."""
    return Action.objects.select_related("workload").prefetch_related("verification").order_by("-pk")


def decisions(about: Q) -> QuerySet[DecisionRecord]:
    """Decisions, oldest first, without their inputs, which are large and only needed for a replay."""
    return DecisionRecord.objects.filter(about).defer("inputs").order_by("pk")
