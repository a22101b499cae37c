"""The acting half of each action type, one module each; signals/proposals has the pure half."""

from collections.abc import Mapping

from orchestrator.actions import patch, restart, scale
from orchestrator.actions.types import ActionHandler
from signals.types import ActionType

HANDLERS: Mapping[ActionType, ActionHandler] = {
    ActionType.SCALE: scale,
    ActionType.RESTART: restart,
    ActionType.PATCH: patch,
}
