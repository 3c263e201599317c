"""Judgements made by a program, for campaigns that are marked as simulated.

The rule is open: a summary is worth the share of the reference's content words that it holds, less the share of its
own content words that the source doesn't hold; each annotator adds their own severity and noise. It stands for no
clinician, and every page and report that shows such judgements says so.
"""

import random
import re

from django.utils import timezone

from accounts.models import User
from annotations import judging
from annotations.assignment import next_assignment
from annotations.models import Assignment, Campaign, Completion, Revision


def words(text: str) -> set[str]:
    """Content words: longer than three letters, or numbers."""
    return {word for word in re.findall(r"[a-z]+|\d+", text.lower()) if len(word) > 3 or word.isdigit()}


def worth(completion: Completion) -> float:
    """Between −1 (all invented) and 1 (all of the reference, nothing else)."""
    case = completion.case
    own, reference, source = words(completion.text), words(case.reference["text"]), words(case.inputs["text"])
    if not own:
        return -1.0
    return len(own & reference) / len(reference) - len(own - source - reference) / len(own)


def judge_all(campaign: Campaign, *, actor: User) -> None:
    """Judge every open item of a simulated campaign as each of its annotators, then close it."""
    if not campaign.simulated:
        raise ValueError("only campaigns marked as simulated are judged by a program")
    if not campaign.is_open:
        return
    annotators = list(campaign.annotators.order_by("username"))
    noise = {annotator.pk: random.Random(f"{campaign.seed}-{annotator.username}") for annotator in annotators}
    working = dict(enumerate(annotators))
    # In turn, as people would: with fewer places than annotators, the first would leave nothing to the others.
    while working:
        for number, annotator in list(working.items()):
            if assignment := next_assignment(campaign, annotator):
                answer = _answer(assignment, noise[annotator.pk], number)
                judging.submit(assignment, answer, actor=annotator)
            else:
                del working[number]
    campaign.closed_at = timezone.now()
    campaign.save(update_fields=["closed_at"])


def _answer(assignment: Assignment, noise: random.Random, severity: int) -> judging.Answer:
    item = assignment.item
    if item.training and item.gold is not None:
        # The training teaches how to judge, which a program needn't learn: it gives the known answer and passes.
        return judging.Answer(
            outcome=item.gold["outcome"],
            strength=item.gold.get("strength") or "slightly",
            values=item.gold.get("values") or {},
        )
    return _compare(assignment, noise) if item.completion_b else _grade(assignment, noise, severity)


def _compare(assignment: Assignment, noise: random.Random) -> judging.Answer:
    a, b = assignment.item.completion_a, assignment.item.completion_b
    if a is None or b is None:
        raise ValueError("a comparison needs two completions")
    gain = worth(b) - worth(a) + noise.gauss(0, 0.1)
    campaign = assignment.item.campaign
    # Criteria, where a comparison asks for them: 1 (A clearly) to 5 (B clearly), all by the same gain.
    points = 3 + max(-2, min(2, round(gain / 0.1)))
    values = dict.fromkeys(judging.allowed_values(campaign.kind, campaign.rubric), points)
    if abs(gain) < 0.03:
        return judging.Answer(outcome=Revision.Outcome.TIE, values=values)
    outcome = Revision.Outcome.PREFER_B if gain > 0 else Revision.Outcome.PREFER_A
    return judging.Answer(outcome=outcome, strength="clearly" if abs(gain) > 0.15 else "slightly", values=values)


def _grade(assignment: Assignment, noise: random.Random, severity: int) -> judging.Answer:
    completion = assignment.item.completion_a
    if completion is None:
        raise ValueError("grading needs a completion")
    values: dict[str, object] = {}
    for criterion in assignment.item.campaign.rubric["criteria"]:
        points = len(criterion["anchors"])
        grade = 2.2 + 3.2 * worth(completion) - 0.25 * severity + noise.gauss(0, 0.5)
        values[criterion["name"]] = min(points, max(1, round(grade)))
    return judging.Answer(outcome=Revision.Outcome.JUDGED, values=values)
