"""Discovery: groups, resources, version, health, and the part of OpenAPI that kubectl reads."""

from smartops.dev.sandbox.objects import Object, encode
from smartops.dev.sandbox.resources import ACCESS_REVIEW, GROUP_VERSIONS, KINDS, NAMESPACE, POD, Kind

VERSION = "v1.37.0+smartops-sandbox"
JSON = "application/json"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def document(path: str, accept: str = "") -> tuple[str, bytes] | None:
    """The content type and the body; None for any other path."""
    path = path.rstrip("/")
    if path in ("/healthz", "/readyz", "/livez"):
        return "text/plain", b"ok"
    if path in ("/api", "/apis") and "as=APIGroupDiscoveryList" in accept and "v=v2;" in accept:
        return AGGREGATED, encode(_aggregated(core=path == "/api"))
    found = DOCUMENTS.get(path)
    return (JSON, found) if found is not None else None


def serves_group_of(path: str) -> bool:
    """Whether the path belongs to an API group that is served."""
    match path.strip("/").split("/"):
        case ["api", _, *_]:
            return True
        case ["apis", group, _, *_]:
            return any(group == served for served, _ in GROUP_VERSIONS)
    return False


def _group(group: str) -> Object:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version} for name, version in GROUP_VERSIONS if name == group
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _categories(kind: Kind) -> Object:
    return ({"shortNames": list(kind.short)} if kind.short else {}) | ({"categories": ["all"]} if kind.all else {})


def _verbs(kind: Kind) -> list[str]:
    return ["create"] if kind is ACCESS_REVIEW else VERBS


def _resources(group: str, version: str) -> Object:
    resources = []
    for kind in (kind for kind in KINDS if (kind.group, kind.version) == (group, version)):
        row = {"name": kind.plural, "singularName": kind.name.lower(), "namespaced": kind.namespaced, "kind": kind.name}
        resources.append(row | {"verbs": _verbs(kind)} | _categories(kind))
        row |= {"singularName": "", "verbs": ["get", "patch", "update"]}
        if kind.status:
            resources.append(row | {"name": f"{kind.plural}/status"})
        if kind is POD:
            eviction = {"name": "pods/eviction", "group": "policy", "version": "v1", "kind": "Eviction"}
            resources.append(row | eviction | {"verbs": ["create"]})
        if kind.scale:
            scale = {"name": f"{kind.plural}/scale", "group": "autoscaling", "version": "v1", "kind": "Scale"}
            resources.append(row | scale)
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _aggregated(*, core: bool) -> Object:
    groups: dict[str, list[Object]] = {}
    for group, version in GROUP_VERSIONS:
        if core == (group == ""):
            kinds = [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]
            row = {"version": version, "freshness": "Current", "resources": [_discovered(kind) for kind in kinds]}
            groups.setdefault(group, []).append(row)
    items = [{"metadata": {"name": group} if group else {}, "versions": rows} for group, rows in groups.items()]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _discovered(kind: Kind) -> Object:
    this = {"group": kind.group, "version": kind.version, "kind": kind.name}
    scale = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    eviction, read_and_written = {"group": "policy", "version": "v1", "kind": "Eviction"}, ["get", "patch", "update"]
    offered = [
        ("eviction", kind is POD, eviction, ["create"]),
        ("status", kind.status, this, read_and_written),
        ("scale", kind.scale, scale, read_and_written),
    ]
    subresources = [
        {"subresource": name, "responseKind": response, "verbs": verbs}
        for name, exists, response, verbs in offered
        if exists
    ]
    return {
        "resource": kind.plural,
        "responseKind": this,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": _verbs(kind),
        **_categories(kind),
        **({"subresources": subresources} if subresources else {}),
    }


def _openapi_root(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _openapi(group: str, version: str) -> Object:
    """Without schemas: only that objects can be patched, and that the server handles dryRun and fieldValidation.
    kubectl then uses its built-in types."""
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]
    paths = {}
    for kind in (kind for kind in KINDS if (kind.group, kind.version) == (group, version)):
        place = "namespaces/{namespace}/" if kind.namespaced and kind is not NAMESPACE else ""
        this = {"group": kind.group, "version": kind.version, "kind": kind.name}
        operation = {"x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": this, "parameters": parameters}
        paths[f"/{_openapi_root(group, version)}/{place}{kind.plural}/{{name}}"] = {
            "patch": operation | {"responses": {}}
        }
    return {"openapi": "3.0.0", "info": {"title": "SmartOps sandbox", "version": VERSION}, "paths": paths}


def _documents() -> dict[str, Object]:
    named = [group for group in dict.fromkeys(group for group, _ in GROUP_VERSIONS) if group]
    groups = [_group(group) for group in named]
    roots = {_openapi_root(group, version): (group, version) for group, version in GROUP_VERSIONS}
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    built = dict.fromkeys(("gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"), "sandbox")
    return {
        "/version": {"major": major, "minor": minor, "gitVersion": VERSION} | built,
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
        **{f"/apis/{group['name']}": {"kind": "APIGroup", "apiVersion": "v1", **group} for group in groups},
        **{f"/{root}": _resources(*place) for root, place in roots.items()},
        "/openapi/v3": {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}},
        **{f"/openapi/v3/{root}": _openapi(*place) for root, place in roots.items()},
    }


DOCUMENTS = {path: encode(content) for path, content in _documents().items()}
