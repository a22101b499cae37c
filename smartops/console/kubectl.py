"""The command that makes the same change by hand. Pure."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType, Target


def command(type_: ActionType, target: Target, change: Mapping[str, Any], dry_run: bool = False) -> str:
    """`change`: what was planned, in absolute terms."""
    place = ["kubectl", "--namespace", target.namespace]
    workload = f"{target.kind.lower()}/{target.name}"
    match type_:
        case ActionType.SCALE:
            words = ["scale", workload, f"--replicas={change['replicas']}"]
        case ActionType.RESTART if not dry_run:
            words = ["rollout", "restart", workload]
        case _:
            patch = json.dumps(PROPOSAL_TYPES[type_].patch(change), separators=(",", ":"))
            words = ["patch", workload, "--type=strategic", f"--patch={patch}"]
    return shlex.join([*place, *words, *(["--dry-run=server"] if dry_run else [])])
