"""What a rule may ask of the signals of a source: a symptom or a threshold that none of them has would never match."""

from typing import get_args

from pydantic import TypeAdapter, ValidationError

from signals.names import Cause
from signals.sources.anomaly import AnomalySignal
from signals.types import Source

ANOMALY_TYPES: tuple[str, ...] = get_args(AnomalySignal.model_fields["type"].annotation)
THRESHOLDS = {Source.ANOMALY: ("min_score",), Source.RCA: ("min_probability", "min_confidence")}
_CAUSE = TypeAdapter[str](Cause)


def symptom_problem(source: Source, symptom: str) -> str:
    """Empty if a signal of the source can have this symptom."""
    if source is Source.ANOMALY:
        known = ", ".join(ANOMALY_TYPES)
        return "" if symptom in ANOMALY_TYPES else f"No anomaly has this type. The types are {known}."
    try:
        stored = _CAUSE.validate_python(symptom)
    except ValidationError:
        return "It is a text of 1 to 128 characters without control characters."
    return "" if stored == symptom else "A cause has no spaces around it."
