"""One training under way: what it is made of, how far it has come, and how that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from msgspec.structs import replace

from epigone.errors import SpecError
from epigone.train.batches import Order, count_targets
from epigone.train.examples import Example
from epigone.train.machine import peak_flops, random_state, set_random_state
from epigone.train.objective import Objective
from epigone.train.packing import Block
from epigone.train.parallel import Team, load_shards, save_shards
from epigone.train.record import CourseFacts
from epigone.train.spec import TrainSpec
from epigone.train.weights import Weights

__all__ = ["Course"]

_STATE = "state.pt"


@dataclass
class Course:
    """One training under way: what it is made of, and how far it has come."""

    spec: TrainSpec
    objective: Objective
    weights: Weights
    optimizer: torch.optim.Optimizer
    order: Order
    blocks: Sequence[Block]
    examples: Sequence[Example]
    heldout: Mapping[str, tuple[Sequence[Block], Sequence[Example]]]
    device: torch.device
    dtype: torch.dtype
    saved_dtype: torch.dtype
    micro_batch_blocks: int
    team: Team = field(default_factory=Team)
    facts: CourseFacts = field(default_factory=CourseFacts)
    block_targets: list[int] = field(init=False)
    parameters: int = field(init=False)

    def __post_init__(self) -> None:
        self.block_targets = [count_targets(block, self.examples) for block in self.blocks]
        self.parameters = sum(weight.numel() for weight in self.objective.model.parameters())

    def save_state(self, folder: Path) -> None:
        """Write weights and optimizer state into ``folder``."""
        if self.team.size > 1:
            save_shards(folder, self.objective, self.optimizer)
        else:
            torch.save({"weights": self.weights.state(), "optimizer": self.optimizer.state_dict()}, folder / _STATE)

    def load_state(self, facts: CourseFacts, folder: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            SpecError: it was written by one process and there are several now, or the other way round.
        """
        whole = (folder / _STATE).exists()
        if whole != (self.team.size == 1):
            raise SpecError(
                f"the checkpoint was written by {'one process' if whole else 'several processes'}, "
                f"there {'are ' + str(self.team.size) if whole else 'is one'} now",
                where=str(folder.parent),
                fix="start it as before (several may be another number), or delete the work folder",
            )
        if self.team.size > 1:
            load_shards(folder, self.objective, self.optimizer)
        else:
            state = torch.load(folder / _STATE, weights_only=True, map_location=self.device)
            self.weights.load_state(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
        set_random_state(facts.random, self.device)
        self.facts = replace(facts, resumed=facts.resumed + 1)

    def facts_to_save(self) -> CourseFacts:
        """The facts, with the state of the random generator as it is now."""
        return replace(self.facts, random=random_state(self.device))

    def utilization(self) -> float | None:
        """Model FLOPs a second over the devices' peak; ``None`` where that is not known.

        6 FLOPs for each parameter and token (Chowdhery et al. 2022, appendix B, without its small term of attention);
        4 for a frozen one, whose own gradient is not computed. What checkpointing computes again is not counted.
        """
        peak = peak_flops(self.device)
        if peak is None:
            return None
        trained = sum(weight.numel() for weight in self.weights.named.values())
        flops = float((4 * self.parameters + 2 * trained) * self.facts.tokens)
        return flops / max(self.facts.seconds, 1e-9) / (peak * self.team.size)
