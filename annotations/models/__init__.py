from annotations.models.campaign import Assignment, Campaign, Item, Judgement, Revision
from annotations.models.case import Case, CaseImport
from annotations.models.completion import Completion, Generation
from annotations.models.design import Adjudication, Guess, HarmReport, Participation, RubricVersion, Unblinding
from annotations.models.membership import Invitation, Membership
from annotations.models.model import Model
from annotations.models.status import Status, StatusChange, StatusRow
from annotations.models.study import Study
from annotations.models.worker import Worker

__all__ = [
    "Adjudication",
    "Assignment",
    "Campaign",
    "Case",
    "CaseImport",
    "Completion",
    "Generation",
    "Guess",
    "HarmReport",
    "Invitation",
    "Item",
    "Judgement",
    "Membership",
    "Model",
    "Participation",
    "Revision",
    "RubricVersion",
    "Status",
    "StatusChange",
    "StatusRow",
    "Study",
    "Unblinding",
    "Worker",
]
