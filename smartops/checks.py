"""System checks of the settings. `manage.py` runs them before each command, `smartops.asgi` when it is loaded."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from pydantic import TypeAdapter, ValidationError

from signals.names import ClusterName, Namespace

TAG = "smartops"
MIN_POOL = 3  # of a reconciler: its loop, a publisher, and one to spare
_CLUSTER, _NAMESPACE = TypeAdapter[str](ClusterName), TypeAdapter[str](Namespace)


def require_valid_settings() -> None:
    """For a server that runs no system checks itself: raises ImproperlyConfigured if one of ours finds an error."""
    found = run_checks(tags=[TAG], include_deployment_checks=True)
    if errors := [str(message) for message in found if message.is_serious()]:
        raise ImproperlyConfigured("\n".join(errors))


@register(TAG, deploy=True)
def secret_key(**_: Any) -> list[CheckMessage]:
    if settings.SMARTOPS_INSECURE_HTTP or not settings.SECRET_KEY.startswith("django-insecure-"):
        return []
    message = "SMARTOPS_SECRET_KEY is not set, and its default is public."
    hint = "Set it to a random value, or SMARTOPS_INSECURE_HTTP=1 for a development server on loopback."
    return [Error(message, hint=hint, id="smartops.E001")]


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
def database_pool(**_: Any) -> list[CheckMessage]:
    size = settings.SMARTOPS_DATABASE_POOL
    if size >= MIN_POOL:
        return []
    return [Error(f"SMARTOPS_DATABASE_POOL={size} is less than {MIN_POOL} connections.", id="smartops.E007")]


def _valid(names: TypeAdapter[str], name: str) -> bool:
    try:
        names.validate_python(name)
    except ValidationError:
        return False
    return True


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
