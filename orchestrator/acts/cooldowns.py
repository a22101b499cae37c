"""Clear a cooldown: the closed loop may repeat the type of action on the workload at once."""

from datetime import datetime

from guardrails.models import Cooldown
from orchestrator.acts.types import Done, NotDone, Outcome, WhyNot, too_long
from signals.actors import Actor
from signals.lib.acting import acting


def clear_cooldown(pk: int, until: datetime, by: Actor, reason: str = "") -> Outcome:
    """`until`: the end that the person has seen. A cooldown that has begun again since is that of another action."""
    if (long := too_long(reason)) is not None:
        return long
    with acting(by, reason=reason):
        deleted, _ = Cooldown.objects.filter(pk=pk, until=until).delete()
    if deleted:
        return Done("The cooldown is cleared. The signals that waited for it are decided on now.")
    row = Cooldown.objects.filter(pk=pk).first()
    if row is None:
        return NotDone(WhyNot.GONE, "The cooldown has been cleared already.")
    return NotDone(WhyNot.CHANGED, f"Another action has begun the cooldown again: {row}. Nothing was changed.")
