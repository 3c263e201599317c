"""Registering models: weights in a directory, an adapter on a base, or a server."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.db import IntegrityError, transaction

from accounts.errors import UserError
from accounts.models import User, audit
from annotations.models import Model
from annotations.weights import directory_sha256

logger = logging.getLogger(__name__)

# A comma would break --arms A,B; the rest keeps names readable in tables and commands.
NAME = re.compile(r"[A-Za-z0-9][\w.@:/+-]{0,119}")
TIMEOUT = httpx.Timeout(10, connect=5)


def valid_name(name: str) -> str:
    """``name``, if a model may be called so. Raises UserError."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"“{name}” can't be a model's name. Use up to 120 letters, digits and . _ - / : @ +, beginning "
            "with a letter or digit, without spaces or commas."
        )
    return name


def add_base(*, name: str, path: Path, actor: User | None = None) -> Model:
    """Register a directory with a model's weights as safetensors, for the embedded generator and for training."""
    path = _directory(path, "config.json")
    return _create(name, actor, kind=Model.Kind.BASE, path=str(path), sha256=directory_sha256(path))


def add_adapter(*, name: str, path: Path, base: str, actor: User | None = None) -> Model:
    """Register a PEFT adapter's directory on a registered base model."""
    path = _directory(path, "adapter_config.json")
    row = Model.objects.filter(name=base).first()
    if row is None or row.kind != Model.Kind.BASE:
        bases = ", ".join(Model.objects.filter(kind=Model.Kind.BASE).values_list("name", flat=True)) or "none yet"
        raise UserError(f"“{base}” is no registered base model. Base models: {bases}.")
    return _create(name, actor, kind=Model.Kind.ADAPTER, base=row, path=str(path), sha256=directory_sha256(path))


def add_endpoint(*, name: str, url: str, served_name: str = "", actor: User | None = None) -> Model:
    """Register a model on an OpenAI-compatible server, which must answer and serve it."""
    url = normal_url(url)
    served = [row["id"] for row in served_models(url)]
    if not served_name:
        if len(served) != 1:
            raise UserError(f"{url} serves {len(served)} models. Say which with --served-name: {', '.join(served)}.")
        served_name = served[0]
    if served_name not in served:
        raise UserError(f"{url} serves no model called “{served_name}”. It serves: {', '.join(served) or 'none'}.")
    return _create(name, actor, kind=Model.Kind.ENDPOINT, url=url, served_name=served_name)


def register_defaults() -> list[Model]:
    """Register what the server at VLLM_URL serves, under its served names, and return the rows of that server.

    Does nothing without VLLM_URL. Raises UserError where the server doesn't answer.
    """
    if not settings.VLLM_URL:
        return []
    url = normal_url(settings.VLLM_URL)
    for row in served_models(url):
        served = row["id"]
        if Model.objects.filter(url=url, served_name=served).exists():
            continue
        name = re.sub(r"[^\w.@:/+-]", "-", served)[:110]
        if Model.objects.filter(name=name).exists():
            name = f"{name}@server"
        _create(name, None, kind=Model.Kind.ENDPOINT, url=url, served_name=served)
    return list(Model.objects.filter(url=url))


def normal_url(url: str) -> str:
    """The server's root up to and including /v1. Raises UserError where it is no address."""
    url = url.strip().rstrip("/")
    try:
        URLValidator(schemes=["http", "https"])(url)
    except ValidationError:
        raise UserError(f"“{url}” is no address of a server. Write it like http://127.0.0.1:8001/v1.") from None
    return url if url.endswith("/v1") else f"{url}/v1"


def served_models(url: str) -> list[dict[str, Any]]:
    """What GET /v1/models lists: dicts with ``id`` and often ``owned_by``. Raises UserError that says what to do."""
    try:
        # trust_env=False: a proxy from the environment must never see clinical text, nor the key.
        response = httpx.get(f"{url}/models", headers=authorisation(url), timeout=TIMEOUT, trust_env=False)
    except httpx.HTTPError as error:
        raise unreachable(url, error) from None
    if response.status_code in (401, 403):
        raise wrong_key(url)
    try:
        rows = response.raise_for_status().json()["data"]
        return [row for row in rows if isinstance(row["id"], str)]
    except (httpx.HTTPError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise UserError(
            f"{url}/models answered with status {response.status_code}, but not with a list of models. "
            "Is that the address of an OpenAI-compatible server, up to and including /v1?"
        ) from None


def authorisation(url: str) -> dict[str, str]:
    """The header that carries VLLM_API_KEY, for the server at VLLM_URL only: no other server gets to see the key."""
    ours = bool(settings.VLLM_API_KEY and settings.VLLM_URL) and url == normal_url(settings.VLLM_URL)
    return {"Authorization": f"Bearer {settings.VLLM_API_KEY}"} if ours else {}


def unreachable(url: str, error: Exception) -> UserError:
    reason = "it took too long to answer" if isinstance(error, httpx.TimeoutException) else str(error)
    return UserError(
        f"The model server at {url} doesn't answer ({reason or type(error).__name__}). Check that it is running "
        "and that the address is right; a vLLM server needs some minutes to load a model."
    )


def wrong_key(url: str) -> UserError:
    state = "The key in VLLM_API_KEY was not accepted" if authorisation(url) else "It wants a key"
    return UserError(
        f"The model server at {url} refused us. {state}: set VLLM_URL to its address and VLLM_API_KEY to its key for "
        "the web server and the workers, and start them again. No other server is sent the key."
    )


def _directory(path: Path, needed: str) -> Path:
    path = path.expanduser().resolve()
    if not path.is_dir():
        raise UserError(f"{path} is not a directory on this machine. Give the directory that holds {needed}.")
    if not (path / needed).is_file():
        raise UserError(f"{path} holds no {needed}, so it is not what it should be. Check the path.")
    try:
        json.loads((path / needed).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path / needed} can't be read as JSON ({error}).") from None
    return path


def _create(name: str, actor: User | None, **fields: Any) -> Model:
    valid_name(name)
    taken = UserError(f"There is a model called “{name}” already. Choose another name.")
    if Model.objects.filter(name=name).exists():
        raise taken
    try:
        with transaction.atomic():
            model = Model.objects.create(name=name, **fields)
            audit(actor, "add_model", model, name=name, kind=model.kind, sha256=model.sha256)
    except IntegrityError:
        raise taken from None
    logger.info("registered model %s (%s)", model.pk, model.kind)
    return model
