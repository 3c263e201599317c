"""Real Celery workers: they prove that they live, answer the doorbell, and sweep for what nobody rang for."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from accounts.errors import UserError
from annotations.doorbell import require_worker
from annotations.generation.queue import queue_generation
from annotations.models import Model, Status, Worker
from tests.factories import make_cases, make_model, make_study

ROOT = Path(__file__).resolve().parent.parent


def eventually(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        os.sched_yield()


@pytest.fixture
def vllm_url() -> Iterator[str]:
    """What a worker asks of a server at VLLM_URL when it starts: its models."""

    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"data": [{"id": "served-llama", "owned_by": "vllm"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def worker(transactional_db: None, tmp_path: Path, vllm_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on the test's own database and broker."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite" and ("mode=memory" in name or name == ":memory:"):
        pytest.skip("the test database is in memory, a second process can't see it")
    url = (
        f"sqlite:///{name}"
        if connection.vendor == "sqlite"
        else os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"
    )
    log = (tmp_path / "worker.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "medprefs", "worker", "--pool", "solo", "-Q", "generation"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": url, "DATA_DIR": str(settings.DATA_DIR), "VLLM_URL": vllm_url},
        stdout=log,
        stderr=log,
    )
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_a_worker_proves_that_it_lives_and_says_goodbye(worker):
    eventually(lambda: Worker.alive("generation"), "a heartbeat")
    require_worker("generation")
    eventually(lambda: Model.objects.filter(name="served-llama", kind="endpoint").exists(), "VLLM_URL is registered")
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)
    with pytest.raises(UserError, match="No worker is serving the queue “generation”"):
        require_worker("generation")


def test_a_queued_row_is_found_though_nobody_rang(worker, tmp_path):
    study = make_study()
    make_cases(study, 1)
    model = make_model("nowhere", kind="base", path=str(tmp_path / "missing"))
    row = queue_generation(study=study, model=model)

    # No message was sent by hand: on_commit rang once, and the sweep rings for ever after.
    def failed() -> bool:
        row.refresh_from_db()
        return row.status == Status.FAILED

    eventually(failed, "the worker answers")
    assert str(tmp_path / "missing") in row.error


def test_without_a_worker_waiting_fails_at_once(db):
    with pytest.raises(UserError, match="Start one with"):
        require_worker("training")
