from annotations.models.campaign import Assignment, Campaign, Item, Judgement, Revision
from annotations.models.case import Case, CaseImport
from annotations.models.completion import Completion, Generation
from annotations.models.membership import Invitation, Membership
from annotations.models.model import Model
from annotations.models.status import Status, StatusChange, StatusRow
from annotations.models.study import Study
from annotations.models.worker import Worker

__all__ = [
    "Assignment",
    "Campaign",
    "Case",
    "CaseImport",
    "Completion",
    "Generation",
    "Invitation",
    "Item",
    "Judgement",
    "Membership",
    "Model",
    "Revision",
    "Status",
    "StatusChange",
    "StatusRow",
    "Study",
    "Worker",
]
