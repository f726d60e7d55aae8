"""Ask any model: an OpenAI-compatible endpoint, a model run here, or one served here."""

from epigone.models.api_model import ApiModel
from epigone.models.api_spec import ApiSpec, Price
from epigone.models.budget import Budget, BudgetSpec, Spending
from epigone.models.local_spec import LocalSpec
from epigone.models.open_model import open_model
from epigone.models.protocol import Progress, TextModel
from epigone.models.request_cache import RequestCache, Usage, request_digest
from epigone.models.serve_spec import ServerSpec, ServeSpec
from epigone.models.served_model import ServedModel
from epigone.models.server_process import ServerProcess

__all__ = [
    "ApiModel",
    "ApiSpec",
    "Budget",
    "BudgetSpec",
    "LocalSpec",
    "Price",
    "Progress",
    "RequestCache",
    "ServeSpec",
    "ServedModel",
    "ServerProcess",
    "ServerSpec",
    "Spending",
    "TextModel",
    "Usage",
    "open_model",
    "request_digest",
]
