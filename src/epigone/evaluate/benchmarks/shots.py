"""Which solved examples stand before the question: the same for every item and every model.

lm-eval's default sampler draws new examples for each item, from one running generator. Here one draw serves a whole
task: an item's prompt then does not depend on which other items are asked, and all prompts share their beginning, which
an engine computes once.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask

__all__ = ["FixedShots", "ShotsByGroup"]


class FixedShots(ContextSampler):  # type: ignore[misc]  # lm-eval carries no types
    """Draws n examples once by the seed; a larger n keeps the examples of a smaller one, in front.

    In a task file: ``fewshot_config: {sampler: !function epigone.evaluate.benchmarks.shots.FixedShots}``.
    """

    same_for_all_items = True

    def set_rnd(self, rnd: int | None) -> FixedShots:
        """Take the seed (lm-eval calls this with the few-shot seed)."""
        self._order = list(self.df)
        random.Random(rnd or 0).shuffle(self._order)
        return self

    def sample(self, n: int, eval_doc: Mapping[str, Any] | None = None, **_: object) -> Sequence[Any]:
        """The n examples; ``eval_doc``, the item being asked, is never one of them."""
        if not hasattr(self, "_order"):
            self.set_rnd(0)
        return list(islice((example for example in self._order if example != eval_doc), n))


class ShotsByGroup(ConfigurableTask):  # type: ignore[misc]
    """A task whose examples come from the item's own group: MMLU's subjects.

    In a task file: ``class: !function epigone.evaluate.benchmarks.shots.ShotsByGroup`` and
    ``metadata: {shots_by: subject}``.
    """

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        config = {key: value for key, value in (config or {}).items() if key != "class"}
        super().__init__(config=config)
        self._group_field = str(self.config.metadata["shots_by"])
        self._pools: dict[Any, list[Any]] = defaultdict(list)
        for example in self.sampler.df:
            self._pools[example[self._group_field]].append(example)

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The prompt for ``doc``, with examples of its group only."""
        self.sampler.replace_df(self._pools[doc[self._group_field]])
        return super().fewshot_context(doc, *args, **kwargs)
