"""The names that Kubernetes accepts (DNS-1123), as field types. A name that passes reaches PostgreSQL, the API server
and the metrics as it is."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from signals import patterns
from signals.invisible import invisible_problem
from signals.types import Kind

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_LABEL}$", examples=["smartops-dev"])]
WorkloadName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=f"^{_SUBDOMAIN}$", examples=["erp-simulator"])
]
ClusterName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_SUBDOMAIN}$")]


def kind_of(value: Any) -> Kind:
    if isinstance(value, str) and value in set(Kind):
        return Kind(value)
    *first, last = Kind
    message = f"Input should be {', '.join(first)} or {last}"
    if isinstance(value, str) and (meant := KINDS_OF_KUBECTL.get(value.strip().lower())):
        message += f". Write {meant}"
    raise PydanticCustomError("kind", "{message}", {"message": message})


WorkloadKind = Annotated[Kind, BeforeValidator(kind_of)]

MAX_SYMPTOM = 128  # characters
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # fingerprints use one as a separator
PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"


def _printable(text: str) -> str:
    if found := _CONTROL.search(text):
        message = f"Input should have no control characters; character {found.start() + 1} is U+{ord(found[0]):04X}"
        raise PydanticCustomError("control_character", "{message}", {"message": message})
    return text


Text = Annotated[str, AfterValidator(_printable), Field(json_schema_extra={"pattern": PRINTABLE})]


def _visible(text: str) -> str:
    if problem := invisible_problem(text):
        raise PydanticCustomError("invisible", "{message}", {"message": problem})
    return text


VISIBLE = AfterValidator(_visible)
Cause = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SYMPTOM), VISIBLE]
# The name that a detector uses for its target: it need not be one of Kubernetes.
MAX_SUBJECT = 253  # characters
SubjectName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_SUBJECT),
    VISIBLE,
    Field(examples=["erp-simulator"]),
]


def is_namespace(name: str) -> bool:
    return len(name) <= 63 and re.fullmatch(_LABEL, name) is not None


def is_workload_name(name: str) -> bool:
    return len(name) <= 253 and re.fullmatch(_SUBDOMAIN, name) is not None


# As kubectl takes them, in small letters: names and short names of a kind, with its API group or without.
_SHORT = {Kind.DEPLOYMENT: "deploy", Kind.STATEFUL_SET: "sts", Kind.DAEMON_SET: "ds"}
KINDS_OF_KUBECTL = {
    f"{name}{group}": kind
    for kind, short in _SHORT.items()
    for name in (kind.lower(), f"{kind.lower()}s", short)
    for group in ("", ".apps")
}
_OTHER_KINDS = {"pod", "pods", "po", "service", "services", "svc", "replicaset", "replicasets", "rs"}
_RULE = "Names have lower-case letters, digits and hyphens, and begin and end with a letter or a digit"


def name_problems(*, cluster: str = "", namespace: str = "", workload: str = "") -> dict[str, str]:
    """By field: why no object can have the name, and what to write instead. An empty name stands for all."""
    found = {
        "cluster": _problem(cluster, 63, _SUBDOMAIN),
        "namespace": _problem(namespace, 63, _LABEL),
        "workload": _problem(workload, 253, _SUBDOMAIN),
    }
    return {field: problem for field, problem in found.items() if problem}


def is_pattern(text: str) -> bool:
    """Whether a rule's namespace or workload is a pattern: no name has any of its other characters."""
    return re.search("[^a-z0-9.-]", text) is not None


def name_matches(wanted: str, name: str) -> bool:
    """Whether a name meets what a rule says of it: nothing, a name, or a pattern for the whole name."""
    return wanted in ("", name) or (is_pattern(wanted) and patterns.matches(wanted, name))


def pattern_problems(**wanted: str) -> dict[str, str]:
    """By field (namespace, workload): why it is neither a name nor a pattern, and what to write instead."""
    found = name_problems(**{field: text for field, text in wanted.items() if not _means_a_pattern(text)})
    for field, text in wanted.items():
        if _means_a_pattern(text) and (problem := _pattern_problem(text)):
            found[field] = problem
    return found


def _means_a_pattern(text: str) -> bool:
    return text != "*" and re.search(r"[^\w./\s-]", text) is not None


def _pattern_problem(text: str) -> str:
    if glob := re.search(r"(?<![.)\]}\\])[*]", text):
        meant = re.sub(r"(?<![.)\]}\\])[*]", ".*", text)
        before = text[: glob.start()][-1:]
        why = f"repeats the “{before}”" if before else "repeats nothing"
        return f"A pattern is a regular expression, in which * {why}. For any characters, write “{meant}”."
    if re.search("[A-Z]", re.sub(r"\\.|\(\?[a-zA-Z]+|\[\[:.*?:\]", "", text)):
        return "Kubernetes names have no upper-case letters: the pattern matches none of them."
    return patterns.pattern_problem(text)


def _problem(name: str, longest: int, pattern: str) -> str:
    if not name or (len(name) <= longest and re.fullmatch(pattern, name)):
        return ""
    if len(name) > longest:
        return f"A name has at most {longest} characters; this one has {len(name)}."
    if name == "*":
        return "Leave the field empty to cover all: * is not a name."
    before, slash, last = name.rpartition("/")
    if slash and re.fullmatch(pattern, last):
        what = "the kind" if before.lower() in {*KINDS_OF_KUBECTL, *_OTHER_KINDS} else "the namespace"
        return f"Write “{last}”, without {what} “{before}”."
    lower = name.lower()
    if re.fullmatch(pattern, lower):
        return f"Kubernetes names have no upper-case letters. Write “{lower}”."
    dots = ", and dots between them" if pattern == _SUBDOMAIN else ""
    return f"Kubernetes does not accept this name. {_RULE}{dots}."
