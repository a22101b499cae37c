"""Lists: selection, resourceVersion and pages."""

import base64
import binascii
import json
from dataclasses import dataclass

from smartops.dev.sandbox.errors import ApiError, bad_request, from_the_future, too_late
from smartops.dev.sandbox.objects import Object, Resource, encode
from smartops.dev.sandbox.requests import Request, Target
from smartops.dev.sandbox.resources import Kind
from smartops.dev.sandbox.store import Store
from smartops.dev.sandbox.tables import table

AS_IT_IS_NOW = -1  # for a version, in the token that an expired one is answered with
FIRST = ["", ""]  # sorts before every object


@dataclass(frozen=True, slots=True)
class Page:
    kind: Kind
    items: list[Resource]
    metadata: Object

    def encoded(self, request: Request) -> bytes:
        """A List or a Table, as the request accepts."""
        if request.wants_table:
            return encode(table(self.kind, self.items, self.metadata, whole=request.wants_objects))
        head = {"kind": f"{self.kind.name}List", "apiVersion": self.kind.api_version, "metadata": self.metadata}
        return encode(head)[:-1] + b',"items":[' + b",".join(obj.encoded for obj in self.items) + b"]}"


def page(store: Store, request: Request, target: Target) -> Page:
    """All pages of a list have one resourceVersion. Raises 400 for an invalid version or token, 410 if it is too old,
    504 if it is in the future."""
    selects, limit, token = request.selects(target), request.number("limit"), request.query.get("continue", "")
    version, after = _continued(request, token) if token else (_begun(store, request), FIRST)
    version = store.version if version == AS_IT_IS_NOW else version
    try:
        listed = store.objects_at(version, target.kind, target.namespace)
    except ApiError as expired:
        raise (too_late(_encoded(AS_IT_IS_NOW, after)) if token else expired) from expired
    found = [obj for obj in listed if [obj.namespace, obj.name] > after and selects(obj)]
    metadata: Object = {"resourceVersion": str(version)}
    if 0 < limit < len(found):
        if not request.selective:
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
        metadata["continue"] = _encoded(version, [found[-1].namespace, found[-1].name])
    return Page(target.kind, found, metadata)


def _begun(store: Store, request: Request) -> int:
    """The version of the first page: the requested one for an exact match, else the current one."""
    match, version = request.query.get("resourceVersionMatch"), request.number("resourceVersion")
    if version > store.version:
        raise from_the_future(version, store.version)
    exact = match == "Exact" or (version and not match and request.number("limit"))
    return version if exact else AS_IT_IS_NOW


def _continued(request: Request, token: str) -> tuple[int, list[str]]:
    """The version of the previous pages, and their last object."""
    if request.number("resourceVersion"):
        raise bad_request("specifying resource version is not allowed when using continue")
    try:
        version, last = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error) as error:
        raise bad_request("continue key is not valid") from error
    return version, last


def _encoded(version: int, last: list[str]) -> str:
    return base64.urlsafe_b64encode(encode([version, last])).decode()
