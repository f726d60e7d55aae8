"""What a training may be told: the recipe, its optimizer and its machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from epigone.specs import Spec

__all__ = ["ChatFormat", "DistilSpec", "LoraSpec", "OptimizerName", "Precision", "TrackerName", "TrainSpec"]

ChatFormat = Literal["turn_tokens", "tokenizer_template", "koala"]
OptimizerName = Literal["adamw", "parameter_scaled_adamw", "parameter_scaled_adafactor"]
TrackerName = Literal["tensorboard", "wandb", "trackio"]
Precision = Literal["auto", "float32", "bfloat16"]


class LoraSpec(Spec):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) instead of full fine-tuning; merged into the student."""

    rank: int = Field(16, ge=1)
    """Rank of the update of each adapted matrix."""

    alpha: float = Field(32.0, gt=0)
    """The update is scaled by ``alpha / rank``."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is zeroed while training."""

    targets: tuple[str, ...] | None = None
    """Names of the adapted linear layers, such as ``q_proj``. ``None``: every linear layer but the head."""


class DistilSpec(Spec):
    """Distillation from the logits of a local teacher (Hinton et al. 2015, arXiv 1503.02531): besides the next token,
    its whole distribution is learnt. Only for teachers whose tokenizer is the student's."""

    hf: str
    """The teacher: a Hugging Face folder or hub id. It needs every token of the student, the turn tokens included."""

    divergence: Literal["forward_kl", "reverse_kl"] = "forward_kl"
    """``forward_kl``: KL(teacher ‖ student), which makes the student cover all that the teacher may say.
    ``reverse_kl``: KL(student ‖ teacher), which keeps it to what the teacher finds likely (Gu et al. 2023, arXiv
    2306.08543; here on the data's tokens, not on the student's own, so as in Agarwal et al. 2023, arXiv 2306.13649)."""

    weight: float = Field(0.5, gt=0, le=1)
    """Share of the divergence in the loss; the cross entropy of the data's tokens has the rest."""

    temperature: float = Field(1.0, gt=0)
    """Both distributions are softened by it before they are compared, and the divergence is multiplied by its square,
    so that gradients keep their size (Hinton et al. 2015, section 2)."""


