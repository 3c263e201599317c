"""A run is a directory: the files a recipe reads and writes, and nothing about training itself.

`python -m training.recipes.sft RUN_DIR` and `python -m training.recipes.dpo RUN_DIR`; exit 0 done, 1 failed or
cancelled.

Goes in
    config.json     method           "sft" or "dpo"
                    base_path        directory with safetensors, tokenizer and chat template
                    base_sha256      (may be absent) checked against weights_sha256(base_path)
                    parent_adapter   (dpo; may be absent) directory of the SFT run's adapter
                    seed             (0 where absent)
                    hyperparameters  (may be absent) {name: value}, names and ranges in hyperparameters.py
                    Other keys are the launcher's own and are ignored.
    train.jsonl     one row a line, messages as {"role", "content"}; other keys (lineage) are ignored
                    sft: {"prompt": [system, user], "completion": [assistant]}
                    dpo: {"prompt": [system, user], "chosen": [assistant], "rejected": [assistant]}
    eval.jsonl      the same; may be absent or empty: nothing is evaluated then
    STOP_AND_KEEP   (empty file) makes the next SIGTERM end the run as a success that stopped early

Comes out
    events.jsonl    append only, one object a line: type, time (unix seconds), step, max_steps, and by type
                    log         metrics: TRL's names (loss, learning_rate, grad_norm, epoch, rewards/margins,
                                rewards/accuracies, logps/chosen, ...); the last one has train_runtime, train_loss
                    eval        metrics: eval_loss, eval_rewards/margins, ...; step 0 is before training
                    checkpoint  path: "checkpoints/checkpoint-50"
                    heartbeat   every HEARTBEAT_SECONDS, also while one step takes long; memory_bytes (peak, resident),
                                gpu_memory_bytes (peak) on a GPU
                    status      status: loading, measuring, evaluating, training, saving, succeeded, failed, cancelled,
                                or resumed_from (with path; points written before it with a greater step are void);
                                message for people
                    max_steps is 0 until it is known. A number that is not finite is null. A line that does not parse
                    was torn by a crash: skip it.
    checkpoints/    checkpoint-N/, complete once its complete.json is there and the sizes in it match
    reference-KEY.npz  (dpo, fast) the reference's log-probabilities, (pairs,) `chosen` and `rejected`; reused by runs
                    beside this one with the same rows, base, adapter and template
    before.json     what was measured before the first update, kept for a resumed run
    adapter/        adapter_config.json, adapter_model.safetensors
    result.json     last of all, by rename: success
                    method, seed, stopped_early, steps, max_steps, epochs, train_runtime (seconds, this attempt),
                    resumed_from (path or null)
                    base_path, base_sha256, chat_template_sha256, parent_adapter and parent_adapter_sha256 (or null)
                    adapter_path ("adapter"), adapter_sha256; hashes of weights are weights_sha256 below
                    hyperparameters (all, as used), ignored_hyperparameters (lora_* where the parent decides)
                    rows         {"train": R, "eval": R}, R = read, kept, truncated (0), dropped {"too_long": n},
                                 dropped_rows {"too_long": [row from 0, ...]}, max_length,
                                 tokens {min, median, p95, max, total} or null
                    fast         (dpo) used, reason (why not, or null); where used: shared_prompts {whole, part, none},
                                 reference {"train": {pairs, reused}, "eval": ...}, and where it was left to the recipe
                                 gradient_checkpointing, with activation_bytes and free_bytes that decided it;
                                 roofline {tokens_per_second, flops_per_second (needed ones), of_peak_percent (of a bare
                                 matrix product), reference_seconds}, also a last log event as roofline/...
                    metrics      the last of each logged metric
                    eval_before, eval_after   eval metrics, null without eval rows
                    proof        adapter_tensors, adapter_tensors_moved, lora_b_tensors, lora_b_moved,
                                 adapter_parameters, frozen_tensors, frozen_tensors_moved (0, else the run fails),
                                 end_token, trained_tokens_per_epoch; for dpo also reference ("parent_adapter" or
                                 "base") and step0 {loss, expected_loss (ln 2 for sigmoid), margin, max_abs_margin,
                                 max_abs_reward, rows, tolerance}
                    device, dtype, threads, versions {package: version}
    error.json      instead: kind ("user", "internal" or "cancelled"), message, traceback (text, or null for people's
                    mistakes and for cancelled), step, time

A recipe started again on a directory with result.json does nothing and exits 0; with error.json, it removes that and
resumes from the newest complete checkpoint. Two recipes on one directory: the second exits 1 and writes nothing
(events.jsonl is locked).
"""

