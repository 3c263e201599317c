"""The metric of each arm as soon as its outputs are there: an early look on the evaluation's page, not the report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from annotations.models import Campaign
from reports import analysis, scoring
from reports.measures import measures
from reports.models import Evaluation
from reports.votes import votes

RESAMPLES = 1000  # enough to see the width; the report draws as many as the plan says


def arms(evaluation: Evaluation, *, without: Sequence[Campaign] = ()) -> list[dict[str, Any]]:
    """One row a metric with an estimate an arm; empty where everything still has to be judged.

    ``without``: campaigns whose results by arm are not to be seen yet.
    """
    decided = replace(analysis.plan(evaluation.study), n_resamples=RESAMPLES)
    hidden = [campaign.pk for campaign in without]
    campaigns = evaluation.campaigns.exclude(pk__in=hidden).order_by("name")
    judged = {campaign: scoring.answers(campaign) for campaign in campaigns}
    found = scoring.outputs(evaluation)
    return [
        {"title": measure.title, "cells": [measure.arms[arm].to_dict() for arm in found.arms]}
        for measure in measures(found, votes(found, judged), decided)
    ]
