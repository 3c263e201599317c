"""Edit to ideal: an annotator's correction of an output becomes a completion of their own, and a `chosen` if wanted."""

import hashlib
from collections.abc import Callable, Iterable

from accounts.models import User
from annotations import parsing
from annotations.models import Campaign, Case, Completion, Item, Membership, Model, Revision, Study

MAX_IDEAL = 20_000  # characters
Correction = tuple[Revision, Completion, Completion]  # with the ideal, and the output it was edited from


def tidied(text: str) -> str:
    """The text as it is kept: browsers send lines that end in CR LF, and white space around it says nothing.

    >>> tidied("One.\\r\\nTwo. \\n")
    'One.\\nTwo.'
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def differs(text: str, output: Completion) -> bool:
    """Whether ``text`` is a correction of ``output`` at all."""
    return tidied(text) != tidied(output.text)


def keep_ideal(*, item: Item, output: Completion, text: str, annotator: User) -> Completion | None:
    """The corrected output as a completion by the annotator; the same correction twice is one completion.

    None where ``text`` is what the output says already. Runs in the transaction of the judgement it belongs to.
    """
    if not differs(text, output):
        return None
    study, corrected = item.campaign.study, tidied(text)
    parsed = parsing.parse(study, corrected)
    made, _ = Completion.objects.get_or_create(
        case_id=item.case_id,
        model=model_of(study, annotator),
        # The output is part of it: the same text can be the ideal of two outputs.
        key=hashlib.sha256(f"{output.pk}\n{corrected}".encode()).hexdigest(),
        index=0,
        defaults={
            "text": corrected,
            "edited_from": output,
            "parsed": parsed,
            "parser_version": parsing.PARSER_VERSION if parsed else None,
            "created_by": annotator,
        },
    )
    return made


def model_of(study: Study, annotator: User) -> Model:
    """The model that stands for an annotator's corrections in a study, made with the first of them.

    Its name says the study and the pseudonym, never the person; no page of an annotator shows it.
    """
    kind = Model.Kind.IDEAL
    known = Model.objects.filter(kind=kind, annotator=annotator, completions__case__study=study).first()
    if known is not None:
        return known
    pseudonym = Membership.objects.filter(study=study, user=annotator).values_list("pseudonym", flat=True).first()
    name = f"{study.slug}-{pseudonym or f'annotator-{annotator.pk}'}-ideal"
    made, created = Model.objects.get_or_create(name=name, defaults={"kind": kind, "annotator": annotator})
    if not created and (made.kind, made.annotator_id) != (kind, annotator.pk):
        # Somebody registered a model of that name: it is not this one.
        made, _ = Model.objects.get_or_create(
            name=f"{name}-{annotator.pk}", defaults={"kind": kind, "annotator": annotator}
        )
    return made


# --- as training data


def corrections(campaigns: Iterable[Campaign]) -> list[Revision]:
    """The current revisions that hold a correction, train before validation."""
    rows = Revision.objects.filter(
        judgement__item__campaign__in=list(campaigns), is_current=True, ideal__edited_from__isnull=False
    ).select_related("judgement__item__case", "ideal__case", "ideal__edited_from")
    return list(rows.order_by("judgement__item__case__split", "judgement__item__case", "judgement"))


def usable(revisions: Iterable[Revision], drop: Callable[[str, Case], None]) -> list[Correction]:
    """Each annotator's last correction of each output; what doesn't count goes to ``drop`` with its reason (C4).

    Somebody's correction is theirs alone: neither consensus nor a minimum of annotators is asked of it.
    """
    kept: dict[tuple[int, int], Correction] = {}
    for revision in revisions:
        judgement, ideal = revision.judgement, revision.ideal
        if ideal is None or ideal.edited_from is None:
            continue
        if reason := _why_not(revision):
            drop(reason, judgement.item.case)
            continue
        key = (judgement.annotator_id, ideal.edited_from.pk)
        if key in kept:
            drop("earlier_vote", judgement.item.case)
        kept[key] = (revision, ideal, ideal.edited_from)
    return list(kept.values())


def _why_not(revision: Revision) -> str:
    judgement = revision.judgement
    item = judgement.item
    if not item.is_regular:
        return "repeat" if item.repeat_of_id is not None else "gold"
    if item.case.split == Case.Split.TEST:
        return "test_split"
    if judgement.surplus:
        return "surplus"
    unsure = (Revision.Outcome.CANNOT_JUDGE, Revision.Outcome.DEFECTIVE)
    return "ideal_unsure" if revision.outcome in unsure else ""
