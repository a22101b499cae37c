"""One remediation, one module: `plan` makes an absolute change of a proposal and the live object, `apply` writes it,
`fields` names what it changes (as orchestrator/k8s/fields.py spells paths)."""

from types import ModuleType

from orchestrator.actions import patch, restart, scale
from signals.types import ActionType

HANDLERS: dict[ActionType, ModuleType] = {
    ActionType.SCALE: scale,
    ActionType.RESTART: restart,
    ActionType.PATCH: patch,
}
