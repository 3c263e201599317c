from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotations.commands import LoopCommand
from annotations.models import Study
from annotations.studies import create_study, read_config


class Command(LoopCommand):
    help = "Create a study. The configuration's format is described in annotations/studies.py."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="its name in addresses and commands: lower-case letters, digits, - and _")
        parser.add_argument("--task", required=True, choices=Study.Task.values)
        parser.add_argument("--config", type=Path, metavar="FILE.toml", help="labels, criteria, prompt, instructions")

    def run(self, **options: Any) -> dict[str, Any]:
        config = read_config(options["config"]) if options["config"] else None
        study = create_study(slug=options["study"], task=options["task"], config=config)
        return {
            "study": study.slug,
            "id": study.pk,
            "task": study.task,
            "title": study.title,
            "label_fields": [field["name"] for field in study.label_fields],
            "criteria": [criterion["name"] for criterion in study.criteria],
        }
