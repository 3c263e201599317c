"""Completions from an OpenAI-compatible server such as vLLM."""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx

from accounts.errors import UserError
from annotations.generation.interface import TOO_LONG, Answer, Deliver, Prompt
from annotations.generation.sampling import Sampling
from annotations.registering import authorisation, served_models, unreachable, wrong_key

logger = logging.getLogger(__name__)

CONCURRENCY = 16  # vLLM batches what is in flight; more would only wait there
TICK_SECONDS = 5
TIMEOUT = httpx.Timeout(600, connect=10)
# Pauses before another try where the server is overloaded, restarting or gone.
PAUSES = (1.0, 4.0, 15.0)
RETRIED = {408, 429, 500, 502, 503, 504}
# How vLLM, llama.cpp and OpenAI say that a prompt doesn't fit.
TOO_LONG_SIGNS = ("context length", "context_length_exceeded", "max_model_len", "model length", "context size")
# vLLM would fill these from the model's own generation config, so that its defaults leaked into an evaluation.
NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class OpenAIServer:
    """One served model. ``url`` ends with /v1."""

    url: str
    served_name: str
    pauses: tuple[float, ...] = PAUSES

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, deliver: Deliver) -> None:
        body = self._body(sampling)
        stop = threading.Event()
        pool = ThreadPoolExecutor(CONCURRENCY)
        # trust_env=False: a proxy from the environment must never see clinical text.
        with httpx.Client(timeout=TIMEOUT, trust_env=False, headers=authorisation(self.url)) as client:
            waiting: set[Future[Answer]] = {
                pool.submit(self._answer, client, body | {"messages": prompt.messages, "seed": prompt.seed}, i, stop)
                for i, prompt in enumerate(prompts)
            }
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
                    if not deliver([future.result() for future in done]):
                        return
            finally:
                # What hasn't begun never does; what is in flight is not waited for.
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _body(self, sampling: Sampling) -> dict[str, Any]:
        """What all requests have in common, once the server has said that it serves the model."""
        served = {row["id"]: row for row in served_models(self.url)}
        if self.served_name not in served:
            raise self._not_served(", ".join(served))
        body: dict[str, Any] = {
            "model": self.served_name,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "n": 1,
        }
        return body | NEUTRAL if served[self.served_name].get("owned_by") == "vllm" else body

    def _answer(self, client: httpx.Client, body: dict[str, Any], position: int, stop: threading.Event) -> Answer:
        response = self._post(client, body, stop)
        if response.status_code == 400 and any(sign in response.text.lower() for sign in TOO_LONG_SIGNS):
            return Answer(position, skipped=TOO_LONG)
        if response.status_code != 200:
            raise self._refused(response)
        try:
            reply = response.json()
            choice = reply["choices"][0]
            text = choice["message"]["content"]
            if text is not None and not isinstance(text, str):
                raise TypeError
            tokens = (reply.get("usage") or {}).get("completion_tokens")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise UserError(
                f"The model server at {self.url} answered, but not with a chat completion. Is that the address of an "
                "OpenAI-compatible server, up to and including /v1?"
            ) from None
        return Answer(position, text or "", str(choice.get("finish_reason") or "")[:20], tokens)

    def _post(self, client: httpx.Client, body: dict[str, Any], stop: threading.Event) -> httpx.Response:
        """The server's answer, after as many tries as ``pauses`` allow. Raises UserError where it never comes."""
        for pause in (*self.pauses, None):
            try:
                response = client.post(f"{self.url}/chat/completions", json=body)
            except httpx.HTTPError as error:
                if pause is None or stop.is_set():
                    raise unreachable(self.url, error) from None
                logger.warning("no answer from %s (%s), trying again", self.url, type(error).__name__)
            else:
                if response.status_code not in RETRIED or pause is None or stop.is_set():
                    return response
                logger.warning("status %s from %s, trying again", response.status_code, self.url)
            stop.wait(pause)
        raise AssertionError("the last try returns or raises")

    def _refused(self, response: httpx.Response) -> UserError:
        if response.status_code in (401, 403):
            return wrong_key(self.url)
        if response.status_code == 404:
            return self._not_served("")
        tries = f" after {len(self.pauses) + 1} tries" if response.status_code in RETRIED else ""
        return UserError(
            f"The model server at {self.url} answered with status {response.status_code}{tries}: {reason(response)} "
            "Nothing was lost: mend it and queue the generation again, it goes on where it stopped."
        )

    def _not_served(self, served: str) -> UserError:
        return UserError(
            f"The model server at {self.url} serves no model called “{self.served_name}”"
            + (f"; it serves: {served}" if served else "")
            + ". Load it there, or register the model under the name it is served by."
        )


def reason(response: httpx.Response) -> str:
    """The server's own words, short: {"error": {"message": …}} as OpenAI has it, or vLLM's {"message": …}."""
    try:
        body = response.json()
        error = body.get("error", body)
        said = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = ""
    said = str(said or "no reason given").strip()[:300]
    return said if said.endswith((".", "!", "?")) else f"{said}."
