"""A plan in words: what a lead reads before starting a campaign."""

from annotations import known_answers, naming
from annotations.models import Campaign
from annotations.planning import Blueprint


def lines(plan: Blueprint) -> list[str]:
    """What the numbers don't say, one sentence each."""
    campaign = plan.campaign
    found = [_overlap(plan), f"The agreed answer: {_rule(campaign.consensus)}."]
    if plan.training:
        found.append(
            f"Everybody begins with {_n(len(plan.training), 'training item')} and the known answer after each; "
            f"{campaign.training_pass_mark:.0%} right are needed to go on."
        )
    if (plan.training or plan.gold) and campaign.design["known_answers"]["from"] != known_answers.FILE:
        found.append("Which of the known answers are used is drawn by lot when the campaign starts.")
    if plan.gold:
        found.append(f"{_n(len(plan.gold), 'gold item')} with a known answer for everybody, {_shares(plan)}.")
    if plan.repeats:
        n = len(plan.repeats)
        turned = ", with sides swapped" if campaign.kind == Campaign.Kind.COMPARISON else ""
        found.append(f"{_n(n, 'item')} of {len(plan.regular)} will be judged a second time{turned}, unseen.")
    if campaign.max_per_annotator:
        found.append(f"Nobody is given more than {_n(campaign.max_per_annotator, 'item')}, the training apart.")
    if campaign.route_by:
        tagged = sum(bool(item.tag) for item in plan.regular)
        found.append(
            f"{_n(tagged, 'item')} of {len(plan.regular)} go to annotators of the specialty that “{campaign.route_by}” "
            "names; anybody judges the others."
        )
    if campaign.blinding_check:
        arms = "; ".join(f"{plan_model}: “{text}”" for plan_model, text in campaign.design["blinding_arms"].items())
        found.append(f"At the end annotators guess who wrote {campaign.blinding_check['items']} outputs ({arms}).")
    return found


def _overlap(plan: Blueprint) -> str:
    n, overlap = len(plan.regular), plan.campaign.overlap
    if overlap == 1:
        return "Each item is judged by one annotator, so agreement can't be measured."
    shared = sum(item.overlap == overlap for item in plan.regular)
    if shared == n:
        return f"Each item is judged by {overlap} annotators."
    return f"{_n(shared, 'item')} of {n} are judged by {overlap} annotators, the others by one."


def _rule(consensus: str) -> str:
    rules = {
        Campaign.Consensus.MAJORITY: "what more than half of an item's annotators say",
        Campaign.Consensus.UNANIMOUS: "what all of an item's annotators say",
        Campaign.Consensus.MEAN: "the mean of the points",
        Campaign.Consensus.ADJUDICATED: "what all say, and where they differ what you decide",
    }
    return rules[Campaign.Consensus(consensus)]


def _shares(plan: Blueprint) -> str:
    shares = [load.gold / max(1, load.gold + load.regular) for load in plan.loads]
    low, high = f"{min(shares):.0%}", f"{max(shares):.0%}"
    return f"about {low if low == high else f'{low} to {high}'} of what they judge"


def _n(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def warnings(plan: Blueprint) -> list[str]:
    """What a lead should look at again, though it can be done."""
    campaign, found = plan.campaign, []
    names = [model.name for model in plan.models]
    texts = {"name": campaign.name, "instructions": campaign.rubric["instructions"]}
    texts["reasons to choose from"] = "\n".join(campaign.rubric["chips"])
    for what, text in texts.items():
        if told := naming.names_in(text, names):
            found.append(f"{', '.join(told)} is mentioned in the campaign's {what}, which annotators read.")
    if idle := [load.annotator for load in plan.loads if not load.items]:
        found.append(f"Nothing is left for {', '.join(map(str, idle))} to judge.")
    if campaign.blinding_check.get("items", 0) > len(plan.regular):
        found.append(f"There are only {len(plan.regular)} items to guess about.")
    return found
