"""Lists in pages. Each page is as of the first one's version, as long as the history reaches that far."""

import base64
import binascii
import json
from dataclasses import dataclass

from smartops.sandbox.errors import bad_request, too_late
from smartops.sandbox.objects import Object, Resource, encode
from smartops.sandbox.requests import Request, Target
from smartops.sandbox.store import Store

AS_IT_IS_NOW = -1  # for a version, in the token that an expired one is answered with


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Resource]
    metadata: Object


def page(store: Store, request: Request, target: Target) -> Page:
    """Raises 400, and 410 where the continue token is too old."""
    selects, limit, token = request.selects(target), request.number("limit"), request.query.get("continue", "")
    request.number("resourceVersion")  # any will do: the first page is always the present one
    version, after = _decoded(token) if token else (AS_IT_IS_NOW, ["", ""])
    if version == AS_IT_IS_NOW:
        version = store.version
    elif version < store.oldest(target.kind):
        raise too_late(_encoded(AS_IT_IS_NOW, after))
    listed = store.objects_at(version, target.kind, target.namespace)
    found = [obj for obj in listed if [obj.namespace, obj.name] > after and selects(obj)]
    metadata: Object = {"resourceVersion": str(version)}
    if limit and len(found) > limit:
        if not {"labelSelector", "fieldSelector"} & request.query.keys():
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
        metadata["continue"] = _encoded(version, [found[-1].namespace, found[-1].name])
    return Page(found, metadata)


def _encoded(version: int, last: list[str]) -> str:
    return base64.urlsafe_b64encode(encode([version, last])).decode()


def _decoded(token: str) -> tuple[int, list[str]]:
    try:
        version, last = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error) as error:
        raise bad_request("continue key is not valid") from error
    return version, last