class TrainSpec(Spec):
    """One training. The defaults are the modern recipe; ``docs/train.md`` lists the paper's settings beside them."""

    chat_format: ChatFormat = "turn_tokens"
    """How turns are written. ``turn_tokens``: new special tokens open each user query and each model output.
    ``tokenizer_template``: the base tokenizer's own chat template. ``koala``: Koala's plain-text markers."""

    new_tokens_like: str | None = None
    """Text whose last token the new turn tokens start as copies of, such as ``":"``. ``None``: they start as the mean
    of all tokens. Tiny models with little data bring out what they know only if an answer follows a token that answers
    followed in pre-training (measured in ``docs/microworld.md``)."""

    block_tokens: int = Field(2048, ge=8)
    """Length of a block in tokens. Held against the model's context; longer blocks than that are refused."""

    packing: Literal["best_fit", "cut", "none"] = "best_fit"
    """``best_fit``: several conversations a block, none of which sees another; long ones are split at turns.
    ``cut``: one stream cut every ``block_tokens`` tokens without a mask between conversations (the paper's original).
    ``none``: one conversation a block, padded."""

    long_turns: Literal["error", "drop", "cut"] = "error"
    """What happens to a conversation with one exchange longer than a block. ``cut`` keeps the part that fits."""

    batch_blocks: int = Field(32, ge=1)
    """Blocks in one optimizer step, over all devices."""

    micro_batch_blocks: int | None = Field(None, ge=1)
    """Blocks in one forward pass on one device; the rest is accumulated. ``None``: chosen by the memory it needs."""

    epochs: float = Field(1.0, gt=0)
    """Passes over the data. Ignored when ``max_steps`` is given."""

    max_steps: int | None = Field(None, ge=1)
    """Optimizer steps. ``None``: as many as ``epochs`` needs."""

    optimizer: OptimizerName = "adamw"
    """``adamw``; the same with each update scaled by the root mean square of its weight (``parameter_scaled_adamw``);
    what the original code ran (``parameter_scaled_adafactor``)."""

    peak_lr: float = Field(1e-4, gt=0)
    """Largest learning rate. For the two scaled optimizers it is relative to each weight's magnitude (paper: 2e-3)."""

    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the two moment estimates of ``adamw`` and ``parameter_scaled_adamw``."""

    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices. Vectors are left alone; embeddings too, unless ``decay_embeddings``."""

    decay_embeddings: bool = False
    """Whether embeddings, and a head that is tied to them, decay too. Tiny models trained from nothing learn facts much
    sooner with it."""

    clip_norm: float | None = Field(1.0, gt=0)
    """Global gradient norm above which gradients are scaled down. ``None``: never."""

    warmup_share: float = Field(0.1, ge=0, le=1)
    """Share of the steps over which the rate rises linearly from 0. Ignored when ``warmup_steps`` is given."""

    warmup_steps: int | None = Field(None, ge=0)
    """Steps of the linear rise (paper: 1000). Confounds the amount of data with the rate when arms are short."""

    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """Course of the rate after the rise: level, or falling to ``final_lr_share`` of the peak at the last step."""

    final_lr_share: float = Field(0.1, ge=0, le=1)
    """Rate at the last step as a share of the peak, for ``linear`` and ``cosine``."""

    objective: Literal["tokens", "rows"] = "tokens"
    """``tokens``: mean over the supervised tokens of a step. ``rows``: mean over blocks of each block's own mean
    (the original's)."""

    z_loss: float = Field(0.0, ge=0)
    """Weight of the squared log-partition function added to the loss (Chowdhery et al. 2022, PaLM, section 5)."""

    distil: DistilSpec | None = None
    """A local teacher whose logits are matched at every learnt token. ``None``: its text alone is learnt."""

    lora: LoraSpec | None = None
    """Low-rank adapters. ``None``: every weight is trained."""

    gradient_checkpointing: bool = False
    """Recompute each layer's activations in the backward pass: less memory, about a third more time."""

    precision: Precision = "auto"
    """Arithmetic of the forward and backward pass; weights and optimizer state are always float32.
    ``auto``: bfloat16 where the device multiplies it faster (see ``docs/train.md``), else float32."""

    save_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the saved weights. ``auto``: that of the base (float32 when trained from nothing)."""

    heldout_share: float = Field(0.0, ge=0, lt=1)
    """Share of the conversations kept out of training to measure held-out loss, by source; above 0 at least one."""

    heldout_every_steps: int | None = Field(None, ge=1)
    """Steps between two measurements of held-out loss. ``None``: before the first step and after the last only."""

    threads: int | None = Field(None, ge=1)
    """CPU threads of the forward and backward pass. ``None``: torch's choice. The last bits of results depend on it."""

    device: str = "auto"
    """``auto`` (a CUDA device when there is one), ``cpu``, ``cuda``, ``cuda:1`` …"""

    tensor_parallel: int = Field(1, ge=1)
    """Devices that share each layer's matrices. The rest of torchrun's processes shard data and weights (FSDP2)."""

    checkpoint_every_steps: int | None = Field(None, ge=1)
    """Save a checkpoint every so many steps. ``None``: by the clock only."""

    checkpoint_every_minutes: float | None = Field(10.0, gt=0)
    """Save a checkpoint when so many minutes have passed. ``None``: by steps only."""

    keep: int = Field(2, ge=1)
    """Checkpoints kept; older ones are removed."""

    log_every: int = Field(10, ge=1)
    """Steps between two entries in the loss curve and in the trackers."""

    trackers: tuple[TrackerName, ...] = ()
    """Where the curves go while it runs, below the work folder. The CLI adds ``tensorboard``."""

    @model_validator(mode="after")
    def _fits_together(self) -> TrainSpec:
        if self.micro_batch_blocks is not None and self.batch_blocks % self.micro_batch_blocks:
            raise ValueError("batch_blocks must be a multiple of micro_batch_blocks")
        return self
