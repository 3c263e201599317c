import pytest

from tests.factories import make_campaign, make_study


@pytest.mark.django_db
def test_a_campaign_can_be_laid_out(anna):
    assert make_campaign(make_study(), [anna]).items.count() == 4
