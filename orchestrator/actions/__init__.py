"""One remediation, one module: `plan` makes an absolute change of a proposal and the live object, `apply` writes it."""

from types import ModuleType

from orchestrator.actions import patch, restart, scale
from signals.types import ActionType

HANDLERS: dict[ActionType, ModuleType] = {
    ActionType.SCALE: scale,
    ActionType.RESTART: restart,
    ActionType.PATCH: patch,
}
