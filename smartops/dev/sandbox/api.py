"""Handles one request: verbs and subresources. It is synchronous, so each request is atomic."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from smartops.dev.sandbox import discovery
from smartops.dev.sandbox.access import Forbids, forbidden, requested, review
from smartops.dev.sandbox.errors import (
    ApiError,
    Cause,
    bad_request,
    conflict,
    from_the_future,
    method_not_allowed,
    no_such_path,
    uid_mismatch,
)
from smartops.dev.sandbox.evictions import evict
from smartops.dev.sandbox.objects import Object, Resource, encode
from smartops.dev.sandbox.options import refuse_deletion
from smartops.dev.sandbox.pages import page
from smartops.dev.sandbox.registry import Registry, Writer
from smartops.dev.sandbox.requests import JSON, Request, Target, parse
from smartops.dev.sandbox.resources import ACCESS_REVIEW, DELETE_OPTIONS, EVICTION, POD, Kind
from smartops.dev.sandbox.schema import WrongTypeError, decoded
from smartops.dev.sandbox.tables import table
from smartops.dev.sandbox.views import scaled, untyped, view

SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


Verb: TypeAlias = Callable[[Request, Target], Answer]


def refusal(error: ApiError) -> Answer:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else {}
    return Answer(error.code, encode(error.status()), headers=headers)


class Api:
    def __init__(self, registry: Registry, forbids: Forbids) -> None:
        self.registry, self._forbids = registry, forbids

    def answer(self, request: Request) -> Answer:
        """Returns the response; an ApiError becomes a Status."""
        try:
            target = parse(request.path)
            if target is None:
                return self._document(request)
            self.authorize(request, target)
            verb = self._verbs(target).get(request.method)
            if verb is None:
                raise method_not_allowed()
            request.refuse_options()
            return verb(request, target)
        except ApiError as error:
            return refusal(error)
        except WrongTypeError as error:
            return refusal(_undecodable(request, error))

    def authorize(self, request: Request, target: Target) -> None:
        """Raises 403 if the access is forbidden."""
        access = requested(request, target)
        if self._forbids(access):
            raise forbidden(access)

    def _document(self, request: Request) -> Answer:
        document = discovery.document(request.path, request.accept)
        if document is not None:
            if request.method != "GET":
                raise method_not_allowed()
            content_type, body = document
            return Answer(200, body, content_type)
        if discovery.serves_group_of(request.path):
            raise no_such_path()
        return Answer(404, b"404 page not found\n", "text/plain")

    def _verbs(self, target: Target) -> Mapping[str, Verb]:
        kind = target.kind
        match target.subresource:
            case "" if kind is ACCESS_REVIEW and not target.name:
                return {"POST": self._review}
            case "" if target.name and kind is not ACCESS_REVIEW:
                return {"GET": self._get, "PUT": self._replace, "PATCH": self._patch, "DELETE": self._delete}
            case "" if kind.namespaced and not target.namespace:
                return {"GET": self._list}
            case "" if not target.name:
                return {"GET": self._list, "POST": self._create, "DELETE": self._delete_collection}
            case "log" if kind is POD:
                return {"GET": self._log}
            case "eviction" if kind is POD:
                return {"POST": self._evict}
            case "status" | "scale" as view if getattr(kind, view):
                return {"GET": self._get, "PUT": self._replace, "PATCH": self._patch}
        raise no_such_path()

    def _get(self, request: Request, target: Target) -> Answer:
        version, present = request.query.get("resourceVersion") or "0", self.registry.store.version
        if not version.isdecimal():
            raise ApiError(500, "", f'resourceVersion: Invalid value: "{version}"')  # sic
        if int(version) > present:
            raise from_the_future(int(version), present)
        return self._show(request, target, self.registry.get(target.kind, target.namespace, target.name))

    def _list(self, request: Request, target: Target) -> Answer:
        return Answer(200, page(self.registry.store, request, target).encoded(request))

    def _log(self, _: Request, target: Target) -> Answer:
        self.registry.get(target.kind, target.namespace, target.name)
        return Answer(200, b"This is a sandbox: its pods run no containers, so they log nothing.\n", "text/plain")

    def _review(self, request: Request, _: Target) -> Answer:
        return Answer(201, encode(review(_object(request, ACCESS_REVIEW), self._forbids)))

    def _evict(self, request: Request, target: Target) -> Answer:
        eviction = _object(request, EVICTION)
        if (eviction.get("metadata") or {}).get("name") != target.name:
            raise bad_request("name in URL does not match name in Eviction object")
        pod = self.registry.get(POD, target.namespace, target.name)
        options = (eviction.get("deleteOptions") or {}) | ({"dryRun": ["All"]} if request.dry_run else {})
        evict(self.registry, pod, options)
        return Answer(201, encode(SUCCESS | {"code": 201}))

    def _create(self, request: Request, target: Target) -> Answer:
        new = untyped(_object(request, target.kind))
        writer, dry_run = _writer(request), request.dry_run
        stored = self.registry.create(target.kind, target.namespace, new, writer=writer, dry_run=dry_run)
        return self._show(request, target, stored, status=201)

    def _replace(self, request: Request, target: Target) -> Answer:
        new = _object(request, target.shown)
        old = self.registry.get(target.kind, target.namespace, target.name)
        uid = (new.get("metadata") or {}).get("uid") or old.uid
        if uid != old.uid:
            raise conflict(target.kind, old.name, uid_mismatch(uid, old.uid))
        return self._write(request, target, old, new)

    def _patch(self, request: Request, target: Target) -> Answer:
        change = request.patch()
        if request.applies and not target.shown.describes(request.document()):
            raise bad_request(f"what is applied is to be a {target.shown.name} of {target.shown.api_version}")
        if request.applies and self.registry.store.get(target.kind, target.namespace, target.name) is None:
            return self._create(request, target)
        old = self.registry.get(target.kind, target.namespace, target.name)
        new = change(view(target, old))
        if not target.shown.describes(new):
            raise WrongTypeError(f"{new.get('kind')} of {new.get('apiVersion')} is no {target.shown.name}")
        return self._write(request, target, old, _decoded(request, target.shown, new))

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
        options, kind = _deletion(request), target.kind
        last = self.registry.delete(kind, self.registry.get(kind, target.namespace, target.name), options)
        if last.deleting or kind.returned:
            return self._show(request, target, last)
        details = {"name": last.name, "group": kind.group, "kind": kind.plural, "uid": last.uid}
        return Answer(200, encode(SUCCESS | {"details": details}))

    def _delete_collection(self, request: Request, target: Target) -> Answer:
        options, deleted = _deletion(request), page(self.registry.store, request, target)
        for obj in deleted.items:
            self.registry.delete(target.kind, obj, options)
        return Answer(200, deleted.encoded(request))

    def _show(self, request: Request, target: Target, obj: Object, status: int = 200) -> Answer:
        if request.wants_table:
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return Answer(status, encode(table(target.kind, [obj], metadata, whole=request.wants_objects)))
        return Answer(status, encode(view(target, obj)))


def _undecodable(request: Request, error: WrongTypeError) -> ApiError:
    """A body that cannot be decoded is a 400; a patch whose result cannot be decoded is a 422."""
    if request.method != "PATCH":
        return bad_request(f"the object provided cannot be handled: {error}")
    cause = Cause("patch", "FieldValueInvalid", f"Invalid value: {request.body.decode(errors='replace')}: {error}")
    return ApiError(422, "Invalid", f'"" is invalid: patch: {cause.message}', causes=[cause])


def _object(request: Request, kind: Kind) -> Object:
    """The object in the body, whose kind and apiVersion are optional."""
    body = request.document()
    if not kind.describes({"kind": kind.name, "apiVersion": kind.api_version} | body):
        raise bad_request(f"{body.get('kind')} in {body.get('apiVersion')} is no {kind.name} of {kind.api_version}")
    return _decoded(request, kind, body)


def _decoded(request: Request, kind: Kind, document: Object) -> Object:
    """Drops fields that the type does not have. Raises WrongTypeError if the client asked for strict validation."""
    known, unknown = decoded(kind, document)
    if unknown and request.query.get("fieldValidation") == "Strict":
        raise WrongTypeError("strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in unknown))
    return known


def _deletion(request: Request) -> Object:
    """The DeleteOptions of the body and of the query."""
    options = _object(request, DELETE_OPTIONS) if request.body else {}
    if "gracePeriodSeconds" in request.query:
        options["gracePeriodSeconds"] = request.number("gracePeriodSeconds")
    if "propagationPolicy" in request.query:
        options["propagationPolicy"] = request.query["propagationPolicy"]
    if request.dry_run:
        options["dryRun"] = ["All"]
    refuse_deletion(options)
    return options


def _writer(request: Request) -> Writer:
    return Writer(request.manager, untyped(request.document()) if request.applies else None)
