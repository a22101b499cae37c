"""Authorization: every request is allowed unless a `Forbid` fault matches it. The messages are those of RBAC."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from smartops.dev.sandbox.errors import ApiError, Cause
from smartops.dev.sandbox.objects import Object
from smartops.dev.sandbox.requests import Request, Target
from smartops.dev.sandbox.resources import ACCESS_REVIEW

USER = "sandbox"
ONE = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "WATCH": "watch"}
MANY = {**ONE, "GET": "list", "DELETE": "deletecollection"}


@dataclass(frozen=True, slots=True)
class Access:
    """`resource` includes the subresource (`deployments/scale`). An empty namespace: all namespaces, or a
    cluster-scoped resource."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""


Forbids: TypeAlias = Callable[[Access], bool]


def requested(request: Request, target: Target) -> Access:
    """The access that the request needs."""
    kind = target.kind
    verb = (ONE if target.name else MANY).get(request.verb, request.verb.lower())
    resource = f"{kind.plural}/{target.subresource}" if target.subresource else kind.plural
    return Access(verb, kind.group, resource, target.namespace, target.name)


def forbidden(access: Access) -> ApiError:
    resource = access.resource.partition("/")[0]
    subject = f"{resource}.{access.group}" if access.group else resource
    subject += f' "{access.name}"' if access.name else ""
    where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{USER}" cannot {access.verb} resource "{access.resource}"'
        f' in API group "{access.group}" {where}'
    )
    return ApiError(403, "Forbidden", message, subject=(access.group, resource), name=access.name)


def review(document: Object, forbids: Forbids) -> Object:
    """The SelfSubjectAccessReview with its result. Raises 422 if its spec is not valid."""
    spec = document.get("spec") or {}
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (asked is None) == (path is None):
        why = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _refusal(Cause("spec", "FieldValueInvalid", why))
    if document.get("metadata"):
        raise _refusal(Cause("metadata", "FieldValueInvalid", "Invalid value: must be empty"))
    allowed = asked is None or not forbids(_asked(asked))
    shown = {"kind": ACCESS_REVIEW.name, "apiVersion": ACCESS_REVIEW.api_version, "metadata": {}}
    return {**shown, **document, "status": {"allowed": allowed}}


def _refusal(cause: Cause) -> ApiError:
    message = f'.{ACCESS_REVIEW.group} "" is invalid: {cause.field}: {cause.message}'
    return ApiError(422, "Invalid", message, subject=(ACCESS_REVIEW.group, ""), causes=[cause])


def _asked(attributes: Object) -> Access:
    resource, sub = attributes.get("resource", ""), attributes.get("subresource")
    given = {name: attributes.get(name, "") for name in ("verb", "group", "namespace", "name")}
    return Access(resource=f"{resource}/{sub}" if sub else resource, **given)
