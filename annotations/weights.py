"""The one hash of a model's weights, as the training recipes compute it too (a test holds the two equal)."""

import hashlib
from pathlib import Path

from accounts.errors import UserError


def directory_sha256(path: Path) -> str:
    """SHA-256 over name and content hash of every .safetensors file in ``path`` (not below). Raises UserError."""
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{path} holds no .safetensors file. Weights are read in that format only, because others can run code."
        )
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            total.update(f"{file.name} {hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
