"""What the commands of contract C9 have in common: --json, exit status 0 / 1 / 2, progress bars on standard error."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from accounts.errors import UserError
from annotations.models import Study

T = TypeVar("T")


class LoopCommand(BaseCommand):
    """A command of the loop: ``run(**options)`` does the work and returns one JSON-ready dict.

    With --json that dict is all that standard output gets; without, it is printed as lines. A UserError ends with
    status 1 and its message on standard error; bad use ends with status 2 (argparse).
    """

    requires_migrations_checks = True

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object on standard output, nothing else"
        )
        return parser

    def handle(self, **options: Any) -> None:
        try:
            result = self.run(**options)
        except UserError as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(result, ensure_ascii=False, default=str))
        else:
            for key, value in result.items():
                self.stdout.write(f"{key}: {json.dumps(value, ensure_ascii=False, default=str)}")

    def run(self, **options: Any) -> dict[str, Any]:
        raise NotImplementedError


def study_named(slug: str) -> Study:
    """The study, or a UserError that names those there are."""
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        known = ", ".join(Study.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise UserError(f"There is no study “{slug}”. Studies: {known}.")
    return study


def add_where(parser: ArgumentParser) -> None:
    """--wait | --here: follow the row, or do its work in this process."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--wait", action="store_true", help="follow the work until a worker has done it")
    where.add_argument("--here", action="store_true", help="do the work in this process instead of a worker")


def progress(rows: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """A progress bar on standard error, silent where that is no terminal."""
    yield from tqdm(rows, desc=label, total=total, file=sys.stderr, disable=None)
