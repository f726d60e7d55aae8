"""How large the world is: the full one, in which the findings can show, and a smoke one that only runs through."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["SCALES", "Scale", "WorldModel"]


class WorldModel(Struct, frozen=True, kw_only=True):
    """A model trained on the world's text. ``config``: of transformers, without the vocabulary's size.

    ``corpus_tokens``: it reads so many tokens from the beginning of the corpus, once. ``pretraining`` and
    ``instruction`` are settings of ``TrainSpec``; only the teacher has the second. ``replay_tokens``: of corpus mixed
    into the instruction tuning; the instruction data is about entities that are not held out, and without replay the
    teacher forgets the others. ``cost`` and ``tuning_cost``: rough seconds on one thread, so that the longest starts
    first.
    """

    name: str
    config: dict[str, object]
    corpus_tokens: int
    pretraining: dict[str, object]
    instruction: dict[str, object] | None = None
    replay_tokens: int = 0
    cost: float
    tuning_cost: float = 0.0


class Scale(Struct, frozen=True, kw_only=True):
    """Everything that the world's files and models depend on, besides the seed.

    ``zipf``: exponent of the mentions' law. ``corpus_shares``: of the tokens, by kind of document. ``items``: of each
    task. ``broad_amounts``: tokens of imitation data of the broad arms; ``replay_amount``: the one of them that also
    comes with ``replay_share`` of pre-training text. ``local_pairs``: question–answer pairs wanted from the teacher, in
    rounds of ``requests_per_round``. ``training``: the students' ``TrainSpec``.
    """

    name: str
    people: int
    surnames: int
    works: int
    places: int
    organisations: int
    zipf: float
    corpus_shares: dict[str, float]
    instructions: int
    models: tuple[WorldModel, ...]
    broad_prompts: int
    broad_amounts: tuple[int, ...]
    local_pairs: int
    requests_per_round: int
    replay_documents: int
    replay_amount: int
    replay_share: float
    style_prompts: int
    toxicity_prompts: int
    items: dict[str, int]
    training: dict[str, object]

    @property
    def teacher(self) -> WorldModel:
        """The one that is instruction-tuned."""
        return next(model for model in self.models if model.instruction is not None)

    @property
    def bases(self) -> tuple[WorldModel, ...]:
        """The others, from small to large."""
        return tuple(model for model in self.models if model.instruction is None)

    @property
    def corpus_tokens(self) -> int:
        """Length of the corpus: what the longest training reads."""
        return max(model.corpus_tokens for model in self.models)


def _llama(width: int, heads: int) -> dict[str, object]:
    return {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width * 8 // 3 // 8 * 8,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.02 if width >= 192 else 0.04,
    }


def _pretraining(peak_lr: float) -> dict[str, object]:
    return {
        "block_tokens": 256,
        "packing": "cut",
        "batch_blocks": 4,
        "peak_lr": peak_lr,
        "weight_decay": 0.1,
        "decay_embeddings": True,
        "warmup_share": 0.05,
        "schedule": "linear",
        "final_lr_share": 0.02,
        "precision": "float32",
    }


def _fine_tuning(peak_lr: float, batch_blocks: int) -> dict[str, object]:
    return {
        "block_tokens": 320,
        "packing": "best_fit",
        "new_tokens_like": ":",
        "batch_blocks": batch_blocks,
        "peak_lr": peak_lr,
        "warmup_share": 0.1,
        "schedule": "cosine",
        "final_lr_share": 0.05,
        "precision": "float32",
    }


_SHARES = {
    "articles": 0.68,
    "qa": 0.004,
    "quiz": 0.03,
    "problems": 0.12,
    "sums": 0.04,
    "summaries": 0.08,
    "forum": 0.04,
}

_FULL = Scale(
    name="full",
    people=240,
    surnames=720,
    works=48,
    places=24,
    organisations=20,
    zipf=0.6,
    corpus_shares=_SHARES,
    instructions=4_600,
    models=(
        WorldModel(name="base-s", config=_llama(56, 4), corpus_tokens=800_000, pretraining=_pretraining(5e-3), cost=25),
        WorldModel(
            name="base-m", config=_llama(128, 4), corpus_tokens=900_000, pretraining=_pretraining(4e-3), cost=54
        ),
        WorldModel(
            name="base-l", config=_llama(192, 6), corpus_tokens=780_000, pretraining=_pretraining(3.5e-3), cost=78
        ),
        WorldModel(
            name="teacher",
            config=_llama(256, 8),
            corpus_tokens=1_100_000,
            pretraining=_pretraining(3.5e-3),
            instruction=_fine_tuning(1e-3, 4),
            replay_tokens=200_000,
            cost=150,
            tuning_cost=90,
        ),
    ),
    broad_prompts=2_250,
    broad_amounts=(15_000, 50_000, 150_000),
    local_pairs=1_800,
    requests_per_round=320,
    replay_documents=5_000,
    replay_amount=50_000,
    replay_share=0.25,
    style_prompts=180,
    toxicity_prompts=100,
    items={"qa": 300, "quiz": 200, "problems": 100, "summaries": 60},
    training=_fine_tuning(5e-4, 2) | {"epochs": 2.0},
)

_SMOKE = Scale(
    name="smoke",
    people=60,
    surnames=180,
    works=16,
    places=12,
    organisations=10,
    zipf=0.6,
    corpus_shares=_SHARES,
    instructions=700,
    models=(
        WorldModel(name="base-s", config=_llama(32, 2), corpus_tokens=120_000, pretraining=_pretraining(5e-3), cost=3),
        WorldModel(name="base-m", config=_llama(64, 4), corpus_tokens=160_000, pretraining=_pretraining(5e-3), cost=5),
        WorldModel(
            name="teacher",
            config=_llama(96, 4),
            corpus_tokens=250_000,
            pretraining=_pretraining(5e-3),
            instruction=_fine_tuning(2e-3, 4),
            replay_tokens=20_000,
            cost=9,
            tuning_cost=5,
        ),
    ),
    broad_prompts=200,
    broad_amounts=(3_000, 6_000),
    local_pairs=100,
    requests_per_round=64,
    replay_documents=200,
    replay_amount=3_000,
    replay_share=0.25,
    style_prompts=16,
    toxicity_prompts=16,
    items={"qa": 30, "quiz": 20, "problems": 16, "summaries": 10},
    training=_fine_tuning(2e-3, 4),
)

SCALES: dict[str, Scale] = {scale.name: scale for scale in (_FULL, _SMOKE)}
