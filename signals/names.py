"""The names that Kubernetes accepts (DNS-1123), as field types. A name that passes reaches PostgreSQL, the API server
and the metrics as it is."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from signals.types import Kind

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_LABEL}$", examples=["smartops-dev"])]
WorkloadName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=f"^{_SUBDOMAIN}$", examples=["erp-simulator"])
]
ClusterName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_SUBDOMAIN}$")]


def _kind(value: Any) -> Kind:
    if isinstance(value, str) and value in set(Kind):
        return Kind(value)
    *first, last = Kind
    raise PydanticCustomError("kind", "{message}", {"message": f"Input should be {', '.join(first)} or {last}"})


WorkloadKind = Annotated[Kind, BeforeValidator(_kind)]

# No control characters: fingerprints use one as a separator.
_PRINTABLE = "[^\\u0000-\\u001f\\u007f-\\u009f]*"
Text = Annotated[str, Field(pattern=f"^{_PRINTABLE}$")]
Cause = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=128,
        pattern=rf"^{_PRINTABLE}[^\s\u0000-\u001f\u007f-\u009f]{_PRINTABLE}$",
    ),
]

# The name that a detector uses for its target: it need not be one of Kubernetes. Invisible characters would make two
# names that look alike different.
_VISIBLE = "[^\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]*"
SubjectName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=253, pattern=f"^{_VISIBLE}$"),
    Field(examples=["erp-simulator"]),
]


def is_workload_name(name: str) -> bool:
    return len(name) <= 253 and re.fullmatch(_SUBDOMAIN, name) is not None


_KINDS = {
    "deployment",
    "deployments",
    "deploy",
    "deployment.apps",
    "deployments.apps",
    "statefulset",
    "daemonset",
    "pod",
    "service",
}
_RULE = "Names have lower-case letters, digits and hyphens, and begin and end with a letter or a digit"


def name_problems(*, cluster: str = "", namespace: str = "", workload: str = "") -> dict[str, str]:
    """By field: why no object can have the name, and what to write instead. An empty name stands for all."""
    found = {
        "cluster": _problem(cluster, 63, _SUBDOMAIN),
        "namespace": _problem(namespace, 63, _LABEL),
        "workload": _problem(workload, 253, _SUBDOMAIN),
    }
    return {field: problem for field, problem in found.items() if problem}


def _problem(name: str, longest: int, pattern: str) -> str:
    if not name or (len(name) <= longest and re.fullmatch(pattern, name)):
        return ""
    if len(name) > longest:
        return f"A name has at most {longest} characters; this one has {len(name)}."
    if name == "*":
        return "Leave the field empty to cover all: * is not a name."
    before, slash, last = name.rpartition("/")
    if slash and re.fullmatch(pattern, last):
        what = "the kind" if before.lower() in _KINDS else "the namespace"
        return f"Write “{last}”, without {what} “{before}”."
    lower = name.lower()
    if re.fullmatch(pattern, lower):
        return f"Kubernetes names have no upper-case letters. Write “{lower}”."
    dots = ", and dots between them" if pattern == _SUBDOMAIN else ""
    return f"Kubernetes does not accept this name. {_RULE}{dots}."
