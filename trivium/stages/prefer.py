"""prefer: the policy learns from preferences directly, without a reward model (DPO)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.data.sources import Source
from trivium.learn.objectives.preference import DPO, KTO, TDPO, OfAnswers, PreferenceObjective, StepWide
from trivium.learn.optim.recipes import AdamW
from trivium.learn.reference_update import ReferenceUpdate
from trivium.learn.schedules import Schedule
from trivium.nn.flops import flops_per_token
from trivium.nn.lora import LoRA
from trivium.stages.base import Foresight, Unreadable, Work, check_data, check_model, known_model
from trivium.stages.training import foresee_training, save, train, trainer_of
from trivium.text.read import check_head, is_labelled

PAIRS_PER_PROMPT = 4  # of a ranking: more of them say the same of the same answers again


@component
class Prefer:
    """Offline preference optimisation against the starting model as reference; leaves `@prefer/model`.

    A ranking of K answers gives K(K-1)/2 pairs without ties; four of them are drawn. batch_size is in pairs, for kto
    and bco in answers, which are those of pairs or rows with a `label`, for rrhf in rankings. Reference log-probs are computed once, as a
    column; with reference_update the reference follows the policy (TR-DPO). heldout: preferences to measure on, before and after.
    Preferences and labels with an answer that does not fit in seq_len tokens, its prompt included, are left out and counted. An empty
    answer is the end of the turn alone. lora, unreadable: see finetune.
    """

    kind: Literal["prefer"] = "prefer"
    model: str
    data: str
    unreadable: Unreadable = "stop"
    heldout: str | None = None
    steps: int = Field(gt=0)
    batch_size: int = Field(default=32, gt=0)
    seq_len: int = Field(default=128, ge=8)
    micro_batch_rows: int = Field(default=16, gt=0)
    objective: PreferenceObjective = DPO()
    optimizer: AdamW = AdamW(lr=1e-4)
    schedule: Schedule = Schedule(warmup_steps=10)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: LoRA | None = None
    reference_update: ReferenceUpdate | None = None

    def check(self) -> None:
        check_model(self.model)
        if isinstance(self.objective, KTO) and self.batch_size < 2:
            raise ConfigError("batch_size is 1, but the baseline of kto is a mean over the answers of a step; set it to 2 or more")
        if self.reference_update is not None and "ref_logprobs" not in self.objective.needs:
            raise ConfigError(f"objective {self.objective.kind} has no reference, so reference_update has nothing to move; leave it out")
        if self.reference_update is not None and isinstance(self.objective, StepWide | TDPO):
            raise ConfigError(f"objective {self.objective.kind} reads its reference before training starts; leave reference_update out")
        if self.reference_update is not None and self.lora is not None:
            raise ConfigError("reference_update moves a reference's own weights, which an adapter does not have; leave lora out")
        if self.heldout is not None:
            check_data(self.heldout, "preferences")
        if self.data.startswith("@"):
            return
        is_lenient = self.unreadable == "skip"
        kind = "labels" if isinstance(self.objective, OfAnswers) and is_labelled(self.data) else "preferences"
        check_head(self.data, kind, is_lenient=is_lenient)

    @property
    def keeps_reference(self) -> bool:
        """Whether a reference is there while it trains, instead of its log-probs alone."""
        return isinstance(self.objective, TDPO) or self.reference_update is not None

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        tokens = self.steps * self.batch_size * (1 if isinstance(self.objective, OfAnswers) else 2) * known.sequence_tokens
        work = foresee_training(self, name, config, known, tokens=tokens, lora=self.lora)
        # a loss that looks at all of a step, or a moving reference, reads the answers of each update besides
        passes = isinstance(self.objective, StepWide) + isinstance(self.objective, TDPO) + (self.reference_update is not None)
        read = passes * tokens
        if "ref_logprobs" in self.objective.needs and self.reference_update is None:  # once, of all pairs that are trained on
            pairs = min(known.num_comparisons * PAIRS_PER_PROMPT, self.steps * self.batch_size)
            read += pairs * 2 * (2 if isinstance(self.objective, KTO) else 1) * known.sequence_tokens
        return replace(work, flops=work.flops + read / 3 * flops_per_token(config, self.seq_len))

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.sources import Groups
        from trivium.nn.adapter import frozen_reference
        from trivium.stages.computing.heldout_pairs import HeldoutPairs
        from trivium.stages.computing.models import Speaker
        from trivium.stages.computing.preference_groups import called, groups_for
        from trivium.stages.computing.shared import share_of
        from trivium.train.annotate import StepColumns, annotate, column_of, logprobs
        from trivium.train.reference import MovingReference

        speaker = Speaker.of(run, self.model, is_later=True).adapt(self.lora, run.seed)
        size = {"rows": self.micro_batch_rows, "length": self.seq_len}
        groups = groups_for(self, speaker, run)
        run.log(f"{len(groups):,} {called(self.objective)}")
        reference, order = None, {"groups_per_step": self.batch_size, "seed": run.seed, "purpose": "pairs"}
        if self.reference_update is not None:
            reference = MovingReference(self.reference_update, Groups(groups, **order), speaker.model, **size)
        trainer = trainer_of(  # as long as it has not trained, it is the reference; nobody here holds the one that it compares with
            run, self, speaker, self.objective, reference=frozen_reference(speaker.model) if isinstance(self.objective, TDPO) else None
        )
        heldout = HeldoutPairs.read(self, speaker, run) if self.heldout is not None else None
        if self.reference_update is None and "ref_logprobs" in self.objective.needs:
            read = Groups(groups, **order).read_within(self.steps).tolist()  # of the others nobody asks what the reference says
            those, share = [groups[i] for i in read], share_of(run)
            with run.progress(sum(map(len, those)), "reference") as progress:
                said = annotate(those, speaker.model, "ref_logprobs", logprobs, share=share, tell=progress.update, **size)
            for i, group in zip(read, said, strict=True):
                groups[i] = group
        source: Source = reference or Groups(groups, **order)
        if isinstance(self.objective, StepWide):
            source = StepColumns(source, self.objective.of_step, lambda items: column_of(speaker.model, items, logprobs, **size))
        tokens = sum(len(item.tokens) for group in groups for item in group) * self.steps * self.batch_size // len(groups)
        companions = [reference] if reference else []
        facts = train(run, self, speaker, trainer, source, tokens=tokens, lora=self.lora, companions=companions)
        if heldout is not None:
            table = heldout.measure(run, speaker.model)
            run.leave("results.json", table)
            run.log("; ".join(f"{row['measure']} {row['value']:.3f}" for row in table))
        save(run, speaker, self.lora)
        return facts
