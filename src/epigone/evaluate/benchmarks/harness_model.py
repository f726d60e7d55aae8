"""Any of our models as an lm-eval model: for lm-eval's own ``simple_evaluate``, its tasks, tables and options.

    from lm_eval import simple_evaluate
    simple_evaluate(model=HarnessModel(model), tasks=["hellaswag"])

:func:`epigone.evaluate.benchmarks.run_benchmarks` does not go this way: lm-eval has no word for an answer that is
missing, so here a failed request ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM

from epigone.errors import EndpointError
from epigone.evaluate.benchmarks.requests import (
    answer_of,
    generation_request,
    likelihood_of,
    score_request,
    stop_rule,
)
from epigone.models.protocol import TextModel

__all__ = ["HarnessModel"]


class HarnessModel(LM):  # type: ignore[misc]  # lm-eval carries no types
    """Answers lm-eval's three kinds of request.

    Args:
        chat: whether prompts travel as one user message.
        seed: of requests that sample.

    Raises:
        EndpointError: a request failed, or was refused.
    """

    def __init__(self, model: TextModel, *, chat: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.text_model, self.chat, self.seed = model, chat, seed

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """One answer for each (prompt, generation settings)."""
        del disable_tqdm  # we draw no bars
        rules = [stop_rule(request.args[1]) for request in requests]
        asked = [
            generation_request(request.args[0], rule, chat=self.chat, seed=self.seed, sample=0)
            for request, rule in zip(requests, rules, strict=True)
        ]
        replies = self.text_model.generate(asked)
        answers = [answer_of(reply, rule)[0] for reply, rule in zip(replies, rules, strict=True)]
        return [
            text if text is not None else _refuse(reply.error) for text, reply in zip(answers, replies, strict=True)
        ]

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """(log-probability in nats, whether greedy) for each (prompt, continuation)."""
        del disable_tqdm
        asked = [score_request(*request.args[:2], chat=self.chat) for request in requests]
        return [likelihood_of(reply) or _refuse(reply.error) for reply in self.text_model.score(asked)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-probability of each text from its beginning, in nats."""
        del disable_tqdm
        replies = self.text_model.score([score_request("", request.args[0], chat=False) for request in requests])
        return [(likelihood_of(reply) or _refuse(reply.error))[0] for reply in replies]


def _refuse(problem: str | None) -> Any:
    fix = "use run_benchmarks, which counts such items as missing"
    raise EndpointError(f"a request failed: {problem or 'no reason given'}", fix=fix)
