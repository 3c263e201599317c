"""Freezing: judgements become files that never change, in TRL's conversational format, every row with lineage (C5)."""

import hashlib
import json
import os
import shutil
import stat
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import parsing, preferences, prompts
from annotations.models import Campaign, Case, Study
from annotations.preferences import Policy, Row, Rows
from training.models import DatasetRow, TrainingDataset

FORMAT_VERSION = 1
FILES = {Case.Split.TRAIN: "train.jsonl", Case.Split.VALIDATION: "validation.jsonl"}
MANIFEST = "manifest.json"
NO_VALIDATION = "No validation rows: the run will not be evaluated on held-out cases while it trains."


def collect(*, study: Study, kind: str, campaigns: Iterable[Campaign], policy: Policy) -> Rows:
    """The rows a freeze would write, in the order of the file: what a preview shows."""
    found = preferences.rows(study=study, kind=kind, campaigns=campaigns, policy=policy)
    found.rows.sort(
        key=lambda row: (row.case.external_id, row.source, row.chosen_id or 0, row.rejected_id or 0, row.texts)
    )
    return found


def freeze(
    *, study: Study, kind: str, campaigns: Sequence[Campaign], policy: Policy, actor: User | None = None
) -> TrainingDataset:
    """Write the dataset's directory whole or not at all, then its rows. The same inputs give the same bytes of JSONL.

    Raises UserError with the counts of what was dropped where no training row is left.
    """
    found = collect(study=study, kind=kind, campaigns=campaigns, policy=policy)
    by_split = {split: [row for row in found.rows if row.split == split] for split in FILES}
    if not by_split[Case.Split.TRAIN]:
        dropped = [f"{reason}: {count}" for reason, count in found.counts.items()]
        raise UserError(
            f"No {kind} row of the train split is left, so there is nothing to freeze. Judge more items, choose other "
            "campaigns, or change the policy. Dropped, by reason:",
            dropped or ["nothing: the campaigns, references and outputs give no rows at all"],
        )
    files = {FILES[split]: jsonl(by_split[split]) for split in FILES}
    manifest = _manifest(study=study, kind=kind, campaigns=campaigns, policy=policy, found=found, files=files)
    text = json.dumps(manifest, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"
    directory = f"{study.slug}-{kind}-{uuid.uuid4().hex[:12]}"
    write_frozen(settings.DATASETS_DIR / directory, files | {MANIFEST: text})
    try:
        with transaction.atomic():
            return _record(
                study=study,
                kind=kind,
                campaigns=campaigns,
                manifest=manifest,
                sha256=hashlib.sha256(text).hexdigest(),
                directory=directory,
                by_split=by_split,
                actor=actor,
            )
    except BaseException:
        remove_frozen(settings.DATASETS_DIR / directory)
        raise


def jsonl(rows: Sequence[Row]) -> bytes:
    """TRL's conversational format, with what each row was made from beside it."""
    return b"".join(json.dumps(as_dict(row), ensure_ascii=False, sort_keys=True).encode() + b"\n" for row in rows)


def as_dict(row: Row) -> dict[str, Any]:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    line: dict[str, Any] = {
        "prompt": row.prompt,
        "case": row.case.external_id,
        "source": row.source,
        "judgements": list(row.judgement_ids),
    }
    if row.adjudication_ids:
        line["adjudications"] = list(row.adjudication_ids)
    if row.completion:
        made_by = {"chosen_completion": row.chosen_id} if row.chosen_id else {}
        return line | {"completion": said(row.completion)} | made_by
    return line | {
        "chosen": said(row.chosen),
        "rejected": said(row.rejected),
        "chosen_completion": row.chosen_id,
        "rejected_completion": row.rejected_id,
    }


def manifest_of(dataset: TrainingDataset) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((dataset.path / MANIFEST).read_text(encoding="utf-8"))
    return found


def verify(dataset: TrainingDataset) -> list[str]:
    """What is no longer as it was frozen, one line a finding; empty: every byte is."""
    try:
        text = (dataset.path / MANIFEST).read_bytes()
    except OSError:
        return [f"{dataset.path / MANIFEST} can't be read."]
    if hashlib.sha256(text).hexdigest() != dataset.sha256:
        return [f"{MANIFEST} was changed after it was frozen (its SHA-256 is no longer {dataset.sha256[:12]}…)."]
    findings = []
    for name, entry in json.loads(text)["files"].items():
        try:
            with (dataset.path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                    findings.append(f"{name} was changed after it was frozen.")
        except OSError:
            findings.append(f"{name} can't be read.")
    return findings


def _manifest(
    *, study: Study, kind: str, campaigns: Sequence[Campaign], policy: Policy, found: Rows, files: dict[str, bytes]
) -> dict[str, Any]:
    splits = Counter(row.split for row in found.rows)
    return {
        "format_version": FORMAT_VERSION,
        "study": study.slug,
        "task": study.task,
        "synthetic_cases": study.synthetic,
        "kind": kind,
        "policy": policy.resolved(study, kind).as_dict(),
        "template": {"version": study.template_version, "sha256": prompts.template_sha256(study)},
        "parser_version": parsing.PARSER_VERSION,
        "campaigns": [
            {
                "name": campaign.name,
                "kind": campaign.kind,
                "id": str(campaign.public_id),
                "simulated": campaign.simulated,
                "open": campaign.is_open,
            }
            for campaign in campaigns
        ],
        "counts": {
            "train": splits[Case.Split.TRAIN],
            "validation": splits[Case.Split.VALIDATION],
            "by_source": dict(sorted(Counter(row.source for row in found.rows).items())),
        },
        "dropped": {reason: {"count": len(ids), "cases": sorted(ids)} for reason, ids in sorted(found.dropped.items())},
        "files": {
            name: {"sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text), "rows": text.count(b"\n")}
            for name, text in files.items()
        },
        "notes": [] if splits[Case.Split.VALIDATION] else [NO_VALIDATION],
        "created_at": timezone.now().isoformat(),
    }


def _record(
    *,
    study: Study,
    kind: str,
    campaigns: Sequence[Campaign],
    manifest: dict[str, Any],
    sha256: str,
    directory: str,
    by_split: dict[Case.Split, list[Row]],
    actor: User | None,
) -> TrainingDataset:
    dataset = TrainingDataset.objects.create(
        study=study,
        kind=kind,
        policy=manifest["policy"],
        directory=directory,
        sha256=sha256,
        n_train=manifest["counts"]["train"],
        n_validation=manifest["counts"]["validation"],
        dropped={reason: entry["count"] for reason, entry in manifest["dropped"].items()},
        template_version=study.template_version,
        created_by=actor,
    )
    dataset.campaigns.set(campaigns)
    lineage = [
        DatasetRow(
            dataset=dataset,
            split=split,
            position=position,
            case=row.case,
            chosen_id=row.chosen_id,
            rejected_id=row.rejected_id,
            judgement_ids=list(row.judgement_ids),
        )
        for split, rows in by_split.items()
        for position, row in enumerate(rows)
    ]
    DatasetRow.objects.bulk_create(lineage, batch_size=1000)
    audit(actor, "freeze dataset", dataset, kind=kind, rows=len(lineage), sha256=sha256)
    return dataset


def write_frozen(target: Path, files: dict[str, bytes]) -> None:
    """A read-only directory with ``files``: complete under its name, or not there."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, text in files.items():
            with (temporary / name).open("wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            (temporary / name).chmod(0o440)
        _sync(temporary)
        temporary.rename(target)  # while still writable: the parent entry of a read-only directory can't be moved
        target.chmod(0o550)
        _sync(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_frozen(target: Path) -> None:
    """Undo ``write_frozen`` for a dataset that was never recorded."""
    if target.exists():
        target.chmod(stat.S_IRWXU)
        shutil.rmtree(target)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
