"""Each system check of the settings finds what it is for, and nothing in a valid installation."""

from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from pytest_django.fixtures import Settings

from smartops.checks import TAG, require_valid_settings
from smartops.people.claims import GroupRoles, group_roles

VALID: dict[str, Any] = {
    "SECRET_KEY": "GzV8UlZdMwHkVNLYpjBj-3QkqSTjXlkw-a5c90J2JTPVq1KX",
    "SMARTOPS_TOKEN_PEPPERS": ["e3b0c44298fc1c149afbf4c8996fb924"],
    "DEBUG": False,
    "ALLOWED_HOSTS": ["smartops.example.com", "127.0.0.1"],
    "SMARTOPS_SOCKETS_PER_USER": 20,
    "SMARTOPS_SIGNALS_PER_MINUTE": 100_000,
    "SMARTOPS_WAITING_SIGNALS": 5_000,
    "SMARTOPS_QUEUE_LIMIT": 50_000,
    "SMARTOPS_INSECURE_HTTP": False,
    "SMARTOPS_CLUSTER": "default",
    "SMARTOPS_NAMESPACE": "smartops-dev",
    "SMARTOPS_NAMESPACES": ["smartops-dev"],
    "SMARTOPS_ALLOWED_OWN_WORKLOADS": [],
    "SMARTOPS_ALLOWED_PATCH_PREFIXES": [],
    "SMARTOPS_OPA_URL": "",
    "SMARTOPS_OPA_TIMEOUT": 2.0,
    "SMARTOPS_DATABASE_POOL": 20,
    "SMARTOPS_TRUSTED_PROXIES": [],
    "FORCE_SCRIPT_NAME": None,
    "SMARTOPS_CONSOLE_URL": "",
    "SMARTOPS_WITH_OIDC": True,
    "SMARTOPS_OIDC_ISSUER": "",
    "SMARTOPS_OIDC_CLIENT_ID": "",
    "SMARTOPS_OIDC_CLIENT_SECRET": "",
    "SMARTOPS_OIDC_SCOPES": ["openid"],
    "SMARTOPS_OIDC_ROLES": GroupRoles(),
    "SMARTOPS_OIDC_SESSION_HOURS": 12,
}
OIDC = {
    "SMARTOPS_OIDC_ISSUER": "https://id.example.com/realms/acme",
    "SMARTOPS_OIDC_CLIENT_ID": "smartops",
    "SMARTOPS_OIDC_CLIENT_SECRET": "x",
    "SMARTOPS_OIDC_ROLES": group_roles('{"sre": "operator"}'),
}
INSECURE = "django-insecure-for-development-only"
LOOPBACK = {"SMARTOPS_INSECURE_HTTP": True, "ALLOWED_HOSTS": ["localhost", "127.0.0.1", "[::1]", "smartops.localhost"]}