import fcntl
import hashlib
import json
import math
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any

from training.recipes.hyperparameters import resolve

HEARTBEAT_SECONDS = 5.0
COMPLETE = "complete.json"
PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "tokenizers", "safetensors")

Row = dict[str, Any]


class UserError(Exception):
    """The person's mistake: what was found, where, what to do; shown as it is."""


class Cancelled(Exception):
    """SIGTERM came; the run ends at the next safe point."""


def go_offline() -> None:
    """No network and no telemetry, ever: clinical data is on this machine. Call before transformers is imported."""
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
    ):
        os.environ[name] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # forked data loaders would warn on every run
    # stderr.log is shown to people: no progress bars, and no advice to those who write TRL
    os.environ["TQDM_DISABLE"] = "1"
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # One run, one GPU: with several in sight Trainer would split batches over them, which TRL refuses.
    if "WORLD_SIZE" not in os.environ:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")


# --- files in


def read_config(run_dir: Path, method: str) -> dict[str, Any]:
    """config.json, complete (hyperparameters with their defaults), its paths checked."""
    path = run_dir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: write the run's configuration there first.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}).") from None
    if config.get("method") != method:
        raise UserError(f"{path}: method is {config.get('method')!r}, but this is the recipe {method!r}.")
    base = Path(config.get("base_path") or "")
    if not config.get("base_path") or not base.is_dir():
        raise UserError(
            f"{path}: base_path {str(base)!r} is not a directory. Give the base model's directory on this machine."
        )
    if not any(base.glob("*.safetensors")):
        raise UserError(
            f"{base} holds no .safetensors file; other weight formats are not read, because they can run code."
        )
    parent = config.get("parent_adapter")
    if parent and not (Path(parent) / "adapter_config.json").is_file():
        raise UserError(f"{path}: parent_adapter {parent!r} has no adapter_config.json. Is the parent run finished?")
    seed = config.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UserError(f"{path}: seed is {seed!r}; it must be a whole number from 0 to 4294967295.")
    try:
        hyperparameters = resolve(method, config.get("hyperparameters") or {})
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    given = sorted(config.get("hyperparameters") or {})
    return config | {"parent_adapter": parent, "seed": seed, "hyperparameters": hyperparameters, "given": given}


def read_rows(path: Path, answers: tuple[str, ...]) -> list[Row]:
    """Rows of `prompt` and `answers` (completion, or chosen and rejected) only; an absent file has none.

    A prompt starts with a system message: without one, a chat template may slip in its own.
    """
    if not path.exists():
        return []
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path.name}, line {number}"
            try:
                row = json.loads(line)
                rows.append({key: _messages(row[key]) for key in ("prompt", *answers)})
            except json.JSONDecodeError as error:
                raise UserError(f"{where}: not JSON ({error}).") from None
            except (KeyError, TypeError) as error:
                raise UserError(
                    f"{where}: needs {', '.join(('prompt', *answers))} as lists of messages ({error!r})."
                ) from None
            if not rows[-1]["prompt"] or rows[-1]["prompt"][0]["role"] != "system":
                raise UserError(f"{where}: the prompt must start with a system message.")
            for key in answers:
                if [message["role"] for message in rows[-1][key]] != ["assistant"]:
                    raise UserError(f"{where}: {key} must be exactly one assistant message.")
    return rows


