from argparse import ArgumentParser
from typing import Any

from accounts.errors import UserError
from accounts.models import User
from annotations.commands import LoopCommand, study_named
from annotations.models.membership import Role
from annotations.people import add_member, set_specialties


class Command(LoopCommand):
    help = "Give a person a role in a study, or change the one they have."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study")
        parser.add_argument("user", help="the name they sign in with")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument(
            "--specialty", metavar="A,B,…", help="what they are a specialist in: cases can be routed by it"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise UserError(
                f"There is no person who signs in as “{options['user']}”. Invite them on the study's People page, or "
                "create them with `manage.py createsuperuser` (site admins)."
            )
        membership = add_member(study=study, user=user, role=options["role"])
        if options["specialty"] is not None:
            set_specialties(membership, options["specialty"], actor=None)
        return {
            "study": study.slug,
            "user": user.username,
            "role": membership.role,
            "specialty": membership.specialty,
            "pseudonym": membership.pseudonym,
        }
