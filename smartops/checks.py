"""System checks of the settings. `manage.py` runs them before each command, `smartops.asgi` when it is loaded."""

import os
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register, run_checks
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from pydantic import TypeAdapter, ValidationError

from signals.lib.migrations import unapplied_migrations
from signals.lib.partitions import COUNTED_FOR
from signals.lib.privileges import owns_history
from signals.names import ClusterName, Namespace, WorkloadName
from signals.types import Kind
from smartops.edge.proxies import Proxies
from smartops.retention.months import TABLES

TAG = "smartops"
MIN_KEY, MIN_DISTINCT = 32, 8  # characters
PLACEHOLDERS = (
    "changeme",
    "change-me",
    "change_me",
    "replaceme",
    "replace-me",
    "placeholder",
    "django-insecure",
    "example",
    "password",
    "secret-key",
    "secretkey",
    "your-",
)
PUBLIC_KEY = "django-insecure-"  # the prefix of the default
_DEVELOPMENT = "A development server needs SMARTOPS_INSECURE_HTTP=1, and host names of loopback only."
_GENERATE = "Generate one: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'."
MAX_ISSUER = 200  # characters, of allauth's column
MAX_SESSION_HOURS = 8760  # a year
MAX_RETENTION_DAYS = 36_500
MAX_CONSOLE_URL = 200  # characters: the note of an Event has 1,024 bytes
MIN_POOL = 3  # of a reconciler: its loop, a publisher, and one to spare
OWNER = "The login of DATABASE_URL owns the tables, so it can disable the triggers that keep history."
OWNER_HINT = "Use it for `migrate` alone; see docs/production.md#roles-of-the-database."
_CLUSTER, _NAMESPACE = TypeAdapter[str](ClusterName), TypeAdapter[str](Namespace)
_WORKLOAD = _DOMAIN = TypeAdapter[str](WorkloadName)

_NAMED_KINDS = ("", Kind.STATEFUL_SET, Kind.DAEMON_SET)  # in the name of a workload


def require_valid_settings() -> None:
    """For a server that runs no system checks itself: raises ImproperlyConfigured if one of ours finds an error."""
    found = run_checks(tags=[TAG], include_deployment_checks=True)
    if errors := [str(message) for message in found if message.is_serious()]:
        raise ImproperlyConfigured("\n".join(errors))


def is_production() -> bool:
    """Everything but a development server: one with plain HTTP, which serves names of loopback only."""
    return not (settings.SMARTOPS_INSECURE_HTTP and all(map(_is_loopback, settings.ALLOWED_HOSTS)))


@register(TAG, deploy=True)
def default_secret_key(**_: Any) -> list[CheckMessage]:
    """Of the web process only: no other uses the key."""
    if not is_production() or not settings.SECRET_KEY.startswith(PUBLIC_KEY):
        return []
    hint = f"{_GENERATE} {_DEVELOPMENT}"
    return [Error("SMARTOPS_SECRET_KEY is not set, and its default is public.", hint=hint, id="smartops.E001")]


@register(TAG)
def weak_keys(**_: Any) -> list[CheckMessage]:
    if not is_production():
        return []
    key, peppers = settings.SECRET_KEY, [one for one in settings.SMARTOPS_TOKEN_PEPPERS if one != settings.SECRET_KEY]
    found: list[CheckMessage] = []
    if not key.startswith(PUBLIC_KEY) and (problem := weakness(key)):
        found.append(Error(f"SMARTOPS_SECRET_KEY {problem}.", hint=_GENERATE, id="smartops.E001"))
    for place, pepper in enumerate(peppers, 1):
        if problem := weakness(pepper):
            message = f"SMARTOPS_TOKEN_PEPPERS: pepper {place} {problem}."
            found.append(Error(message, hint=_GENERATE, id="smartops.E031"))
    return found


@register(TAG)
def debug(**_: Any) -> list[CheckMessage]:
    if not (settings.DEBUG and is_production()):
        return []
    message = "SMARTOPS_DEBUG is on: error pages would show settings and rows to every client."
    return [Error(message, hint=f"Unset it. {_DEVELOPMENT}", id="smartops.E030")]


@register(TAG)
def lower_bounds(**_: Any) -> list[CheckMessage]:
    lowest = {
        "SMARTOPS_SOCKETS_PER_USER": 1,
        "SMARTOPS_SIGNALS_PER_MINUTE": 1,
        "SMARTOPS_WAITING_SIGNALS": 1,
        "SMARTOPS_QUEUE_LIMIT": 1,
        "SMARTOPS_RETAIN_OBSERVATIONS_DAYS": 1,
        "SMARTOPS_RETAIN_SIGNALS_DAYS": 1,
        "SMARTOPS_RETAIN_ACTIONS_DAYS": COUNTED_FOR.days,  # decisions count the actions of that time
        "SMARTOPS_RETAIN_DECISIONS_DAYS": 1,
        "SMARTOPS_RETAIN_AUDIT_DAYS": 1,
    }
    return [
        Error(f"{name}={getattr(settings, name)} is less than {least}.", id="smartops.E032")
        for name, least in lowest.items()
        if getattr(settings, name) < least
    ]


