"""The tree is the architecture: imports go right to left only (DESIGN, section 3)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["accounts", "annotations", "training", "reports"]
# What each room may import of ours.
ALLOWED = {
    "accounts": {"accounts", "stats"},
    "annotations": {"accounts", "annotations", "stats"},
    "training": {"accounts", "annotations", "training", "stats"},
    "reports": {"accounts", "annotations", "training", "reports", "stats"},
    "stats": {"stats"},
}
OURS = {*ROOMS, "stats", "medprefs", "demo", "tests", "benchmarks"}


def imports(path: Path) -> set[tuple[str, int]]:
    """Every module a file imports, at the top or inside a function, with the line."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {(alias.name, node.lineno) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found.add((node.module or "", node.lineno))
    return found


@pytest.mark.parametrize("room", list(ALLOWED))
def test_a_room_imports_only_what_lies_left_of_it(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for name, line in imports(path)
        if name.split(".")[0] in OURS - ALLOWED[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_recipes_import_nothing_of_ours_but_themselves() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / "training/recipes").rglob("*.py"))
        for name, line in imports(path)
        if name.split(".")[0] in OURS and not name.startswith("training.recipes")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("modules", ["stats", "training.recipes"])
def test_numeric_code_does_not_load_django(modules: str) -> None:
    files = sorted((ROOT / modules.replace(".", "/")).glob("*.py"))
    names = [modules + "." + path.stem for path in files if path.stem != "__init__"]
    assert names
    code = (
        f"import sys, importlib\nfor name in {names!r}: importlib.import_module(name)\nprint('django' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_web_process_does_not_load_torch() -> None:
    code = (
        "import tests.environment, sys, medprefs.wsgi\n"
        "from django.urls import get_resolver\n"
        "get_resolver().url_patterns\n"
        "import annotations.tasks, training.tasks, reports.tasks\n"
        "print(sorted({'torch', 'transformers', 'trl', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
