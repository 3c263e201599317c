"""What a study's navigation shows of its harm reports."""

from django import template

from accounts.models import User
from annotations import access, harms
from annotations.models import Study
from annotations.models.membership import Role

register = template.Library()


@register.simple_tag
def open_harm(user: User, study: Study) -> int | None:
    """Unacknowledged reports; None for whoever doesn't lead the study, and has no such page."""
    return harms.open_count(study) if access.role_in(user, study) == Role.LEAD else None
