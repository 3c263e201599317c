"""Supervising a run: claim the row, start the recipe in a session of its own, follow it, and say how it ended (C2)."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import InvalidTransition
from accounts.models import User, audit
from annotations.models import Model, Status, Worker
from annotations.weights import directory_sha256
from training.events import Tail
from training.models import Run

logger = logging.getLogger(__name__)

QUEUE = "training"
STOP_AND_KEEP = "STOP_AND_KEEP"
FOLLOWED = (Status.RUNNING, Status.STOPPING)
# After SIGTERM the recipe ends its step and saves a checkpoint; to keep the adapter it also evaluates once more.
GRACE_SECONDS = 60.0
KEEP_GRACE_SECONDS = 900.0
BEAT_SECONDS = 1.0
# A queued row that nobody took for so long has lost its message.
UNANSWERED_SECONDS = 10
# What a recipe may know of this process: nothing of Django, no database, no keys.
ENVIRONMENT = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH"),
    *("LD_LIBRARY_PATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_HOME"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
)


def supervise(run_id: int, *, worker: str, shutting_down: Callable[[], bool] = lambda: False) -> Run:
    """Take a queued run and see it through; or one whose supervisor died. A run in other hands is returned as it is.

    While ``shutting_down()`` the recipe is asked to save a checkpoint, and the run ends interrupted.
    """
    run = Run.objects.select_related("base", "parent", "dataset", "study").get(pk=run_id)
    process: psutil.Process | None
    if run.claim(worker):
        try:
            process = recipe_of(run) or start(run)
        except OSError as error:
            return run.transition(Status.FAILED, error=f"The recipe could not be started: {error}.")
    elif take_over(run, worker):
        process = recipe_of(run)
    else:
        return run
    code = None
    if process is not None:
        logger.info("run %s: following process %s", run.pk, process.pid)
        mine, code = _follow(run, process, worker, shutting_down)
        if not mine:
            logger.warning("run %s: another worker follows it now", run.pk)
            return run
    return finalise(run, code=code)


def start(run: Run) -> psutil.Process | None:
    """Start the recipe in a session of its own; None where its result is there already."""
    if (run.path / "result.json").exists():
        return None
    (run.path / "error.json").unlink(missing_ok=True)  # of an earlier attempt
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "DO_NOT_TRACK"), "1")
    with (run.path / "stderr.log").open("ab") as log:
        process = psutil.Popen(
            [sys.executable, "-m", f"training.recipes.{run.method}", str(run.path)],
            cwd=settings.BASE_DIR,
            env=environment | offline | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
    Run.objects.filter(pk=run.pk).update(pid=process.pid)
    return process


def recipe_of(run: Run) -> psutil.Process | None:
    """The living process that works on the run's directory, whoever started it."""
    for process in psutil.process_iter(["cmdline", "status"]):
        cmdline = process.info["cmdline"] or []
        if str(run.path) in cmdline and f"training.recipes.{run.method}" in cmdline:
            with suppress(OSError):
                if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.pid) == process.pid:
                    return process
    return None


def take_over(run: Run, worker: str) -> bool:
    """Become the supervisor of a run whose own no longer beats; False if it does, or another was first."""
    taken = _unsupervised().filter(pk=run.pk, claimed_by=run.claimed_by)
    if not taken.update(claimed_by=worker, heartbeat_at=timezone.now()):
        return False
    run.refresh_from_db()
    return True


def _unsupervised() -> QuerySet[Run]:
    since = timezone.now() - timedelta(seconds=settings.WORKER_ALIVE_SECONDS)
    return Run.objects.filter(status__in=FOLLOWED, heartbeat_at__lt=since)


# --- following


def _follow(
    run: Run, process: psutil.Process, worker: str, shutting_down: Callable[[], bool]
) -> tuple[bool, int | None]:
    """Until the recipe ends: (whether the run is still ours, the exit status where it is known)."""
    tail = Tail(run.path / "events.jsonl")
    beaten, asked_at, ended, code = 0.0, 0.0, False, None
    while not ended:
        ended, code = _wait(process)
        for event in tail.read():
            run.step, run.max_steps = event.get("step") or 0, event.get("max_steps") or run.max_steps
        if ended or time.monotonic() - beaten >= BEAT_SECONDS:
            beaten = time.monotonic()
            if not _beat(run, worker):
                return False, None
        if ended or not (run.status == Status.STOPPING or shutting_down()):
            continue
        if not asked_at:
            asked_at = time.monotonic()
            _signal(process, signal.SIGTERM)
        keep = (run.path / STOP_AND_KEEP).exists()
        if time.monotonic() - asked_at > (KEEP_GRACE_SECONDS if keep else GRACE_SECONDS):
            _signal(process, signal.SIGKILL)
    return True, code


def _wait(process: psutil.Process) -> tuple[bool, int | None]:
    """Wait a moment: (whether it ended, its exit status where it was our child)."""
    try:
        return True, process.wait(timeout=settings.POLL_SECONDS)
    except psutil.TimeoutExpired:
        with suppress(psutil.Error):
            return process.status() == psutil.STATUS_ZOMBIE, None  # an orphan that nobody reaps
        return True, None


