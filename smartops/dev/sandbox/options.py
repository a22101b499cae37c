"""Validates the options of a request, in the query or in the DeleteOptions."""

from collections.abc import Iterator, Mapping

from smartops.dev.sandbox.errors import Cause, invalid_options, wrong
from smartops.dev.sandbox.objects import Object, encode

OPTIONS = {
    "GET": "ListOptions", "POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions",
    "DELETE": "DeleteOptions",
}  # fmt: skip
VALIDATIONS = ("Ignore", "Warn", "Strict")
POLICIES = ("Foreground", "Background", "Orphan", "nil")
MAX_MANAGER = 128
Query = Mapping[str, str]


def refuse_options(method: str, query: Query, *, applies: bool, watches: bool) -> None:
    """Raises 422 for invalid options."""
    causes = list(_of_reads(query, watches=watches) if method == "GET" else _of_writes(method, query, applies=applies))
    if causes and method in OPTIONS:
        raise invalid_options(OPTIONS[method], causes)


def refuse_deletion(options: Object) -> None:
    """Raises 422 for invalid options."""
    causes = [*_dry_run(options.get("dryRun") or [])]
    policy = options.get("propagationPolicy")
    if policy is not None and policy not in POLICIES:
        causes.append(_unsupported("propagationPolicy", policy, POLICIES))
    elif policy is not None and "orphanDependents" in options:
        why = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(wrong("propagationPolicy", policy, why))
    if causes:
        raise invalid_options(OPTIONS["DELETE"], causes)


def _of_writes(method: str, query: Query, *, applies: bool) -> Iterator[Cause]:
    yield from _dry_run([query["dryRun"]] if "dryRun" in query else [])
    manager, validation = query.get("fieldManager", ""), query.get("fieldValidation", "")
    if validation and validation not in VALIDATIONS:
        yield _unsupported("fieldValidation", validation, VALIDATIONS)
    if len(manager) > MAX_MANAGER or not manager.isprintable():
        yield wrong("fieldManager", manager, "should only contain printable characters, and no more than 128")
    if applies and not manager:
        yield Cause("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
    if method == "PATCH" and not applies and "force" in query:
        yield _forbidden("force", "may not be specified for non-apply patch")


def _of_reads(query: Query, *, watches: bool) -> Iterator[Cause]:
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    streams_list = query.get("sendInitialEvents") in ("1", "true")
    if streams_list and not watches:
        yield _forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if streams_list and watches and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        yield _forbidden("resourceVersionMatch", why)
    if match and watches and not streams_list:
        yield _forbidden("resourceVersionMatch", "is forbidden for watch unless sendInitialEvents is provided")
    if match and not watches:
        yield from _of_matching(match, version, continues="continue" in query)
    if match and match not in (("NotOlderThan",) if watches and streams_list else ("Exact", "NotOlderThan")):
        yield _unsupported("resourceVersionMatch", match, ("Exact", "NotOlderThan"))


def _of_matching(match: str, version: str, *, continues: bool) -> Iterator[Cause]:
    if continues:
        yield _forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
    if not version:
        yield _forbidden("resourceVersionMatch", "is forbidden unless resourceVersion is provided")
    if match == "Exact" and version == "0":
        yield _forbidden("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')


def _dry_run(values: list[str]) -> Iterator[Cause]:
    if any(value != "All" for value in values):
        yield _unsupported("dryRun", values, ("All",))


def _unsupported(field: str, value: object, supported: tuple[str, ...]) -> Cause:
    named = ", ".join(f'"{each}"' for each in supported)
    return Cause(
        field, "FieldValueNotSupported", f"Unsupported value: {encode(value).decode()}: supported values: {named}"
    )


def _forbidden(field: str, why: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {why}")
