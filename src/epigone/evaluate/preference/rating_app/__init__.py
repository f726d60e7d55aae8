"""People judge pairs of outputs, blind, on a web page of one's own."""

from epigone.evaluate.preference.rating_app.campaign import Campaign, Progress, Task, new_campaign, open_campaign
from epigone.evaluate.preference.rating_app.server import rating_app

__all__ = ["Campaign", "Progress", "Task", "new_campaign", "open_campaign", "rating_app"]
