"""From judgements, references and outputs to training rows; what doesn't become a row is named with its reason (C4)."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from django.db.models import Q, QuerySet

from annotations import consensus, ideals, judging, parsing, prompts
from annotations.models import Adjudication, Campaign, Case, Completion, Item, Model, Revision, Study
from annotations.policy import Policy, campaign_kinds

__all__ = ["Policy", "Row", "Rows", "rows"]

Outcome = Revision.Outcome
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Row:
    """One training row with what it was made from.

    SFT rows have a ``completion`` (its id is ``chosen_id``), preference rows ``chosen`` and ``rejected``. The ids are
    of completions; None where the text is the case's reference or the agreed label.
    """

    case: Case
    source: str
    prompt: Messages = field(default_factory=list)
    completion: str = ""
    chosen: str = ""
    rejected: str = ""
    chosen_id: int | None = None
    rejected_id: int | None = None
    judgement_ids: tuple[int, ...] = ()
    adjudication_ids: tuple[int, ...] = ()  # the lead's decisions, where the annotators left it open

    @property
    def split(self) -> str:
        return self.case.split

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.completion,) if self.completion else (self.chosen, self.rejected)


@dataclass
class Rows:
    """The rows of a dataset, and by reason the external ids of what didn't become one (each as often as dropped)."""

    rows: list[Row] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, reason: str, case: Case) -> None:
        self.dropped.setdefault(reason, []).append(case.external_id)

    @property
    def counts(self) -> dict[str, int]:
        return {reason: len(ids) for reason, ids in sorted(self.dropped.items())}


def rows(*, study: Study, kind: str, campaigns: Iterable[Campaign], policy: Policy) -> Rows:
    """The rows of ``kind`` ("sft" or "preference") that ``campaigns``, references and outputs give under ``policy``.

    Train and validation cases only: a judgement of a test case is dropped as ``test_split`` (C7).
    """
    collector = _Collector(study, policy.resolved(study, kind), list(campaigns))
    return collector.sft() if kind == "sft" else collector.preferences()


def default_campaigns(*, study: Study, kind: str, policy: Policy) -> list[Campaign]:
    """The campaigns that the policy's sources read and in which somebody judged; simulated ones only alone."""
    readable = campaigns_read(study, policy.resolved(study, kind).sources)
    found = readable.filter(items__judgements__isnull=False).distinct().order_by("pk")
    return [campaign for campaign in found if not campaign.simulated] or list(found)


def campaigns_read(study: Study, sources: tuple[str, ...]) -> QuerySet[Campaign]:
    """The study's campaigns that rows from ``sources`` can come from."""
    readable = Q(kind__in=campaign_kinds(study.task, sources))
    if "ideals" in sources:
        corrected = Revision.objects.filter(ideal__isnull=False, judgement__item__campaign__study=study)
        readable |= Q(pk__in=corrected.values("judgement__item__campaign"))
    return study.campaigns.filter(readable)


@dataclass(frozen=True)
class _Target:
    """What a case should have been answered."""

    text: str
    labels: dict[str, str]
    source: str
    judgement_ids: tuple[int, ...] = ()
    adjudication_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Verdict:
    """What the annotators agree a completion is: correct, partly or incorrect."""

    completion: Completion
    value: str
    judgement_ids: tuple[int, ...]
    adjudication_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Agreed:
    """The answer of a group, or why there is none; ``decision`` is the lead's, where they decided it."""

    value: Hashable | None
    reason: str = ""
    decision: Adjudication | None = None

    @property
    def adjudication_ids(self) -> tuple[int, ...]:
        return (self.decision.pk,) if self.decision else ()


