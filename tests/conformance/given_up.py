"""A Deployment whose controller has given its rollout up."""

from contextlib import suppress

from tests.kit.client import Client, Object, UnmetError
from tests.kit.patience import PATIENCE

REMINDED_AFTER = 20  # seconds


def progress(found: Object) -> Object:
    """Its condition."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Progressing"), {})


def until_given_up(http: Client, name: str) -> None:
    """Once in a hundred times the controller sleeps through a deadline of a second: any change makes it look again."""
    only = f"metadata.name={name}"
    for reminder in range(int(PATIENCE / REMINDED_AFTER)):
        with suppress(UnmetError):
            http.wait("deployments", _has_given_up, timeoutSeconds=str(REMINDED_AFTER), fieldSelector=only)
            return
        http.patch(f"deployments/{name}", {"metadata": {"labels": {"reminder": str(reminder)}}})
    raise AssertionError("the controller does not give it up")


def _has_given_up(found: Object) -> bool:
    return progress(found).get("reason") == "ProgressDeadlineExceeded"
