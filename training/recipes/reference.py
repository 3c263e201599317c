"""The reference's log-probabilities of a data set, computed once and kept: DPO's reference never changes.

They are two numbers a pair, in `reference-<key>.npz` in the run's directory. The key says everything they depend on,
so a resumed run finds its own file, and a later run on the same rows, reference and template finds it in the directory
beside its own. No text is in the file.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Pairs = Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]]


def key(pairs: Pairs, reference: Mapping[str, Any]) -> str:
    """SHA-256 over `reference` (hashes of base, adapter and template, precision) and the token ids of every pair."""
    total = hashlib.sha256(json.dumps(dict(reference), sort_keys=True).encode())
    for pair in pairs:
        for part in pair:
            total.update(len(part).to_bytes(8, "little"))
            total.update(np.asarray(part, dtype="<i8").tobytes())
    return total.hexdigest()


def find(run_dir: Path, name: str) -> Path | None:
    """The file of this key, in the run's directory or in one beside it."""
    file = f"reference-{name}.npz"
    beside = sorted(path for path in run_dir.parent.glob(f"*/{file}") if path.parent != run_dir)
    return next((path for path in [run_dir / file, *beside] if path.is_file()), None)


def read(path: Path, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(chosen, rejected), each (n,) fp32; None where the file is torn or of another size."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            chosen, rejected = stored["chosen"], stored["rejected"]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return (chosen, rejected) if chosen.shape == rejected.shape == (n,) else None


def write(run_dir: Path, name: str, chosen: np.ndarray, rejected: np.ndarray) -> Path:
    """All of it or nothing: a temporary file, then a rename."""
    path = run_dir / f"reference-{name}.npz"
    temporary = run_dir / f".reference.{os.getpid()}.tmp"
    with temporary.open("wb") as file:
        np.savez(file, chosen=chosen.astype(np.float32), rejected=rejected.astype(np.float32))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return path
