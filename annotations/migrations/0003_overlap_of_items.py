"""Gives every item its campaign's overlap, and every campaign the first version of its rubric."""

from django.db import migrations
from django.db.models import OuterRef, Subquery


def fill(apps, schema_editor):
    Campaign = apps.get_model("annotations", "Campaign")
    Item = apps.get_model("annotations", "Item")
    RubricVersion = apps.get_model("annotations", "RubricVersion")
    overlap = Campaign.objects.filter(pk=OuterRef("campaign")).values("overlap")
    Item.objects.update(overlap=Subquery(overlap))
    Item.objects.exclude(repeat_of__isnull=True, gold__isnull=True).update(overlap=0)
    for campaign in Campaign.objects.iterator():
        first = RubricVersion.objects.create(
            campaign=campaign, number=1, content=campaign.rubric, created_by_id=campaign.created_by_id
        )
        RubricVersion.objects.filter(pk=first.pk).update(created_at=campaign.created_at)


class Migration(migrations.Migration):
    dependencies = [("annotations", "0002_campaign_design")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
