"""Which arm wrote an output, as a report names it."""

from collections.abc import Iterable, Sequence

from annotations.models import Campaign, Completion
from reports.scoring import Outputs

Names = dict[tuple[int, str], str]
HIDDEN = "all models (campaign still open)"


def authors(campaigns: Iterable[Campaign], loaded: Sequence[Outputs], names: Names) -> dict[int, str]:
    """{completion id: the name of its arm, or of its model where it is in no evaluation of the report}.

    Outputs of a campaign that is still open, and of no evaluation, are told of all models together: a report about
    agreement alone unblinds nobody (C6).
    """
    found: dict[int, str] = {}
    for campaign in campaigns:
        of_items = Completion.objects.filter(items_a__campaign=campaign) | Completion.objects.filter(
            items_b__campaign=campaign
        )
        for pk, model in of_items.distinct().values_list("pk", "model__name"):
            if not campaign.is_open:
                found[pk] = model
            else:
                found.setdefault(pk, HIDDEN)
    taken = set(names.values())
    found = {pk: f"{name} (outside the evaluation)" if name in taken else name for pk, name in found.items()}
    for outputs in loaded:
        for pk, (arm, _) in outputs.place_of().items():
            found[pk] = names[outputs.evaluation.pk, arm]
    return found
