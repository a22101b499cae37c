"""What a scene says: its steps, and the references in them to earlier answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.kit.client import APPLY, JSON, JSON_PATCH, MERGE, STRATEGIC, Object

HERE = Path(__file__).parent
SCENES = sorted((HERE / "scenes").glob("*.yaml"))
OBJECTS: Object = yaml.safe_load((HERE / "objects.yaml").read_text())  # what bodies refer to
TYPES = {"json": JSON, "merge": MERGE, "strategic": STRATEGIC, "json-patch": JSON_PATCH, "apply": APPLY}
_REFERENCE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request and what is looked at in its answer."""

    do: str  # "PATCH deployments/web?dryRun=All"; what does not begin with a slash is of the scene's namespace
    body: Any = None  # text is sent as it is
    type: str = "json"  # one of TYPES, or any other media type
    edit: Mapping[str, Any] = field(default_factory=dict)  # members of the body to set: {"spec.replicas": 3}
    keep: str = ""  # a name for the answer: ${name.metadata.uid} then refers to it
    show: tuple[str, ...] = ()  # members of the answer whose values matter
    until: Mapping[str, Any] = field(default_factory=dict)  # ask again until the answer has these
    events: int = 0  # of a watch: how many to read

    @property
    def method(self) -> str:
        return self.do.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.do.partition(" ")[2]

    @property
    def content_type(self) -> str:
        return TYPES.get(self.type, self.type)


def steps(scene: Path) -> list[Step]:
    """The members beside `steps` only hold what anchors refer to."""
    document = yaml.load(scene.read_text(), yaml.CSafeLoader)
    return [Step(**{**step, "show": tuple(step.get("show", ()))}) for step in document["steps"]]


def resolved(value: Any, answers: Mapping[str, Any]) -> Any:
    """The value with its references replaced; a text that is one reference becomes what that refers to."""
    if isinstance(value, dict):
        return {key: resolved(inner, answers) for key, inner in value.items()}
    if isinstance(value, list):
        return [resolved(inner, answers) for inner in value]
    if not isinstance(value, str):
        return value
    if whole := _REFERENCE.fullmatch(value):
        return member(answers, whole[1])
    return _REFERENCE.sub(lambda found: str(member(answers, found[1])), value)


def member(value: Any, path: str) -> Any:
    """The member at a dotted path, None where there is none; items of lists are numbered."""
    for step in path.split("."):
        if isinstance(value, list):
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def edited(value: Any, edits: Mapping[str, Any]) -> Any:
    """The value with other members; null removes one."""
    for path, new in edits.items():
        value = _edited(value, path.split("."), new)
    return value


def _edited(value: Any, path: list[str], new: Any) -> Any:
    name, *rest = path
    inner = _edited(value.get(name, {}), rest, new) if rest else new
    return {key: each for key, each in value.items() if key != name} | ({} if inner is None else {name: inner})
