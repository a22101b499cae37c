"""Django's settings. What a deployment may set is read from the environment; the README lists the variables."""

import sys
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
import django_stubs_ext

from signals.lib.availability import DEADLINES
from smartops.database import Session
from smartops.environment import env, env_bool, env_choice, env_float, env_int, env_list, env_postgresql, env_roles

django_stubs_ext.monkeypatch()  # `ModelAdmin[Token]` and the like can be evaluated at run time

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env_bool("SMARTOPS_DEBUG")
# The default is for development: the check smartops.E001 recognizes it by its prefix.
SECRET_KEY = env("SMARTOPS_SECRET_KEY", "django-insecure-for-development-only")
# HMAC keys of API tokens, newest first: new tokens use the first, old tokens match any.
SMARTOPS_TOKEN_PEPPERS = env_list("SMARTOPS_TOKEN_PEPPERS", SECRET_KEY)
ALLOWED_HOSTS = env_list("SMARTOPS_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("SMARTOPS_CSRF_TRUSTED_ORIGINS")
# The prefix of all paths, as "/smartops", where the site shares its host with others.
FORCE_SCRIPT_NAME = env("SMARTOPS_ROOT_PATH").rstrip("/") or None
# Where people open the console, as https://smartops.example.com/console, for links in Events and in answers of the API.
SMARTOPS_CONSOLE_URL = env("SMARTOPS_CONSOLE_URL").rstrip("/")

# Defaults for a request that names no cluster or namespace, and the namespaces in which reconcilers act.
SMARTOPS_CLUSTER = env("SMARTOPS_CLUSTER", "default")
SMARTOPS_CLUSTER_NOTE = env("SMARTOPS_CLUSTER_NOTE")  # shown beside the cluster's name in the console, e.g. "sandbox"
SMARTOPS_NAMESPACE = env("SMARTOPS_NAMESPACE", "smartops-dev")
SMARTOPS_NAMESPACES = env_list("SMARTOPS_NAMESPACES", SMARTOPS_NAMESPACE)  # "*": all namespaces
SMARTOPS_ALLOWED_OWN_WORKLOADS = env_list("SMARTOPS_ALLOWED_OWN_WORKLOADS")  # namespace/name; SmartOps' own others: no
SMARTOPS_ALLOWED_PATCH_PREFIXES = env_list("SMARTOPS_ALLOWED_PATCH_PREFIXES")  # of names, e.g. example.com/
SMARTOPS_KUBECONFIG = env("SMARTOPS_KUBECONFIG")  # empty: in-cluster, else the default kubeconfig
SMARTOPS_OPA_URL = env("SMARTOPS_OPA_URL")  # e.g. http://opa:8181/v1/data/smartops/decision; empty: no external policy
SMARTOPS_OPA_TIMEOUT = env_float("SMARTOPS_OPA_TIMEOUT", 2)

# How much each token may post, unless the token has limits of its own; and all of them together.
SMARTOPS_SIGNALS_PER_MINUTE = env_int("SMARTOPS_SIGNALS_PER_MINUTE", 100_000)
SMARTOPS_WAITING_SIGNALS = env_int("SMARTOPS_WAITING_SIGNALS", 5_000)
SMARTOPS_QUEUE_LIMIT = env_int("SMARTOPS_QUEUE_LIMIT", 50_000)

# How many days `manage.py retain` keeps what it may drop afterwards (smartops/retention).
SMARTOPS_RETAIN_OBSERVATIONS_DAYS = env_int("SMARTOPS_RETAIN_OBSERVATIONS_DAYS", 30)
SMARTOPS_RETAIN_SIGNALS_DAYS = env_int("SMARTOPS_RETAIN_SIGNALS_DAYS", 400)
SMARTOPS_RETAIN_ACTIONS_DAYS = env_int("SMARTOPS_RETAIN_ACTIONS_DAYS", 400)
SMARTOPS_RETAIN_DECISIONS_DAYS = env_int("SMARTOPS_RETAIN_DECISIONS_DAYS", 400)
SMARTOPS_RETAIN_AUDIT_DAYS = env_int("SMARTOPS_RETAIN_AUDIT_DAYS", 400)

# The extra `oidc` is installed: sign-in by an OpenID provider (smartops/oidc).
SMARTOPS_WITH_OIDC = find_spec("allauth") is not None
_allauth = ["allauth", "allauth.account", "allauth.socialaccount"] if SMARTOPS_WITH_OIDC else []
INSTALLED_APPS = [
    *_allauth,
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
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
    "smartops.web.access_log.refusals",
    "smartops.web.direction.visible_direction",
    "smartops.api.problem_handlers.problem_details",
    "smartops.web.fast_path.fast_path",
    "django.middleware.security.SecurityMiddleware",
    "smartops.web.static_files.static_files",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "smartops.web.acting.acting_person",
    "smartops.web.second_factor.required",
    "django.contrib.messages.middleware.MessageMiddleware",
    *(["allauth.account.middleware.AccountMiddleware"] if SMARTOPS_WITH_OIDC else []),
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
                "smartops.console.pages.frame",
                "smartops.console.freezes.everywhere",
            ]
        },
    }
]

