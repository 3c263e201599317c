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
    for number, annotator in enumerate(campaign.annotators.order_by("username")):
        noise = random.Random(f"{campaign.seed}-{annotator.username}")
        while assignment := next_assignment(campaign, annotator):
            answer = _compare(assignment, noise) if campaign.kind == "comparison" else _grade(assignment, noise, number)
            judging.submit(assignment, answer, actor=annotator)
    campaign.closed_at = timezone.now()
    campaign.save(update_fields=["closed_at"])


def _compare(assignment: Assignment, noise: random.Random) -> judging.Answer:
    a, b = assignment.item.completion_a, assignment.item.completion_b
    if a is None or b is None:
        raise ValueError("a comparison needs two completions")
    gain = worth(b) - worth(a) + noise.gauss(0, 0.1)
    if abs(gain) < 0.03:
        return judging.Answer(outcome=Revision.Outcome.TIE)
    outcome = Revision.Outcome.PREFER_B if gain > 0 else Revision.Outcome.PREFER_A
    return judging.Answer(outcome=outcome, strength="clearly" if abs(gain) > 0.15 else "slightly")


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
