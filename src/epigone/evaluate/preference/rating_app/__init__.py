"""People judge pairs of outputs, blind, on a web page of one's own."""

from epigone.evaluate.preference.rating_app.campaign import Campaign
from epigone.evaluate.preference.rating_app.cast_votes import CheckAnswer
from epigone.evaluate.preference.rating_app.checks import CheckItem, read_checks
from epigone.evaluate.preference.rating_app.figures import LiveFigures, Progress, RaterFigures
from epigone.evaluate.preference.rating_app.new_campaign import new_campaign, open_campaign
from epigone.evaluate.preference.rating_app.rules import CRITERIA, RatingRules
from epigone.evaluate.preference.rating_app.server import rating_app
from epigone.evaluate.preference.rating_app.task import Finished, OnBreak, Shown, Step, Task, VoteOutcome

__all__ = [
    "CRITERIA",
    "Campaign",
    "CheckAnswer",
    "CheckItem",
    "Finished",
    "LiveFigures",
    "OnBreak",
    "Progress",
    "RaterFigures",
    "RatingRules",
    "Shown",
    "Step",
    "Task",
    "VoteOutcome",
    "new_campaign",
    "open_campaign",
    "rating_app",
    "read_checks",
]
