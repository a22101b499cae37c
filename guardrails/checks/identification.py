"""Which workload does the signal mean?"""

from datetime import datetime
from typing import Any

from guardrails.checks.answers import RECHECK
from guardrails.types import Deferral, Denial, Verdict
from signals.identity import Identified, identify
from signals.reasons import Reason
from signals.types import Naming

MAX_UNIDENTIFIED = 500  # signals of one token that wait for a workload


def identification(naming: Naming, now: datetime) -> Verdict:
    """Protects workloads that the detector does not mean: a name stands for exactly one workload, or to none. It
    is tried again when a workload or an alias appears. The signal expires as others do.

    Closed loop: defer; deny where too many of the same token wait. Direct action: not evaluated, as it names a
    workload.
    """
    name, facts = "identification", naming.facts
    found = identify(naming.named, facts)
    if isinstance(found, Identified):
        target = found.target
        return Verdict(name, found.path, {"named": str(naming.named), "how": found.how, "target": target.with_kind})
    details: dict[str, Any] = {"named": str(naming.named), "nearest": list(facts.nearest)}
    similar = f" Similar names: {', '.join(facts.nearest)}." if facts.nearest else ""
    message = f"{found.message}{similar} To say which workload it is, add an alias in the console, or in the admin."
    if facts.waiting >= MAX_UNIDENTIFIED:
        message += f" {facts.waiting} unidentified signals of the same token wait already, so this one does not."
        details |= {"value": facts.waiting, "limit": MAX_UNIDENTIFIED}
        return Denial(name, message, details, reason=Reason.TOO_MANY_UNIDENTIFIED)
    return Deferral(name, message, details, reason=Reason.TARGET_UNIDENTIFIED, until=now + RECHECK)