@register(TAG)
def longest_retention(**_: Any) -> list[CheckMessage]:
    """`now` minus the retention must be a date that Python has."""
    return [
        Error(f"{name}={getattr(settings, name)} is more than {MAX_RETENTION_DAYS} days.", id="smartops.E033")
        for name in sorted({*TABLES.values()})
        if getattr(settings, name) > MAX_RETENTION_DAYS
    ]


def weakness(key: str) -> str:
    """Why it can be guessed; empty if it seems random. The key is not shown."""
    if len(key) < MIN_KEY:
        return f"has {len(key)} characters, and needs at least {MIN_KEY}"
    if any(word in key.lower() for word in PLACEHOLDERS):
        return "is a placeholder"
    if len(set(key)) < MIN_DISTINCT or key in (key + key)[1:-1]:
        return "repeats itself"
    return ""


@register(TAG)
def cluster(**_: Any) -> list[CheckMessage]:
    if _valid(_CLUSTER, settings.SMARTOPS_CLUSTER):
        return []
    message = f"SMARTOPS_CLUSTER={settings.SMARTOPS_CLUSTER!r} is not a DNS name of at most 63 characters."
    return [Error(message, id="smartops.E002")]


@register(TAG)
def namespaces(**_: Any) -> list[CheckMessage]:
    default, managed = settings.SMARTOPS_NAMESPACE, settings.SMARTOPS_NAMESPACES
    names = {"SMARTOPS_NAMESPACE": [default], "SMARTOPS_NAMESPACES": [name for name in managed if name != "*"]}
    found: list[CheckMessage] = [
        Error(f"{variable}: {name!r} is not a DNS label, so no namespace has this name.", id="smartops.E003")
        for variable, given in names.items()
        for name in given
        if not _valid(_NAMESPACE, name)
    ]
    if not managed:
        found.append(Error("SMARTOPS_NAMESPACES names no namespace.", id="smartops.E004"))
    elif default not in managed and "*" not in managed:
        message = f"SMARTOPS_NAMESPACE={default!r} is not in SMARTOPS_NAMESPACES: the reconciler refuses its actions."
        found.append(CheckWarning(message, id="smartops.W001"))
    return found