def found(settings: Settings, changed: dict[str, Any], *, deploy: bool = True) -> list[str | None]:
    for name, value in (VALID | changed).items():
        setattr(settings, name, value)
    return [message.id for message in run_checks(tags=[TAG], include_deployment_checks=deploy)]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        LOOPBACK | {"SECRET_KEY": INSECURE},
        LOOPBACK | {"SECRET_KEY": "short", "SMARTOPS_TOKEN_PEPPERS": ["short"]},
        LOOPBACK | {"DEBUG": True},
        {"SECRET_KEY": "e3b0c44298fc1c149afbf4c8996fb924"},
        {"SMARTOPS_SOCKETS_PER_USER": 1},
        {"SMARTOPS_CLUSTER": "eu-1.prod"},
        {"SMARTOPS_NAMESPACES": ["*"]},
        {"SMARTOPS_NAMESPACES": ["erp", "smartops-dev"]},
        {"SMARTOPS_OPA_URL": "http://opa:8181/v1/data/smartops/decision", "SMARTOPS_OPA_TIMEOUT": 0.1},
        {"SMARTOPS_OPA_URL": "https://opa.example.com/v1/data/x"},
        {"SMARTOPS_OPA_URL": "http://[fd00::1]:8181/v1/data/x"},
        {"SMARTOPS_OPA_URL": "http://[fd00::1]/v1/data/x"},
        {"SMARTOPS_DATABASE_POOL": 3},
        {"SMARTOPS_WITH_OIDC": False},
        OIDC,
        OIDC | {"SMARTOPS_OIDC_ISSUER": "http://127.0.0.1:5556/dex"},
        {"SMARTOPS_ALLOWED_OWN_WORKLOADS": ["smartops-dev/smartops-orchestrator-web", "DaemonSet smartops-dev/agent"]},
        {"SMARTOPS_ALLOWED_PATCH_PREFIXES": ["example.com/", "kubernetes.io/change-cause", "notsmartops.io/"]},
        {"SMARTOPS_TRUSTED_PROXIES": ["private"]},
        {"SMARTOPS_CONSOLE_URL": "https://smartops.example.com/console"},
        {"SMARTOPS_CONSOLE_URL": "https://example.com:8443/tools/smartops/console"},
        {"SMARTOPS_CONSOLE_URL": "https://[fd00::1]/console"},
        {"SMARTOPS_CONSOLE_URL": "http://127.0.0.1:8000/console"},
        {"SMARTOPS_TRUSTED_PROXIES": ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "2001:db8::1"]},
        {"FORCE_SCRIPT_NAME": "/smartops"},
        {"FORCE_SCRIPT_NAME": "/tools/smart-ops_1.~"},
    ],
)
def test_valid_settings_pass_all_checks(settings: Settings, changed: dict[str, Any]) -> None:
    assert found(settings, changed) == []
    require_valid_settings()


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({"SECRET_KEY": INSECURE}, ["smartops.E001"]),
        ({"SECRET_KEY": INSECURE, "SMARTOPS_INSECURE_HTTP": True}, ["smartops.E001"]),
        ({"SECRET_KEY": INSECURE, "SMARTOPS_INSECURE_HTTP": True, "ALLOWED_HOSTS": ["*"]}, ["smartops.E001"]),
        ({"SECRET_KEY": "only-we-know-it"}, ["smartops.E001"]),
        ({"SECRET_KEY": "a-very-long-sentence-with-changeme-within-it"}, ["smartops.E001"]),
        ({"SECRET_KEY": "a" * 50}, ["smartops.E001"]),
        ({"SECRET_KEY": "0123456789" * 5}, ["smartops.E001"]),
        ({"SMARTOPS_TOKEN_PEPPERS": ["e3b0c44298fc1c149afbf4c8996fb924", "old"]}, ["smartops.E031"]),
        ({"DEBUG": True}, ["smartops.E030"]),
        ({"SMARTOPS_SOCKETS_PER_USER": 0}, ["smartops.E032"]),
        ({"SMARTOPS_SIGNALS_PER_MINUTE": 0}, ["smartops.E032"]),
        ({"SMARTOPS_WAITING_SIGNALS": 0}, ["smartops.E032"]),
        ({"SMARTOPS_QUEUE_LIMIT": -1}, ["smartops.E032"]),
        ({"SMARTOPS_CLUSTER": "Prod"}, ["smartops.E002"]),
        ({"SMARTOPS_CLUSTER": "a" * 64}, ["smartops.E002"]),
        ({"SMARTOPS_NAMESPACE": "Erp", "SMARTOPS_NAMESPACES": ["*"]}, ["smartops.E003"]),
        ({"SMARTOPS_NAMESPACES": ["smartops-dev", "a.b", "c_d"]}, ["smartops.E003", "smartops.E003"]),
        ({"SMARTOPS_NAMESPACES": ["smartops-dev", "erp-*"]}, ["smartops.E003"]),
        ({"SMARTOPS_NAMESPACES": []}, ["smartops.E004"]),
        ({"SMARTOPS_OPA_URL": "opa:8181"}, ["smartops.E005"]),
        ({"SMARTOPS_OPA_URL": "http://[fd00::1"}, ["smartops.E005"]),
        ({"SMARTOPS_TRUSTED_PROXIES": ["ingress", "10.0.0.0/8"]}, ["smartops.E036"]),
        ({"SMARTOPS_TRUSTED_PROXIES": ["10.0.0.1/8"]}, ["smartops.E036"]),
        ({"SMARTOPS_TRUSTED_PROXIES": ["private", "10.0.0.0/8"]}, ["smartops.E036"]),
        ({"FORCE_SCRIPT_NAME": "smartops"}, ["smartops.E037"]),
        ({"FORCE_SCRIPT_NAME": "/a//b"}, ["smartops.E037"]),
        ({"FORCE_SCRIPT_NAME": "/a%20b"}, ["smartops.E037"]),
        ({"FORCE_SCRIPT_NAME": "/a/?b"}, ["smartops.E037"]),
        ({"SMARTOPS_CONSOLE_URL": "smartops.example.com/console"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": "https://smartops.example.com"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": "https://smartops.example.com//console/actions"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": "http://smartops.example.com/console"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": "https://example.com/console?/console"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": "https://me:secret@example.com/console"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": "https://exa mple.com/console"}, ["smartops.E050"]),
        ({"SMARTOPS_CONSOLE_URL": f"https://example.com/{200 * 'x'}/console"}, ["smartops.E050"]),
        ({"SMARTOPS_OPA_URL": "file:///etc/passwd"}, ["smartops.E005"]),
        ({"SMARTOPS_OPA_URL": "http://"}, ["smartops.E005"]),
        ({"SMARTOPS_OPA_URL": "http://opa:port/"}, ["smartops.E005"]),
        ({"SMARTOPS_OPA_URL": "http://[opa/"}, ["smartops.E005"]),
        ({"SMARTOPS_OPA_TIMEOUT": 0.0}, ["smartops.E006"]),
        ({"SMARTOPS_DATABASE_POOL": 2}, ["smartops.E007"]),
        ({"SMARTOPS_ALLOWED_OWN_WORKLOADS": ["web", "a/b/c"]}, ["smartops.E020", "smartops.E020"]),
        ({"SMARTOPS_ALLOWED_OWN_WORKLOADS": ["*/web", "smartops-dev/"]}, ["smartops.E020", "smartops.E020"]),
        ({"SMARTOPS_ALLOWED_OWN_WORKLOADS": ["Job a/web", "Deployment a/b"]}, ["smartops.E020", "smartops.E020"]),
        ({"SMARTOPS_ALLOWED_PATCH_PREFIXES": ["example.com", "/", "Example.com/"]}, ["smartops.E021"] * 3),
        ({"SMARTOPS_ALLOWED_PATCH_PREFIXES": ["example.com/a/b", "*.com/"]}, ["smartops.E021"] * 2),
        ({"SMARTOPS_ALLOWED_PATCH_PREFIXES": ["smartops.io/", "a.smartops.io/b"]}, ["smartops.E022"] * 2),
        ({**OIDC, "SMARTOPS_OIDC_CLIENT_SECRET": ""}, ["smartops.E040"]),
        ({"SMARTOPS_OIDC_CLIENT_ID": "smartops"}, ["smartops.E040"]),
        ({**OIDC, "SMARTOPS_OIDC_ROLES": GroupRoles()}, ["smartops.E040"]),
        ({**OIDC, "SMARTOPS_OIDC_ISSUER": "http://id.example.com"}, ["smartops.E041"]),
        ({**OIDC, "SMARTOPS_OIDC_ISSUER": "id.example.com"}, ["smartops.E041"]),
        ({**OIDC, "SMARTOPS_OIDC_ISSUER": "https://me:secret@id.example.com"}, ["smartops.E041"]),
        ({**OIDC, "SMARTOPS_OIDC_ISSUER": f"https://id.example.com/{200 * 'x'}"}, ["smartops.E041"]),
        ({**OIDC, "SMARTOPS_OIDC_SCOPES": ["profile"]}, ["smartops.E042"]),
        ({**OIDC, "SMARTOPS_OIDC_SESSION_HOURS": 0}, ["smartops.E043"]),
        ({**OIDC, "SMARTOPS_OIDC_SESSION_HOURS": 10**9}, ["smartops.E043"]),
        ({**OIDC, "SMARTOPS_WITH_OIDC": False}, ["smartops.E044"]),
        ({"SMARTOPS_CLUSTER": "", "SMARTOPS_DATABASE_POOL": 0}, ["smartops.E002", "smartops.E007"]),
    ],
)
def test_an_invalid_setting_is_an_error_with_an_id(settings: Settings, changed: dict[str, Any], ids: list[str]) -> None:
    assert sorted(map(str, found(settings, changed))) == ids
    with pytest.raises(ImproperlyConfigured, match=ids[0]):
        require_valid_settings()


def test_a_default_namespace_that_no_reconciler_manages_is_a_warning(settings: Settings) -> None:
    assert found(settings, {"SMARTOPS_NAMESPACES": ["erp"]}) == ["smartops.W001"]
    require_valid_settings()


def test_the_public_key_is_an_error_only_in_a_deployment(settings: Settings) -> None:
    assert found(settings, {"SECRET_KEY": INSECURE}, deploy=False) == []


@pytest.mark.parametrize("changed", [{"SECRET_KEY": "only-we-know-it"}, {"DEBUG": True}])
def test_what_was_set_wrongly_stops_every_process(settings: Settings, changed: dict[str, Any]) -> None:
    assert found(settings, changed, deploy=False) != []


def test_no_message_shows_a_key(settings: Settings) -> None:
    console = {"SMARTOPS_CONSOLE_URL": "https://me:nor@that@example.com/console"}
    found(settings, {"SECRET_KEY": "only-we-know-it", "SMARTOPS_TOKEN_PEPPERS": ["nor-this"], **console})
    with pytest.raises(ImproperlyConfigured) as raised:
        require_valid_settings()
    assert "only-we" not in str(raised.value)
    assert "nor" not in str(raised.value)
    assert "https://***@example.com/console" in str(raised.value)
