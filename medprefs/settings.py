"""Settings: one file, read from the environment, failing loudly.

DEBUG is off unless asked for. Without DEBUG, SECRET_KEY and ALLOWED_HOSTS must be set.
Everything the program writes lies under DATA_DIR (default: var/ beside manage.py).
"""

import os
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Clinical text is written below: nobody but this user may read it, whatever the directory was before.
os.umask(0o077)
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)
if DATA_DIR.stat().st_mode & 0o077:
    DATA_DIR.chmod(0o700)
# `make setup` writes a SECRET_KEY there; what the environment already holds wins.
env.read_env(str(DATA_DIR / "env"))
DEBUG = env.bool("DEBUG", default=False)

SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Set it to a long random string, for example the output of "
            "`python -c 'import secrets; print(secrets.token_urlsafe(50))'`, or set DEBUG=1 for development."
        )
    SECRET_KEY = "development-only-" + "x" * 40
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else [])
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS is not set. Set it to the host names people open, separated by commas.")
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000").rstrip("/")

INSTALLED_APPS = [
    "accounts",
    "annotations",
    "training",
    "reports",
    "django_htmx",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "medprefs.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Every page asks for sign-in unless its view says @login_not_required.
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "medprefs.middleware.IdleSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "medprefs.middleware.UserErrorMiddleware",
]

ROOT_URLCONF = "medprefs.urls"
WSGI_APPLICATION = "medprefs.wsgi.application"
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

# SQLite unless DATABASE_URL says otherwise (postgres://user:password@host:5432/name).
DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'medprefs.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Tests use a file too: workers and browsers are other processes and threads, and memory is not the real thing.
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"] = {
        # Writers queue for the lock at BEGIN instead of failing at their first write.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "accounts:sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
# Ward computers are shared: a session ends with the browser, and after some hours without a request.
SESSION_COOKIE_AGE = 60 * env.int("SESSION_IDLE_MINUTES", default=4 * 60)
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True

# Production is anything that is not DEBUG; INSECURE_HTTP is for a demo on one's own machine without TLS.
INSECURE_HTTP = env.bool("INSECURE_HTTP", default=DEBUG)
LOOPBACK = {"localhost", "127.0.0.1", "[::1]", "testserver"}
if INSECURE_HTTP and not DEBUG and set(ALLOWED_HOSTS) - LOOPBACK:
    raise ImproperlyConfigured(
        f"INSECURE_HTTP is set, but ALLOWED_HOSTS names hosts that others can reach ({', '.join(ALLOWED_HOSTS)}). "
        "Without TLS passwords and clinical text could be read on the way. Unset INSECURE_HTTP and serve over TLS."
    )
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not INSECURE_HTTP
SECURE_HSTS_SECONDS = 0 if INSECURE_HTTP else 60 * 60 * 24 * 365
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not INSECURE_HTTP
BEHIND_TLS_PROXY = env.bool("BEHIND_TLS_PROXY", default=False)
if BEHIND_TLS_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Without EMAIL_URL nothing is sent. Never to the log: a reset link there is an account for whoever reads it.
EMAIL_BACKEND = f"django.core.mail.backends.{'console' if DEBUG else 'dummy'}.EmailBackend"
EMAIL_CONFIGURED = DEBUG or bool(env.str("EMAIL_URL", default=""))
if email_url := env.str("EMAIL_URL", default=""):
    vars().update(env.email_url_config(email_url))
EMAIL_TIMEOUT = env.int("EMAIL_TIMEOUT", default=5)  # seconds: somebody who judges waits for it when they report harm
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="medprefs@localhost")

LANGUAGE_CODE = "en-gb"
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic step between a fresh clone and the first page
FILE_UPLOAD_PERMISSIONS = 0o600
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "uploads"  # not the system's /tmp: uploads are clinical
FILE_UPLOAD_TEMP_DIR.mkdir(exist_ok=True)
IMPORT_MAX_BYTES = 200 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

# Celery. The filesystem broker needs no server; one directory holds the messages.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="filesystem://localhost")
if CELERY_BROKER_URL.startswith("filesystem://"):
    BROKER_DIR = DATA_DIR / "broker"
    for folder in ("messages", "processed", "control"):
        (BROKER_DIR / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, str | int] = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "processed_folder": str(BROKER_DIR / "processed"),
        "control_folder": str(BROKER_DIR / "control"),
    }
else:
    # Longer than any run: Redis would otherwise hand a message out again after an hour.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 60 * 60 * 24 * 14}
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "generation"
CELERY_TASK_ROUTES = {"training.tasks.*": {"queue": "training"}}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A worker is believed alive this many seconds after its last heartbeat in the database.
WORKER_HEARTBEAT_SECONDS = 5
WORKER_ALIVE_SECONDS = 30
POLL_SECONDS = 0.5

# Models, runs and datasets.
MODELS_DIR = DATA_DIR / "models"
RUNS_DIR = DATA_DIR / "runs"
DATASETS_DIR = DATA_DIR / "datasets"
REPORTS_DIR = DATA_DIR / "reports"
EMBEDDED_MODEL_NAME = "smollm2-135m"
VLLM_URL = env.str("VLLM_URL", default="")
VLLM_API_KEY = env.str("VLLM_API_KEY", default="")

# Logs carry ids, never clinical text.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"()": "medprefs.logs.Formatter", "format": "{asctime} {levelname} {name} {message}", "style": "{"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="WARNING")},
    "loggers": {
        name: {"level": env.str("LOG_LEVEL", default="INFO")}
        for name in ("medprefs", "accounts", "annotations", "training", "reports")
    },
}
