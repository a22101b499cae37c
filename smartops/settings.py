"""Everything that a deployment may set, read once from the environment; the README lists it."""

import os
import sys
from pathlib import Path
from typing import Any

import dj_database_url

from smartops.database import Session

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str = "") -> str:
    """The variable's value, or the content of the file that `NAME_FILE` points to: secrets are mounted as files."""
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text().strip()
    return os.environ.get(name, default)


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env(name, default).split(",") if part.strip()]


DEBUG = env("SMARTOPS_DEBUG") == "1"
# Where no key is given only a development server may run: `check --deploy` refuses this one by its prefix.
SECRET_KEY = env("SMARTOPS_SECRET_KEY", "django-insecure-for-development-only")
# HMAC keys of API tokens, newest first: a new one is put in front, the old one leaves when its tokens have.
SMARTOPS_TOKEN_PEPPERS = env_list("SMARTOPS_TOKEN_PEPPERS", SECRET_KEY)
ALLOWED_HOSTS = env_list("SMARTOPS_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("SMARTOPS_CSRF_TRUSTED_ORIGINS")

# The cluster this installation speaks of when a signal or an action names none, and the namespaces it acts in.
SMARTOPS_CLUSTER = env("SMARTOPS_CLUSTER", "default")
SMARTOPS_CLUSTER_NOTE = env("SMARTOPS_CLUSTER_NOTE")  # what the console says beside its name, e.g. "sandbox"
SMARTOPS_NAMESPACE = env("SMARTOPS_NAMESPACE", "smartops-dev")
SMARTOPS_NAMESPACES = env_list("SMARTOPS_NAMESPACES", SMARTOPS_NAMESPACE)  # "*": all of the cluster
SMARTOPS_KUBECONFIG = env("SMARTOPS_KUBECONFIG")  # empty: in-cluster, else the usual kubeconfig
SMARTOPS_OPA_URL = env("SMARTOPS_OPA_URL")  # e.g. http://opa:8181/v1/data/smartops/decision; empty: no external policy
SMARTOPS_OPA_TIMEOUT = float(env("SMARTOPS_OPA_TIMEOUT", "2"))

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "django_prometheus",
    "pgtrigger",
    "signals",
    "guardrails",
    "orchestrator",
    "smartops",
]

MIDDLEWARE = [
    "smartops.web.metrics.measured",
    "smartops.api.problem_handlers.problem_details",
    "smartops.web.fast_path.fast_path",
    "django.middleware.security.SecurityMiddleware",
    "smartops.web.static_files.static_files",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

ROOT_URLCONF = "smartops.urls"
ASGI_APPLICATION = "smartops.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Where a pooler shares out server sessions by transaction, LISTEN needs a way past it; empty: as all else.
DATABASE_LISTEN_URL = env("DATABASE_LISTEN_URL")
_database = dj_database_url.parse(env("DATABASE_URL", "postgresql:///smartops"))
SMARTOPS_DATABASE_POOL = int(env("SMARTOPS_DATABASE_POOL", "20"))
# Under ASGI each request has a thread of its own: without a pool each would open a connection of its own.
_pool = {"min_size": 1, "max_size": SMARTOPS_DATABASE_POOL, "timeout": 5, "connection_class": Session}
# No transaction waits for anything but the database: a process that stands still in one, or a node that went away, must
# not hold its locks against the others. `?options=` of the URL takes its place.
_session = {"options": "-c idle_in_transaction_session_timeout=10s", "server_side_binding": True}
DATABASES = {"default": {**_database, "OPTIONS": {**_session, **_database.get("OPTIONS", {}), "pool": _pool}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Each web process listens to the database itself, so its memory is layer enough; REDIS_URL wants `channels_redis`.
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if redis_url := env("REDIS_URL"):
    CHANNEL_LAYERS["default"] = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [redis_url]}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "admin:login"
PROMETHEUS_EXPORT_MIGRATIONS = False  # `/readyz` tells whether the schema is there
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = env("SMARTOPS_STATIC_ROOT") or None  # for `collectstatic`; WhiteNoise finds the files without it
WHITENOISE_USE_FINDERS = True

# Behind a TLS-terminating proxy unless told otherwise; plain HTTP is for a loopback development server.
SMARTOPS_INSECURE_HTTP = env("SMARTOPS_INSECURE_HTTP") == "1"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False  # the proxy's work: probes and in-cluster agents speak plain HTTP to the pod
SECURE_HSTS_SECONDS = 0 if SMARTOPS_INSECURE_HTTP else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not SMARTOPS_INSECURE_HTTP
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not SMARTOPS_INSECURE_HTTP
SILENCED_SYSTEM_CHECKS = ["security.W008"]
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

# A batch has at most 1,000 signals; nothing that a client may say is larger.
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

SMARTOPS_LOG_FORMAT = env("SMARTOPS_LOG_FORMAT", "console" if sys.stderr.isatty() else "json")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "smartops.logs.formatter", "style": SMARTOPS_LOG_FORMAT}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env("SMARTOPS_LOG_LEVEL", "INFO")},
    "loggers": {name: {"level": "ERROR"} for name in ("django.request", "urllib3", "opentelemetry.exporter")},
}
