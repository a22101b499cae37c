"""One request in, one answer out: verbs, subresources, lists. Synchronous, so each request is atomic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from smartops.sandbox import discovery
from smartops.sandbox.access import Forbids, forbidden, requested, review
from smartops.sandbox.errors import (
    ApiError,
    Cause,
    apply_conflict,
    bad_request,
    conflict,
    invalid_options,
    no_such_path,
    uid_mismatch,
)
from smartops.sandbox.evictions import evict
from smartops.sandbox.fields import known_fields
from smartops.sandbox.managers import conflicts
from smartops.sandbox.objects import Object, Resource, encode
from smartops.sandbox.pages import page
from smartops.sandbox.registry import Registry, Writer
from smartops.sandbox.requests import APPLY_PATCH, JSON, Request, Target, parse
from smartops.sandbox.resources import ACCESS_REVIEW, POD, Kind
from smartops.sandbox.tables import table
from smartops.sandbox.validation import WrongTypeError
from smartops.sandbox.views import scaled, untyped, view

SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(error: ApiError) -> Answer:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return Answer(error.code, encode(error.status()), headers=headers)


class Api:
    def __init__(self, registry: Registry, forbids: Forbids) -> None:
        self.registry, self._forbids = registry, forbids

    def answer(self, request: Request) -> Answer:
        """Refusals are answers too."""
        try:
            target = parse(request.path)
            if target is None:
                return self._document(request)
            self.authorize(request, target)
            return self._verb(request.method, target)(request, target)
        except ApiError as error:
            return refusal(error)
        except WrongTypeError as error:
            return refusal(_undecodable(request, error))

    def authorize(self, request: Request, target: Target) -> None:
        """Raises 403."""
        access = requested(request, target)
        if self._forbids(access):
            raise forbidden(access)

    def _document(self, request: Request) -> Answer:
        document = discovery.document(request.path, request.accept)
        if document is not None:
            content_type, body = document
            return Answer(200, body, content_type)
        if request.path.startswith(("/api/", "/apis/")):
            raise no_such_path()
        return Answer(404, b"404 page not found\n", "text/plain")

    def _verb(self, method: str, target: Target) -> Callable[[Request, Target], Answer]:
        kind, sub = target.kind, target.subresource
        if kind is POD and sub == "log" and method == "GET":
            return self._log
        if kind is POD and sub == "eviction" and method == "POST":
            return self._evict
        if sub and not ((sub == "status" and kind.status) or (sub == "scale" and kind.scale)):
            raise no_such_path()
        if not target.name:
            verbs = {"GET": self._list, "POST": self._create, "DELETE": self._delete_collection}
        else:
            verbs = {"GET": self._get, "PUT": self._replace, "PATCH": self._patch, "DELETE": self._delete}
        if method not in verbs or (sub and method == "DELETE"):
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        return verbs[method]

    def _get(self, request: Request, target: Target) -> Answer:
        return self._show(request, target, self.registry.get(target.kind, target.namespace, target.name))

    def _log(self, _: Request, target: Target) -> Answer:
        self.registry.get(target.kind, target.namespace, target.name)
        return Answer(200, b"This is a sandbox: its pods run no containers, so they log nothing.\n", "text/plain")

    def _evict(self, request: Request, target: Target) -> Answer:
        eviction = request.document()
        if eviction.get("kind", "Eviction") != "Eviction":
            raise bad_request(f"{eviction['kind']} in {eviction.get('apiVersion')} cannot be handled as an Eviction")
        if (eviction.get("metadata") or {}).get("name") != target.name:
            raise bad_request("name in URL does not match name in Eviction object")
        pod = self.registry.get(POD, target.namespace, target.name)
        evict(self.registry, pod, eviction.get("deleteOptions") or {}, dry_run=request.dry_run)
        return Answer(201, encode(SUCCESS | {"code": 201}))

    def _list(self, request: Request, target: Target) -> Answer:
        kind, listed = target.kind, page(self.registry.store, request, target)
        if request.wants_table:
            whole = request.query.get("includeObject") == "Object"
            return Answer(200, encode(table(kind, listed.items, listed.metadata, whole=whole)))
        head = encode({"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": listed.metadata})
        return Answer(200, head[:-1] + b',"items":[' + b",".join(obj.encoded for obj in listed.items) + b"]}")

    def _create(self, request: Request, target: Target) -> Answer:
        kind, body = target.kind, request.document()
        if not kind.describes({"kind": kind.name, "apiVersion": kind.api_version} | body):
            raise bad_request(f"{body.get('kind')} in {body.get('apiVersion')} is no {kind.name} of {kind.api_version}")
        if kind is ACCESS_REVIEW:
            return Answer(201, encode(review(body, self._forbids)))
        if kind.namespaced and not target.namespace:
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        new = untyped(_decoded(request, kind, body))
        stored = self.registry.create(kind, target.namespace, new, writer=_writer(request), dry_run=request.dry_run)
        return self._show(request, target, stored, status=201)

    def _replace(self, request: Request, target: Target) -> Answer:
        old = self.registry.get(target.kind, target.namespace, target.name)
        new = _decoded(request, target.kind, request.document())
        metadata = new.get("metadata")
        uid = (metadata.get("uid") if isinstance(metadata, dict) else None) or old.uid
        if uid != old.uid:
            raise conflict(target.kind, old.name, uid_mismatch(uid, old.uid))
        return self._write(request, target, old, new)

    def _patch(self, request: Request, target: Target) -> Answer:
        change = request.patch()
        applies = request.content_type == APPLY_PATCH
        if applies and "fieldManager" not in request.query:
            required = "Required value: is required for apply patch"
            raise invalid_options("PatchOptions", Cause("fieldManager", "FieldValueRequired", required))
        if applies and self.registry.store.get(target.kind, target.namespace, target.name) is None:
            return self._create(request, target)
        old = self.registry.get(target.kind, target.namespace, target.name)
        shown = view(target, old)
        new = _decoded(request, target.kind, change(shown))
        forced = not applies or request.query.get("force") in ("1", "true")
        if not forced and (found := list(conflicts(shown, new, request.manager))):
            raise apply_conflict(found)
        if (new.get("kind"), new.get("apiVersion")) != (shown["kind"], shown["apiVersion"]):
            if applies:
                raise bad_request(f"invalid object type: {new.get('apiVersion')}, Kind={new.get('kind')}")
            raise WrongTypeError(f"{new.get('kind')} of {new.get('apiVersion')} is no {shown['kind']}")
        return self._write(request, target, old, new)

    def _write(self, request: Request, target: Target, old: Resource, new: Object) -> Answer:
        if target.subresource == "scale":
            new = scaled(target.kind, old, new)
        stored = self.registry.update(
            target.kind,
            old,
            untyped(new),
            subresource=target.subresource,
            writer=_writer(request),
            dry_run=request.dry_run,
        )
        return self._show(request, target, stored)

    def _delete(self, request: Request, target: Target) -> Answer:
        obj = self.registry.get(target.kind, target.namespace, target.name)
        options = request.document() if request.body else {}
        dry_run = request.dry_run or "All" in (options.get("dryRun") or ())
        for name in ("propagationPolicy", "gracePeriodSeconds"):
            if name in request.query:
                options[name] = request.number(name) if name == "gracePeriodSeconds" else request.query[name]
        left = self.registry.delete(target.kind, obj, options, dry_run=dry_run)
        if left is not None:
            return self._show(request, target, left)
        details = {"name": obj.name, "group": target.kind.group, "kind": target.kind.plural, "uid": obj.uid}
        return Answer(200, encode(SUCCESS | {"details": details}))

    def _delete_collection(self, request: Request, target: Target) -> Answer:
        options = request.document() if request.body else {}
        selects = request.selects(target)
        for obj in self.registry.store.objects(target.kind, target.namespace):
            if selects(obj):
                self.registry.delete(target.kind, obj, options, dry_run=request.dry_run)
        return Answer(200, encode(SUCCESS))

    def _show(self, request: Request, target: Target, obj: Object, status: int = 200) -> Answer:
        if request.wants_table:
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            whole = request.query.get("includeObject") == "Object"
            return Answer(status, encode(table(target.kind, [obj], metadata, whole=whole)))
        return Answer(status, encode(view(target, obj)))


def _undecodable(request: Request, error: WrongTypeError) -> ApiError:
    """A body that does not decode is a bad request; a patch whose outcome does not decode is invalid."""
    if request.method != "PATCH":
        return bad_request(f"the object provided cannot be handled: {error}")
    cause = Cause("patch", "FieldValueInvalid", f"Invalid value: {request.body.decode(errors='replace')}: {error}")
    return ApiError(422, "Invalid", f'"" is invalid: patch: {cause.message}', causes=[cause])


def _decoded(request: Request, kind: Kind, document: Object) -> Object:
    """Without the fields that its type does not have; raises WrongTypeError where the client wants to be told."""
    known, unknown = known_fields(kind, document)
    if unknown and request.query.get("fieldValidation") == "Strict":
        raise WrongTypeError("strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in unknown))
    return known


def _writer(request: Request) -> Writer:
    return Writer(request.manager, untyped(request.document()) if request.content_type == APPLY_PATCH else None)