def _beat(run: Run, worker: str) -> bool:
    """Write that the run goes on, and where it is; False once it is no longer ours. Brings back the row's status."""
    try:
        row = Run.objects.filter(pk=run.pk, claimed_by=worker, status__in=FOLLOWED)
        if not row.update(heartbeat_at=timezone.now(), step=run.step, max_steps=run.max_steps):
            return False
        run.status = row.values_list("status", flat=True).get()
    except (OperationalError, Run.DoesNotExist):
        # The recipe needs no database: it goes on, and the row catches up with the next beat.
        logger.exception("run %s: the heartbeat could not be written", run.pk)
        if not connection.in_atomic_block:
            connection.close()
    return True


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    """To the whole group: a recipe may have children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


# --- endings


def finalise(run: Run, *, code: int | None = None) -> Run:
    """Say how a run whose recipe has ended came out. result.json comes first: it is success, whatever else happened."""
    run.refresh_from_db()
    if run.status not in (*FOLLOWED, Status.INTERRUPTED):
        return run
    try:
        if (result := _json(run.path / "result.json")) is not None:
            return _succeed(run, result)
        return _fail(run, _json(run.path / "error.json"), code)
    except InvalidTransition:
        run.refresh_from_db()  # somebody else said it first
        return run


def _succeed(run: Run, result: dict[str, Any]) -> Run:
    adapter = run.path / "adapter"
    if directory_sha256(adapter) != result["adapter_sha256"]:
        return run.transition(
            Status.FAILED, error=f"The adapter in {adapter} is not what the recipe wrote; its hash differs."
        )
    with transaction.atomic():
        # Somebody may have registered a model of this name meanwhile; the run's work is not lost for that.
        name = f"{run.name}-run{run.pk}" if Model.objects.filter(name=run.name).exists() else run.name
        model = Model.objects.create(
            name=name, kind=Model.Kind.ADAPTER, base=run.base, path=str(adapter), sha256=result["adapter_sha256"]
        )
        Model.objects.filter(pk=run.base_id, sha256="").update(sha256=result["base_sha256"])
        audit(None, "create model", model, run=run.pk, sha256=model.sha256)
        steps = {"step": result["steps"], "max_steps": result["max_steps"]}
        run.transition(Status.SUCCEEDED, model=model, result=result, error="", **steps)
    logger.info("run %s succeeded: model %s", run.pk, model.pk)
    return run


def _fail(run: Run, error: dict[str, Any] | None, code: int | None) -> Run:
    cancelled = error is not None and error["kind"] == "cancelled"
    if error is not None and not cancelled:
        return run.transition(Status.FAILED, error=error["message"])
    if run.status == Status.STOPPING and (cancelled or not (run.path / STOP_AND_KEEP).exists()):
        return run.transition(Status.CANCELLED, error=f"Stopped at step {run.step}, as asked.")
    if run.status == Status.INTERRUPTED:
        return run
    if cancelled:
        why = f"The worker was shut down; the recipe saved a checkpoint at step {run.step}."
    elif code is not None and code > 0:
        return run.transition(Status.FAILED, error=f"The recipe ended with status {code}.\n{_stderr_tail(run)}".strip())
    else:
        by = f" by signal {-code}" if code else ""
        hint = " (often because the machine is out of memory)" if code == -signal.SIGKILL else ""
        why = f"The recipe was killed{by}{hint} at step {run.step}.\n{_stderr_tail(run)}".strip()
    return run.transition(Status.INTERRUPTED, error=f"{why}\nResume continues from the newest complete checkpoint.")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _stderr_tail(run: Run, lines: int = 20) -> str:
    try:
        text = (run.path / "stderr.log").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])[-2000:]


# --- stopping and sweeping


def request_stop(*, run: Run, keep: bool, actor: User | None = None) -> Run:
    """Ask a run to end: ``keep`` ends it as a success with the adapter it has, else it is cancelled."""
    run.refresh_from_db()
    flag = run.path / STOP_AND_KEEP
    if run.status in (Status.QUEUED, Status.INTERRUPTED) and not keep:
        run.transition(Status.CANCELLED, error="Cancelled before it trained to the end.")
    elif run.status == Status.RUNNING:
        if keep:
            flag.touch(mode=0o600)
        run.transition(Status.STOPPING, note="keep" if keep else "cancel")
    elif run.status == Status.STOPPING and not keep:
        flag.unlink(missing_ok=True)
    else:
        raise InvalidTransition(f"{run} is {run.status}, so it can't be stopped{' and kept' if keep else ''}.")
    audit(actor, "stop run", run, keep=keep)
    return run


def sweep() -> list[Run]:
    """Say how runs ended whose supervisor and recipe are both gone. Returns the runs that a worker should be told of:
    those whose recipe goes on alone, and those whose message was lost; no more than there are idle workers.
    """
    alone = []
    for run in _unsupervised():
        if recipe_of(run) is None:
            finalise(run)
        else:
            alone.append(run)
    now = timezone.now()
    workers = Worker.objects.filter(heartbeat_at__gte=now - timedelta(seconds=settings.WORKER_ALIVE_SECONDS))
    serving = sum(QUEUE in queues.split(",") for queues in workers.values_list("queues", flat=True))
    idle = serving - (Run.objects.filter(status__in=FOLLOWED).count() - len(alone))
    unanswered = Run.objects.filter(status=Status.QUEUED, queued_at__lt=now - timedelta(seconds=UNANSWERED_SECONDS))
    return [*alone, *unanswered.order_by("pk")][: max(0, idle)]
