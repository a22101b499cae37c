"""RESTART: replaces all pods, by a new value of an annotation of the pod template.

Parameters `{}`; change `{"value": id}`.
"""

from typing import Any

from signals.proposals.images import Images, Irreversible
from signals.proposals.types import Before, Change, Params

RESTART_ANNOTATION = "smartops.io/restart"  # of the pod template: a new value replaces all pods
FIELD = f'spec.template.metadata.annotations["{RESTART_ANNOTATION}"]'

event = "Restarted"
nouns = ("restart", "restarts")


def problem(params: Any) -> str:
    return "" if params == {} else "RESTART takes no parameters: {}."


def refusal(params: Any, prefixes: tuple[str, ...] = (), containers: tuple[str, ...] | None = None) -> str:
    return ""


def fields(params: Params) -> tuple[str, ...]:
    return (FIELD,)


def replicas(params: Params, current: int | None) -> int | None:
    return None


def waits_for_pods(params: Params) -> bool:
    return True


def describe(params: Params) -> str:
    return "Restart all pods"


def done(before: Before, change: Change) -> str:
    return "Restarted all pods"


def patch(change: Change) -> Params:
    return {"spec": {"template": {"metadata": {"annotations": {RESTART_ANNOTATION: change["value"]}}}}}


def repeated(params: Params, change: Change) -> Params:
    return params


def inverse(change: Change, images: Images) -> Params | Irreversible:
    return Irreversible("A restart has replaced the pods. The former annotation would only replace them again.")