# LISTEN does not work through a pooler in transaction mode and needs a direct URL; empty: DATABASE_URL.
DATABASE_LISTEN_URL = env_postgresql("DATABASE_LISTEN_URL")
# The roles that `migrate` grants each process its privileges; the logins in DATABASE_URL are members of them.
SMARTOPS_WEB_ROLE = env("SMARTOPS_WEB_ROLE", "smartops_web")
SMARTOPS_RECONCILER_ROLE = env("SMARTOPS_RECONCILER_ROLE", "smartops_reconciler")
_database = dj_database_url.parse(env_postgresql("DATABASE_URL", "postgresql:///smartops"))
SMARTOPS_DATABASE_POOL = env_int("SMARTOPS_DATABASE_POOL", 20)
# Under ASGI each request runs on its own thread: without a pool each would open its own connection.
_pool = {"min_size": 1, "max_size": SMARTOPS_DATABASE_POOL, "timeout": 5, "connection_class": Session}
# No transaction waits for anything but the database. A process that stops within one, or a lost node, must not keep its
# locks. Every statement reads a few rows of an index. To start workers takes longer, and partitions make PostgreSQL
# start them. `?options=` of the URL overrides both.
_options = "-c idle_in_transaction_session_timeout=10s -c max_parallel_workers_per_gather=0"
_session = {"options": _options, "server_side_binding": True, **DEADLINES}
DATABASES = {"default": {**_database, "OPTIONS": {**_session, **_database.get("OPTIONS", {}), "pool": _pool}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
SESSION_ENGINE = "smartops.people.sessions"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "smartops.people.access.RoleBackend"]
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "console:overview"
SMARTOPS_REQUIRE_MFA = env_bool("SMARTOPS_REQUIRE_MFA")  # accounts with a password need a second factor
# Sign-in by an OpenID provider, if it is named: docs/sign-in.md.
SMARTOPS_OIDC_ISSUER = env("SMARTOPS_OIDC_ISSUER").rstrip("/")
SMARTOPS_OIDC_CLIENT_ID = env("SMARTOPS_OIDC_CLIENT_ID")
SMARTOPS_OIDC_CLIENT_SECRET = env("SMARTOPS_OIDC_CLIENT_SECRET")
SMARTOPS_OIDC_NAME = env("SMARTOPS_OIDC_NAME", "single sign-on")  # as the button has it
SMARTOPS_OIDC_SCOPES = env_list("SMARTOPS_OIDC_SCOPES", "openid,profile")
SMARTOPS_OIDC_USERNAME_CLAIM = env("SMARTOPS_OIDC_USERNAME_CLAIM", "preferred_username")
SMARTOPS_OIDC_GROUPS_CLAIM = env("SMARTOPS_OIDC_GROUPS_CLAIM", "groups")
SMARTOPS_OIDC_ROLES = env_roles("SMARTOPS_OIDC_ROLES")  # {"group": ["role@cluster/namespace"]}
SMARTOPS_OIDC_SESSION_HOURS = env_int("SMARTOPS_OIDC_SESSION_HOURS", 12)
ACCOUNT_ADAPTER, SOCIALACCOUNT_ADAPTER = "smartops.oidc.accounts.Accounts", "smartops.oidc.accounts.Identities"
ACCOUNT_EMAIL_VERIFICATION = "none"
SMARTOPS_SOCKETS_PER_USER = env_int("SMARTOPS_SOCKETS_PER_USER", 20)  # open pages of the console, in each web process
PROMETHEUS_EXPORT_MIGRATIONS = False  # `/readyz` reports unapplied migrations
PROMETHEUS_LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

# Of the settings that Django's debug pages show.
DEFAULT_EXCEPTION_REPORTER_FILTER = "smartops.web.debug.ExceptionReporterFilter"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = env("SMARTOPS_STATIC_ROOT") or None  # for `collectstatic`; WhiteNoise finds the files without it
WHITENOISE_USE_FINDERS = True

# By default a proxy terminates TLS; plain HTTP is for a development server on loopback. The server removes the header
# unless the peer is a trusted proxy.
SMARTOPS_INSECURE_HTTP = env_bool("SMARTOPS_INSECURE_HTTP")
# Whose X-Forwarded-For and X-Forwarded-Proto are believed: see smartops/edge/proxies.py.
SMARTOPS_TRUSTED_PROXIES = env_list("SMARTOPS_TRUSTED_PROXIES", "" if SMARTOPS_INSECURE_HTTP else "private")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = False  # the proxy redirects: probes and in-cluster agents use plain HTTP to the pod
SECURE_HSTS_SECONDS = 0 if SMARTOPS_INSECURE_HTTP else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not SMARTOPS_INSECURE_HTTP
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not SMARTOPS_INSECURE_HTTP
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{FORCE_SCRIPT_NAME or ''}/"
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

# The size limit of a batch of signals, the largest request. No body needs a temporary file.
DATA_UPLOAD_MAX_MEMORY_SIZE = FILE_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024

SMARTOPS_LOG_FORMAT = env_choice(
    "SMARTOPS_LOG_FORMAT", "console" if sys.stderr.isatty() else "json", ["console", "json"]
)
SMARTOPS_LOG_LEVEL = env_choice("SMARTOPS_LOG_LEVEL", "INFO", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "smartops.logs.formatter", "style": SMARTOPS_LOG_FORMAT}},
    "filters": {"unavailable": {"()": "smartops.logs.WithoutTraceback"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["unavailable"]},
        "suspicious": {"class": "smartops.web.access_log.Suspicious"},
    },
    "root": {"handlers": ["stderr"], "level": SMARTOPS_LOG_LEVEL},
    "loggers": {
        **{name: {"level": "ERROR"} for name in ("django.request", "urllib3", "opentelemetry.exporter", "fido2")},
        "django.security": {"handlers": ["suspicious"], "propagate": False},
    },
}