@register(TAG)
def policy_engine(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    url, timeout = settings.SMARTOPS_OPA_URL, settings.SMARTOPS_OPA_TIMEOUT
    if url and not _is_http(url):
        example = "http://opa:8181/v1/data/smartops/decision"
        found.append(Error("SMARTOPS_OPA_URL is not an HTTP URL.", hint=f"As {example}.", id="smartops.E005"))
    if timeout <= 0:
        found.append(Error(f"SMARTOPS_OPA_TIMEOUT={timeout} is not more than 0 seconds.", id="smartops.E006"))
    return found


@register(TAG)
def collector(**_: Any) -> list[CheckMessage]:
    """The exporter ignores credentials in its endpoint, and names the endpoint in its log lines."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        given = os.environ.get(name, "")
        if "@" in given or "?" in given:
            message = f"{name} has credentials or parameters."
            hint = "Set credentials by OTEL_EXPORTER_OTLP_HEADERS."
            return [Error(message, hint=hint, id="smartops.E023")]
    return []


@register(TAG)
def database_pool(**_: Any) -> list[CheckMessage]:
    size = settings.SMARTOPS_DATABASE_POOL
    if size >= MIN_POOL:
        return []
    return [Error(f"SMARTOPS_DATABASE_POOL={size} is less than {MIN_POOL} connections.", id="smartops.E007")]


@register(TAG)
def own_workloads(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for given in settings.SMARTOPS_ALLOWED_OWN_WORKLOADS:
        kind, _space, full_name = given.rpartition(" ")
        namespace, _slash, name = full_name.partition("/")
        if not (kind in _NAMED_KINDS and _valid(_NAMESPACE, namespace) and _valid(_WORKLOAD, name)):
            message = f"SMARTOPS_ALLOWED_OWN_WORKLOADS: {given!r} is not the name of a workload."
            hint = "As namespace/name of a Deployment, or as StatefulSet namespace/name."
            found.append(Error(message, hint=hint, id="smartops.E020"))
    return found


@register(TAG)
def patch_prefixes(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for given in settings.SMARTOPS_ALLOWED_PATCH_PREFIXES:
        domain, slash, name = given.partition("/")
        if not (slash and _valid(_DOMAIN, domain) and re.fullmatch("[-._A-Za-z0-9]{0,63}", name)):
            message = f"SMARTOPS_ALLOWED_PATCH_PREFIXES: {given!r} is not a domain with a slash."
            found.append(Error(message, hint="As example.com/ or example.com/name.", id="smartops.E021"))
        elif f".{domain}".endswith(".smartops.io"):
            message = f"SMARTOPS_ALLOWED_PATCH_PREFIXES: {given!r} is reserved for SmartOps itself."
            found.append(Error(message, id="smartops.E022"))
    return found


@register(TAG)
def proxies(**_: Any) -> list[CheckMessage]:
    try:
        Proxies.of(settings.SMARTOPS_TRUSTED_PROXIES)
    except ValueError as error:
        hint = "Addresses or networks as 10.244.0.0/16, or the word private."
        return [Error(f"SMARTOPS_TRUSTED_PROXIES: {error}.", hint=hint, id="smartops.E036")]
    return []


@register(TAG)
def root_path(**_: Any) -> list[CheckMessage]:
    path = settings.FORCE_SCRIPT_NAME
    if path is None or re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path):
        return []
    message = f"SMARTOPS_ROOT_PATH={path!r} is not a path as /smartops: letters, digits and -._~ after each slash."
    return [Error(message, id="smartops.E037")]


@register(TAG)
def console_url(**_: Any) -> list[CheckMessage]:
    """A link in an Event leads people to a sign-in. Without HTTPS, others could read what they enter there."""
    url = settings.SMARTOPS_CONSOLE_URL
    if not url or (_is_secure(url) and len(url) <= MAX_CONSOLE_URL and re.search(r"[^/]/console\Z", url)):
        return []
    message = (
        f"SMARTOPS_CONSOLE_URL={_without_credentials(url)!r} is not valid. It must be an https URL without credentials "
        f"and parameters, end with /console, and have at most {MAX_CONSOLE_URL} characters."
    )
    hint = "The address at which people open the console, as https://smartops.example.com/console."
    return [Error(message, hint=hint, id="smartops.E050")]


@register(TAG)
def openid_provider(**_: Any) -> list[CheckMessage]:
    """Of SMARTOPS_OIDC_*: all of them or none."""
    issuer, hint = settings.SMARTOPS_OIDC_ISSUER, "docs/sign-in.md lists the settings."
    needed = {
        "SMARTOPS_OIDC_ISSUER": issuer,
        "SMARTOPS_OIDC_CLIENT_ID": settings.SMARTOPS_OIDC_CLIENT_ID,
        "SMARTOPS_OIDC_CLIENT_SECRET": settings.SMARTOPS_OIDC_CLIENT_SECRET,
        "SMARTOPS_OIDC_ROLES": settings.SMARTOPS_OIDC_ROLES.grants,
    }
    missing = [name for name, value in needed.items() if not value]
    if len(missing) == len(needed):
        return []
    found: list[CheckMessage] = []
    if missing:
        message = f"Sign-in by an OpenID provider is incomplete. Not set: {', '.join(missing)}."
        found.append(Error(message, hint=hint, id="smartops.E040"))
    if issuer and not _is_issuer(issuer):
        wanted = f"an https URL of at most {MAX_ISSUER} characters without credentials and parameters"
        message = f"SMARTOPS_OIDC_ISSUER={issuer!r} is not {wanted}."
        found.append(Error(message, hint="As the provider writes its issuer, with its path.", id="smartops.E041"))
    if "openid" not in settings.SMARTOPS_OIDC_SCOPES:
        found.append(Error("SMARTOPS_OIDC_SCOPES does not contain openid.", hint=hint, id="smartops.E042"))
    if not 1 <= settings.SMARTOPS_OIDC_SESSION_HOURS <= MAX_SESSION_HOURS:
        given = settings.SMARTOPS_OIDC_SESSION_HOURS
        message = f"SMARTOPS_OIDC_SESSION_HOURS={given} is not between 1 and {MAX_SESSION_HOURS}."
        found.append(Error(message, id="smartops.E043"))
    if not settings.SMARTOPS_WITH_OIDC:
        message = "Sign-in by an OpenID provider is configured, but the extra `oidc` is not installed."
        hint = "pip install 'smartops-orchestrator[oidc]', or build the image with --build-arg EXTRAS=oidc."
        found.append(Error(message, hint=hint, id="smartops.E044"))
    return found


@register(Tags.database, deploy=True)
def database_role(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """`check --deploy --database default`, with the DATABASE_URL of the process."""
    if not databases or unapplied_migrations() or not owns_history():
        return []
    return [CheckWarning(OWNER, hint=OWNER_HINT, id="smartops.W002")]


def _valid(names: TypeAdapter[str], name: str) -> bool:
    try:
        names.validate_python(name)
    except ValidationError:
        return False
    return True


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return valid and not re.search(r"\s", url)
    except ValueError:
        return False


def _is_issuer(url: str) -> bool:
    return _is_secure(url) and len(url) <= MAX_ISSUER


def _is_secure(url: str) -> bool:
    """https, without credentials and parameters. Plain HTTP is for loopback."""
    parts = urlsplit(url) if _is_http(url) else urlsplit("")
    secure = parts.scheme == "https" or _is_loopback(parts.hostname or "")
    plain = not ("@" in parts.netloc or "?" in url or "#" in url)
    return bool(parts.hostname) and secure and plain


def _without_credentials(url: str) -> str:
    """What is before an @ may be a password."""
    return re.sub(r"//[^/]*@", "//***@", url)


def _is_loopback(host: str) -> bool:
    # "testserver" is the host of Django's test client, which adds it to ALLOWED_HOSTS.
    return host in ("localhost", "127.0.0.1", "[::1]", "testserver") or host.endswith(".localhost")