class _Collector:
    """Walks the sources in the policy's order, train before validation, so that the same inputs give the same rows."""

    def __init__(self, study: Study, policy: Policy, campaigns: list[Campaign]) -> None:
        self.study, self.policy = study, policy
        self.out = Rows()
        self.seen: set[tuple[str, ...]] = set()
        self.prompts: dict[int, Messages] = {}
        self.read = campaign_kinds(study.task, policy.sources)
        self.campaigns = [campaign for campaign in campaigns if campaign.kind in self.read]
        self.corrections = ideals.corrections(campaigns)
        if "ideals" not in policy.sources:
            for revision in self.corrections:
                self.out.drop("ideal_not_used", revision.judgement.item.case)
            self.corrections = []
        corrected = {revision.judgement.item_id for revision in self.corrections}
        self.rules = {campaign.pk: campaign.consensus for campaign in self.campaigns}
        decided = Adjudication.objects.filter(item__campaign__in=self.campaigns, is_current=True)
        self.decisions = {row.item_id: row for row in decided.order_by("pk")}
        for campaign in campaigns:
            if campaign.kind not in self.read:
                items = {revision.judgement.item_id: revision for revision in judging.current_revisions(campaign)}
                for item_id, revision in items.items():
                    if item_id not in corrected:
                        self.out.drop("source_not_used", revision.judgement.item.case)

    def sft(self) -> Rows:
        for revision, ideal, _ in ideals.usable(self.corrections, self.out.drop):
            row = Row(ideal.case, "ideals", completion=ideal.text, chosen_id=ideal.pk)
            self._emit(replace(row, judgement_ids=(revision.judgement_id,)))
        for case, target in self._targets():
            row = Row(case, target.source, completion=target.text, judgement_ids=target.judgement_ids)
            self._emit(replace(row, adjudication_ids=target.adjudication_ids))
        return self.out

    def preferences(self) -> Rows:
        if "comparisons" in self.policy.sources:
            self._comparisons()
        for revision, ideal, corrected in ideals.usable(self.corrections, self.out.drop):
            self._emit_pair("ideals", ideal.case, ideal, corrected, (revision.judgement_id,))
        verdicts = self._verdicts() if Campaign.Kind.CORRECTNESS in self.read else {}
        if "correctness" in self.policy.sources:
            self._correct_against_wrong(verdicts)
        if {"labels", "references"} & set(self.policy.sources):
            self._targets_against_wrong(verdicts)
        self._drop_contradictions()
        return self.out

    # --- sources

    def _comparisons(self) -> None:
        """One pair of completions, whoever compared it in whichever campaign, gives at most one row."""
        for group in self._groups(Campaign.Kind.COMPARISON, lambda item: (item.completion_a_id, item.completion_b_id)):
            item = group[0].judgement.item
            agreed = self._decide(group)
            winner, a, b = agreed.value, item.completion_a, item.completion_b
            if winner is None or a is None or b is None:
                continue
            for_winner: Sequence[Revision | Adjudication] = [r for r in group if r.chosen_id == winner]
            if agreed.decision:
                for_winner = [agreed.decision]
            clearly = sum(revision.strength == Revision.Strength.CLEARLY for revision in for_winner)
            if self.policy.min_strength == "clearly" and 2 * clearly < len(for_winner):
                self.out.drop("weak_strength", item.case)
                continue
            chosen, rejected = (a, b) if a.pk == winner else (b, a)
            self._emit_pair("comparisons", item.case, chosen, rejected, _ids(group), agreed.adjudication_ids)

    def _verdicts(self) -> dict[int, _Verdict]:
        """By completion id, where the annotators agree."""
        verdicts = {}
        for group in self._groups(Campaign.Kind.CORRECTNESS, lambda item: (item.completion_a_id,)):
            item = group[0].judgement.item
            agreed = self._decide(group, "correctness")
            if agreed.value is None or item.completion_a is None:
                continue
            if agreed.value == "partly" and not self.policy.partly_as_wrong:
                self.out.drop("partly", item.case)
                continue
            verdict = _Verdict(item.completion_a, str(agreed.value), _ids(group), agreed.adjudication_ids)
            verdicts[item.completion_a.pk] = verdict
        return verdicts

    def _correct_against_wrong(self, verdicts: dict[int, _Verdict]) -> None:
        by_case: dict[Case, list[_Verdict]] = defaultdict(list)
        for verdict in verdicts.values():
            by_case[verdict.completion.case].append(verdict)
        for case, judged in by_case.items():
            correct = [verdict for verdict in judged if verdict.value == "correct"]
            wrong = [verdict for verdict in judged if verdict.value != "correct"]
            if not correct or not wrong:
                self.out.drop("no_contrast", case)
            for good in correct:
                for bad in wrong:
                    ids = good.judgement_ids + bad.judgement_ids
                    decisions = good.adjudication_ids + bad.adjudication_ids
                    self._emit_pair("correctness", case, good.completion, bad.completion, ids, decisions)

    def _targets_against_wrong(self, verdicts: dict[int, _Verdict]) -> None:
        """The agreed label or the reference, each against every wrong output of the same case."""
        outputs: dict[int, list[Completion]] = defaultdict(list)
        found = Completion.objects.filter(case__study=self.study).exclude(case__split=Case.Split.TEST)
        for completion in found.exclude(model__kind=Model.Kind.IDEAL).order_by("pk"):
            outputs[completion.case_id].append(completion)
        asked = self._asked()
        for case, target in self._targets():
            if not outputs[case.pk]:
                self.out.drop("no_output", case)
            for completion in outputs[case.pk]:
                judged = verdicts.get(completion.pk)
                if asked is not None and judged is None:
                    if completion.pk not in asked:  # else _verdicts said why there is no verdict
                        self.out.drop("output_not_judged", case)
                    continue
                ids, verdict = target.judgement_ids, judged.value if judged else self._match(case, target, completion)
                decisions = target.adjudication_ids
                if judged:
                    ids += judged.judgement_ids
                    decisions += judged.adjudication_ids
                if verdict not in ("incorrect", "partly"):
                    self.out.drop("output_correct" if verdict == "correct" else verdict, case)
                    continue
                row = Row(case, target.source, chosen=target.text, rejected=completion.text, judgement_ids=ids)
                self._emit(replace(row, rejected_id=completion.pk, adjudication_ids=decisions))

    def _asked(self) -> set[int] | None:
        """The completions that clinicians were asked to judge; None without a correctness campaign."""
        campaigns = [campaign for campaign in self.campaigns if campaign.kind == Campaign.Kind.CORRECTNESS]
        items = Item.objects.filter(campaign__in=campaigns, repeat_of__isnull=True, gold__isnull=True)
        found = items.filter(completion_a__isnull=False).values_list("completion_a_id", flat=True)
        return {pk for pk in found if pk is not None} if campaigns else None

    def _match(self, case: Case, target: _Target, completion: Completion) -> str:
        """correct, incorrect, or the reason why an output can't be called either."""
        if self.study.task == Study.Task.SUMMARISATION:
            return "incorrect"  # asked for by the policy: the reference counts as better than any output
        stored = completion.parser_version == parsing.PARSER_VERSION
        parsed = completion.parsed if stored else parsing.parse(self.study, completion.text)
        unparsed = "incorrect" if self.policy.unparsed_as_wrong else "unparsed"
        if self.study.task == Study.Task.REASONING:
            answer = parsed.get("answer")
            return unparsed if answer is None else _match_answer(str(case.reference.get("text", "")), answer)
        answered = {name: parsed[name] for name in target.labels if parsed.get(name) is not None}
        if any(target.labels[name] != value for name, value in answered.items()):
            return "incorrect"
        return "correct" if len(answered) == len(target.labels) else unparsed

    # --- what a case should have been answered

    def _targets(self) -> list[tuple[Case, _Target]]:
        """Agreed labels before references; a reference that clinicians overruled or didn't agree on is counted.

        A case that they call defective has no target at all (C11), whatever its reference says.
        """
        agreed, undecided = self._agreed_labels() if "labels" in self.policy.sources else ({}, {})
        use_references = "references" in self.policy.sources
        names = [entry["name"] for entry in self.study.label_fields]
        targets = []
        for case in Case.objects.filter(study=self.study).order_by("split", "pk"):
            reference = prompts.reference_completion(self.study, case) if use_references else None
            if case.pk in agreed:
                targets.append((case, agreed[case.pk]))
                if reference and reference != agreed[case.pk].text:
                    self.out.drop("reference_overruled", case)
                continue
            reason = undecided.get(case.pk, "")
            if reason:
                self.out.drop(f"reference_despite_{reason}" if reference and reason != "defective" else reason, case)
            if reason == "defective" or not use_references:
                continue
            elif case.split == Case.Split.TEST:
                self.out.drop("test_split", case)
            elif not reference:
                self.out.drop("no_reference", case)
            else:
                labels = {name: str(case.reference[name]) for name in names if name in case.reference}
                targets.append((case, _Target(reference, labels, "references")))
        return targets

    def _agreed_labels(self) -> tuple[dict[int, _Target], dict[int, str]]:
        """By case id: the labels where the annotators agree on every field; elsewhere why there are none."""
        names = [entry["name"] for entry in self.study.label_fields]
        agreed: dict[int, _Target] = {}
        undecided: dict[int, str] = {}
        for group in self._groups(Campaign.Kind.LABEL, lambda item: (item.case_id,)):
            case = group[0].judgement.item.case
            if consensus.is_defective([revision.outcome for revision in group]):
                undecided[case.pk] = "defective"  # by C11's rule, however much consensus the policy asks for
                continue
            labels: dict[str, str] = {}
            decisions: set[int] = set()
            for name in names:
                found = self._weigh(group, name)
                if found.reason:
                    undecided[case.pk] = found.reason
                    break  # counted once for the case, not once for each field
                labels[name] = str(found.value)
                decisions.update(found.adjudication_ids)
            if len(labels) == len(names):
                text = prompts.render_labels(self.study, labels)
                agreed[case.pk] = _Target(text, labels, "labels", _ids(group), tuple(sorted(decisions)))
        return agreed, undecided

    # --- judgements

    def _groups(self, kind: str, key: Callable[[Item], tuple[int | None, ...]]) -> list[list[Revision]]:
        """Current answers to the same question (``key``), one an annotator; tests and unjudged items are counted."""
        groups: dict[tuple[int | None, ...], dict[int, Revision]] = defaultdict(dict)
        for campaign in self.campaigns:
            if campaign.kind != kind:
                continue
            judged = set()
            for revision in judging.current_revisions(campaign, surplus=True).order_by("judgement_id"):
                item = revision.judgement.item
                if revision.judgement.surplus:
                    self.out.drop("surplus", item.case)
                    continue
                judged.add(item.pk)
                votes, annotator = groups[tuple(sorted(key(item), key=str))], revision.judgement.annotator_id
                # Somebody who judged the same in two campaigns has one vote: the later one.
                if annotator in votes:
                    self.out.drop("earlier_vote", item.case)
                votes[annotator] = revision
            self._drop_tests(campaign)
            open_items = campaign.items.filter(repeat_of__isnull=True, gold__isnull=True).exclude(pk__in=judged)
            for item in open_items.exclude(case__split=Case.Split.TEST).select_related("case"):
                self.out.drop("not_judged", item.case)
        kept = []
        for votes in groups.values():
            case = next(iter(votes.values())).judgement.item.case
            if case.split == Case.Split.TEST:
                self.out.drop("test_split", case)
            else:
                kept.append((case.split, case.pk, [votes[annotator] for annotator in sorted(votes)]))
        return [group for _, _, group in sorted(kept, key=lambda entry: (entry[0], entry[1], _ids(entry[2])))]

    def _drop_tests(self, campaign: Campaign) -> None:
        """Count the judgements of hidden repeats and of gold items, which are no questions of the campaign."""
        rows = Revision.objects.filter(judgement__item__campaign=campaign, is_current=True)
        rows = rows.exclude(outcome=Outcome.WITHDRAWN).select_related("judgement__item__case").order_by("judgement_id")
        for revision in rows.exclude(judgement__item__repeat_of__isnull=True, judgement__item__gold__isnull=True):
            item = revision.judgement.item
            self.out.drop("repeat" if item.repeat_of_id is not None else "gold", item.case)

    def _decide(self, group: Sequence[Revision], answer: str = "") -> _Agreed:
        """``_weigh``, with the reason counted where there is no answer."""
        agreed = self._weigh(group, answer)
        if agreed.reason:
            self.out.drop(agreed.reason, group[0].judgement.item.case)
        return agreed

    def _weigh(self, group: Sequence[Revision], answer: str = "") -> _Agreed:
        """The agreed answer, or why there is none. Who can't judge has no vote (C11), and a lead's decision is one."""
        cast = [vote for vote in (_vote(revision, answer) for revision in group) if vote != Outcome.CANNOT_JUDGE]
        rule, decision = self._rule(group), self._decision(group)
        agreed = consensus.settled(rule, cast, _vote(decision, answer) if decision else None)
        if agreed is None or consensus.agreed(rule, cast) is not None:
            decision = None
        if not cast and decision is None:
            return _Agreed(None, "cannot_judge")
        if len(cast) + (decision is not None) < self.policy.min_annotators:
            return _Agreed(None, "too_few_annotators")
        if agreed is None:
            return _Agreed(None, "no_consensus")
        if agreed in (Outcome.TIE, Outcome.BOTH_UNACCEPTABLE, Outcome.DEFECTIVE):
            return _Agreed(None, str(agreed))
        return _Agreed(agreed, decision=decision)

    def _rule(self, group: Sequence[Revision]) -> str:
        """The policy's rule, or where it leaves that to the campaigns, theirs."""
        if self.policy.consensus != "campaign":
            return self.policy.consensus
        return consensus.strictest(self.rules[revision.judgement.item.campaign_id] for revision in group)

    def _decision(self, group: Sequence[Revision]) -> Adjudication | None:
        """The lead's decision on the group's question, the last one where it was an item of two campaigns."""
        found = {revision.judgement.item_id for revision in group} & self.decisions.keys()
        return max((self.decisions[pk] for pk in found), key=lambda row: row.pk, default=None)

    # --- rows

    def _emit_pair(
        self,
        source: str,
        case: Case,
        chosen: Completion,
        rejected: Completion,
        ids: tuple[int, ...],
        decisions: tuple[int, ...] = (),
    ) -> None:
        row = Row(case, source, chosen=chosen.text, rejected=rejected.text, judgement_ids=ids)
        row = replace(row, adjudication_ids=decisions)
        self._emit(replace(row, chosen_id=chosen.pk, rejected_id=rejected.pk))

    def _emit(self, row: Row) -> None:
        """Keep the row unless it would teach nothing, or the same again."""
        if row.case.pk not in self.prompts:
            self.prompts[row.case.pk] = prompts.messages(self.study, row.case)
        prompt = self.prompts[row.case.pk]
        said = "\n".join(message["content"] for message in prompt)
        key = (said, *(text.strip() for text in row.texts))
        longest = len(said) + max(map(len, row.texts))
        if not all(key[1:]):
            self.out.drop("empty_text", row.case)
        elif len(key) == 3 and key[1] == key[2]:
            self.out.drop("identical_texts", row.case)
        elif self.policy.max_chars is not None and longest > self.policy.max_chars:
            self.out.drop("too_long", row.case)
        elif key in self.seen:
            self.out.drop("duplicate", row.case)
        else:
            self.seen.add(key)
            self.out.rows.append(replace(row, prompt=prompt))

    def _drop_contradictions(self) -> None:
        """Two rows that prefer the same texts in opposite ways teach nothing but noise: both go."""
        kept = []
        for row in self.out.rows:
            said = "\n".join(message["content"] for message in row.prompt)
            if (said, row.rejected.strip(), row.chosen.strip()) in self.seen:
                self.out.drop("contradiction", row.case)
            else:
                kept.append(row)
        self.out.rows = kept


def _vote(revision: Revision | Adjudication, answer: str = "") -> Hashable:
    """What a revision, or a lead's decision, says to the question: a completion's id, a value, or an outcome."""
    if revision.outcome == Outcome.JUDGED:
        return revision.values.get(answer, Outcome.CANNOT_JUDGE)
    return revision.chosen_id or Outcome(revision.outcome)


def _ids(group: Iterable[Revision]) -> tuple[int, ...]:
    return tuple(sorted(revision.judgement_id for revision in group))


def _match_answer(reference: str, answer: str) -> str:
    """Only a clear mismatch is called wrong: "B" and "B: aspirin" may be the same answer."""
    if parsing.same_answer(reference, answer):
        return "correct"
    wanted, given = parsing.normalised(reference), parsing.normalised(answer)
    if wanted == given:  # the signs differ: "HIV-" and "HIV+" contradict each other, "5" and "5 %" may not
        signed = parsing.has_sign(reference) and parsing.has_sign(answer)
        return "incorrect" if signed else "answer_unclear"
    return "answer_unclear" if f" {wanted} " in f" {given} " or f" {given} " in f" {wanted} " else "incorrect"
