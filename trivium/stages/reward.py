"""reward: a model learns from rankings which answers people put first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.commit import commit_file
from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.core.types import Preference
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.lora import LoRA
from trivium.report.intervals import share_interval
from trivium.score.answers import agreement
from trivium.stages.base import Foresight, Unreadable, Work, check_model, gather, known_model, resolve
from trivium.stages.training import foresee_training, save, train
from trivium.text.read import check_head, read_preferences
from trivium.text.rows import rows


@component
class Reward:
    """Bradley-Terry on rankings, all answers to a prompt as one batch element; leaves `@reward/model`, a model with a scalar head.

    heldout: rankings to measure pair accuracy on. truth: their true scores, if a rule is known; gives the ceiling that the
    annotators' noise allows. After training scores are shifted and scaled to mean 0 and standard deviation 1 on the training answers.
    lora, unreadable: see finetune; the scalar head is trained in full, beside the adapter.
    """

    kind: Literal["reward"] = "reward"
    model: str
    data: str
    unreadable: Unreadable = "stop"
    heldout: str
    truth: str | None = None
    steps: int = Field(gt=0)
    batch_size: int = Field(default=16, gt=0)  # prompts
    seq_len: int = Field(default=128, ge=8)
    micro_batch_rows: int = Field(default=16, gt=0)
    objective: Ranking = Ranking(centre=0.01)
    optimizer: AdamW = AdamW(lr=5e-4)
    schedule: Schedule = Schedule(warmup_steps=10)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: LoRA | None = None

    def check(self) -> None:
        check_model(self.model)
        for source in (self.data, self.heldout):
            if not source.startswith("@"):
                check_head(source, "preferences", is_lenient=self.unreadable == "skip" and source == self.data)

    def foresee(self, name: str, known: Foresight) -> Work:
        tokens = self.steps * self.batch_size * known.sequence_tokens * 13 // 2
        return foresee_training(self, name, known_model(known, self.model), known, tokens=tokens, lora=self.lora)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.pack import pack
        from trivium.data.sources import Groups
        from trivium.stages.models import Speaker, machine_of
        from trivium.stages.preference_groups import ranked_groups
        from trivium.train.annotate import final_scores

        speaker = Speaker.load(resolve(run, self.model), machine_of(run), has_scalar=True).adapt(self.lora, run.seed)
        data = resolve(run, self.data)
        rankings = gather(lambda on_skip: read_preferences(data, on_skip), run, self.unreadable)
        groups = [group for _, group in ranked_groups(rankings, speaker, self.seq_len, run)]
        for group in groups:
            pack([group], rows=self.micro_batch_rows, length=self.seq_len)  # one that does not fit is told now, not when its turn comes
        source = Groups(groups, groups_per_step=self.batch_size, seed=run.seed, purpose="rankings")
        answers = [item for group in groups for item in group]
        tokens = sum(len(item.tokens) for item in answers) * self.steps * self.batch_size // len(groups)
        facts = train(run, self, speaker, self.objective, source, tokens=tokens, lora=self.lora)
        scores = final_scores(speaker.model, answers, rows=self.micro_batch_rows, length=self.seq_len)
        speaker.model.normalise_scores(float(scores.mean()), float(scores.std()))
        table = self._measure(run, speaker)
        commit_file(run.folder / "results.json", json.dumps(table, indent=1))
        save(run, speaker, self.lora)
        run.log("; ".join(f"{row['measure']} {row['value']:.3f}" for row in table))
        return facts

    def _truth(self, run: Run, heldout: Sequence[Preference]) -> list[list[float]]:
        """The true scores of the answers to each held-out prompt, as the rankings list them."""
        found = [row.values.get("scores") for row in rows(resolve(run, self.truth or ""))]
        scores = [each if isinstance(each, list) and all(isinstance(score, int | float) for score in each) else [] for each in found]
        if [len(each) for each in scores] != [len(item.responses) for item in heldout]:
            raise DataError(f"{self.truth}: each row needs 'scores', a number for each response of the same row of {self.heldout}")
        return scores

    def _measure(self, run: Run, speaker: Any) -> list[dict[str, Any]]:
        """Pair accuracy on held-out rankings, beside its baseline and its ceiling."""
        from trivium.stages.preference_groups import ranked_groups
        from trivium.train.annotate import final_scores

        heldout = list(read_preferences(resolve(run, self.heldout)))
        counts: dict[str, np.ndarray] = {}
        truth = dict(zip(map(id, heldout), self._truth(run, heldout), strict=True)) if self.truth else None
        for item, group in ranked_groups(heldout, speaker, self.seq_len, run):
            order = np.argsort(item.ranks, kind="stable")
            places = [item.ranks[i] for i in order]
            learned = final_scores(speaker.model, group, rows=self.micro_batch_rows, length=self.seq_len).tolist()
            pairs = {
                "pair_accuracy": agreement(learned, places),
                "pair_accuracy_longer_wins": agreement([len(answer.tokens) for answer in group], places),
            }
            if truth is not None:
                true = [truth[id(item)][i] for i in order]
                pairs["pair_accuracy_of_true_rule"] = agreement(true, places)  # the ceiling that the annotators' errors leave
                pairs["pair_accuracy_on_truth"] = agreement(learned, [-score for score in true])
            for name, pair in pairs.items():
                counts[name] = counts.get(name, np.zeros(2)) + pair
        named = {name: (share_interval(float(right), int(total)), int(total)) for name, (right, total) in counts.items() if total}
        return [
            {"stage": run.stage, "measure": name, "value": share, "low": low, "high": high, "n": total}
            for name, ((share, low, high), total) in named.items()
        ]
