"""The commands of contract C9, run as a person runs them: one process each, --json, real workers behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CELERY = [sys.executable, "-m", "celery", "-A", "medprefs", "worker", "--pool", "solo"]


class Loop:
    """A medprefs of its own in ``data_dir``: a database, a broker directory, and workers when asked for."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = os.environ | {
            "DATA_DIR": str(data_dir),
            "SECRET_KEY": "loop-" + "x" * 50,
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "INSECURE_HTTP": "1",
            "DJANGO_SETTINGS_MODULE": "medprefs.settings",
        }
        for name in ("DATABASE_URL", "CELERY_BROKER_URL", "VLLM_URL"):
            self.env.pop(name, None)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.call("migrate", "-v", "0")

    def call(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == expect, f"{' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    def run(self, *arguments: str) -> dict[str, Any]:
        """One command with --json: standard output is one JSON object and nothing else."""
        started = time.monotonic()
        result = json.loads(self.call(*arguments, "--json").stdout)
        print(f"[{time.monotonic() - started:5.0f} s] {' '.join(arguments)}\n          {json.dumps(result)[:300]}")
        return result

    def shell(self, code: str) -> Any:
        """What a snippet prints as JSON, for looking at rows that no command shows."""
        return json.loads(self.call("shell", "-v", "0", "-c", code).stdout)

    def start_workers(self) -> None:
        for queue in ("generation", "training"):
            log = (self.data_dir / f"{queue}.log").open("wb")
            self.workers.append(
                subprocess.Popen(
                    [*CELERY, "-Q", queue, "-n", f"{queue}@%h"],
                    cwd=ROOT,
                    env=self.env,
                    stdout=log,
                    stderr=log,
                )
            )
        alive = "import json; from annotations.models import Worker; "
        alive += "print(json.dumps([Worker.alive('generation'), Worker.alive('training')]))"
        deadline = time.monotonic() + 90
        while self.shell(alive) != [True, True]:
            assert time.monotonic() < deadline, "the workers did not come up"

    def start_web(self) -> str:
        """The server as the README starts it; returns its address."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = (self.data_dir / "web.log").open("wb")
        self.workers.append(
            subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "medprefs.wsgi", "--bind", f"127.0.0.1:{port}", "--threads", "4"],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        )
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/accounts/sign-in/", timeout=5).close()
                return url
            except OSError:
                assert time.monotonic() < deadline, (self.data_dir / "web.log").read_text()
                os.sched_yield()

    def stop(self) -> None:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
