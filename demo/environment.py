"""Writes DATA_DIR/env, which settings read: a generated SECRET_KEY and the password of the demo's people.

    python -m demo.environment

What is there stays there; what the process environment says wins over the file.
"""

import os
import secrets
from pathlib import Path


def write(data_dir: Path) -> Path:
    """Make ``data_dir``/env unless it is there; returns its path. Mode 0600: it holds secrets."""
    path = data_dir / "env"
    if path.exists():
        return path
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = [
        f"SECRET_KEY={secrets.token_urlsafe(50)}",
        "ALLOWED_HOSTS=localhost,127.0.0.1",
        f"DEMO_PASSWORD={secrets.token_hex(4)}",
    ]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


def data_dir() -> Path:
    return Path(os.environ.get("DATA_DIR") or Path(__file__).resolve().parent.parent / "var")


if __name__ == "__main__":
    write(data_dir())