def _messages(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": str(message["role"]), "content": str(message["content"])} for message in messages]


def newest_checkpoint(run_dir: Path) -> Path | None:
    """The newest checkpoint that was written to its end, or None."""
    found = (path for path in (run_dir / "checkpoints").glob("checkpoint-*") if path.name[11:].isdigit())
    for path in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        try:
            sizes: dict[str, int] = json.loads((path / COMPLETE).read_text())["sizes"]
            if all((path / name).stat().st_size == size for name, size in sizes.items()):
                return path
        except (OSError, ValueError, KeyError):
            continue  # a kill came in the middle of it
    return None


# --- files out


def write_json(path: Path, value: Any) -> None:
    """All of it or nothing: a temporary file, fsync, rename, fsync of the directory."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(finite(value), file, indent=2, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def finite(value: Any) -> Any:
    """`value` with numbers that JSON cannot write (nan, infinities) as None."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def weights_sha256(directory: Path) -> str:
    """The one hash of a model or adapter: SHA-256 over names and contents of the .safetensors files in `directory`."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise UserError(f"{directory} holds no .safetensors file.")
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def mark_complete(checkpoint: Path) -> None:
    """Written last: from here on a resume may trust this checkpoint."""
    sizes = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != COMPLETE:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            sizes[str(path.relative_to(checkpoint))] = path.stat().st_size
    write_json(checkpoint / COMPLETE, {"sizes": sizes})


def package_versions() -> dict[str, str]:
    """The versions that decide what a run computes."""
    versions = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


class Events:
    """The only writer of events.jsonl, with a thread that shows life while a step takes long, and the SIGTERM flag."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.step = 0
        self.max_steps = 0
        self.terminate = False
        self._mutex = threading.Lock()
        self._closed = threading.Event()
        self._file = (run_dir / "events.jsonl").open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the kernel, even after kill -9
        except BlockingIOError:
            raise SystemExit(f"Another recipe is already working in {run_dir}.") from None
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")  # end the line that a crash tore, so that ours stays readable
        self._previous = signal.signal(signal.SIGTERM, self._on_sigterm)
        self._beat = threading.Thread(target=self._heartbeat, daemon=True, name="heartbeat")
        self._beat.start()

    def write(self, type: str, **fields: Any) -> None:
        event = {"type": type, "time": time.time(), "step": self.step, "max_steps": self.max_steps, **finite(fields)}
        line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        with self._mutex:
            self._file.write(line.encode())
            self._file.flush()

    def status(self, status: str, message: str = "", **fields: Any) -> None:
        """Also a safe point: a run that was told to stop ends here rather than begin the next phase."""
        self.write("status", status=status, message=message, **fields)
        self.check()

    def check(self) -> None:
        if self.terminate:
            raise Cancelled(f"Stopped at step {self.step} of {self.max_steps or 'unknown'}.")

    def keep(self) -> bool:
        """Whether the stop that was asked for should keep the adapter."""
        return (self.run_dir / "STOP_AND_KEEP").exists()

    def close(self) -> None:
        signal.signal(signal.SIGTERM, self._previous)
        self._closed.set()
        self._beat.join(timeout=HEARTBEAT_SECONDS)
        self._file.close()

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        self.terminate = True  # nothing else is safe inside a signal handler

    def _heartbeat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            self.write("heartbeat", **memory())


def memory() -> dict[str, int]:
    """Peak memory in bytes: resident, and on the GPU where one is in use."""
    peak = {"memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}  # Linux counts in KiB
    cuda = sys.modules.get("torch.cuda")
    if getattr(cuda, "is_initialized", bool)():  # the heartbeat may come while torch is half imported
        peak["gpu_memory_bytes"] = int(cuda.max_memory_allocated())  # type: ignore[union-attr]
    return peak


def execute(recipe: Callable[[Path, Events], dict[str, Any]], run_dir: Path) -> int:
    """Run `recipe`, write result.json from what it returns or error.json from what it raises; the exit status."""
    if not run_dir.is_dir():
        print(f"{run_dir} is not a directory.", file=sys.stderr)
        return 1
    if (run_dir / "result.json").exists():
        return 0  # the doorbell rang twice
    events = Events(run_dir)
    (run_dir / "error.json").unlink(missing_ok=True)
    try:
        result = recipe(run_dir, events)
        write_json(run_dir / "result.json", result)
        events.write("status", status="succeeded", message="")
        return 0
    except (UserError, Cancelled) as error:
        kind = "user" if isinstance(error, UserError) else "cancelled"
        _fail(run_dir, events, kind, str(error), None)
    except Exception as error:
        if "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error):
            message = (
                f"Out of memory at step {events.step}. Lower per_device_train_batch_size or max_length, and run again."
            )
            _fail(run_dir, events, "user", message, traceback.format_exc())
            return 1
        # A full disk, a bug: ours to read. Only the type goes into the message, because a message could quote a row.
        message = f"{type(error).__name__} at step {events.step}; the traceback is in error.json and stderr.log."
        _fail(run_dir, events, "internal", message, traceback.format_exc())
    finally:
        events.close()
    return 1


def _fail(run_dir: Path, events: Events, kind: str, message: str, trace: str | None) -> None:
    print(trace or message, file=sys.stderr)
    error = {"kind": kind, "message": message, "traceback": trace, "step": events.step, "time": time.time()}
    write_json(run_dir / "error.json", error)
    events.write("status", status="cancelled" if kind == "cancelled" else "failed", message=message)
