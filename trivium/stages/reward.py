"""reward: a model learns from people's judgements which answers are good: of whole answers, or of every step of a solution."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.core.types import Example, Group, Preference
from trivium.learn.objectives.process import Process
from trivium.learn.objectives.ranking import Ranking
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.flops import flops_per_token
from trivium.nn.lora import LoRA
from trivium.report.correlation import correlation, slope
from trivium.report.reading import CALIBRATION
from trivium.score.calibration import Bin
from trivium.stages.base import Foresight, Unreadable, Work, check_model, data_source, gather, known_model, resolve
from trivium.stages.reward_table import PairTable, Row, step_table
from trivium.stages.training import foresee_training, save, train, trainer_of
from trivium.text.hub import is_hub
from trivium.text.read import check_head, is_preferences, is_solutions, read_conversations, read_preferences, read_solutions
from trivium.text.rows import rows

LEVEL_ANSWERS = 1000  # of the training answers: their mean is then known to 3 % of their deviation


@component
class Reward:
    """Bradley-Terry on rankings, all answers to a prompt as one batch element; leaves `@reward/model`, a model with a scalar head.

    With objective=process it learns from solutions whose steps were judged instead (PRM800K, Math-Shepherd and others); the scores of such
    a model are probabilities and stay as they are. heldout: what it is measured on, of the same kind. truth: true scores of the held-out
    answers, if a rule is known; gives the ceiling that the annotators' noise allows. After training the scores of rankings are shifted and
    scaled to mean 0 and standard deviation 1 on a thousand training answers; normalise: data on whose answers the mean is 0 instead,
    conversations (InstructGPT: the demonstrations) or rankings. Stages of one recipe read the data in orders of their own, so several of
    them are an ensemble (`reinforce reward_model=[...]`). lora, unreadable: see finetune; the scalar head is trained in full, beside the
    adapter.
    """

    kind: Literal["reward"] = "reward"
    model: str
    data: str
    unreadable: Unreadable = "stop"
    heldout: str
    truth: str | None = None
    normalise: str | None = None
    steps: int = Field(gt=0)
    batch_size: int = Field(default=16, gt=0)  # prompts
    seq_len: int = Field(default=128, ge=8)
    micro_batch_rows: int = Field(default=16, gt=0)
    objective: Annotated[Ranking | Process, Field(discriminator="kind")] = Ranking(centre=0.01)
    optimizer: AdamW = AdamW(lr=5e-4)
    schedule: Schedule = Schedule(warmup_steps=10)
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: LoRA | None = None

    def check(self) -> None:
        check_model(self.model)
        if isinstance(self.objective, Process):
            for name in ("truth", "normalise"):
                if {"truth": self.truth, "normalise": self.normalise}[name] is not None:
                    raise ConfigError(f"{name} is for rankings; objective process gives probabilities of steps, so leave it out")
        for source in (self.data, self.heldout):
            if not source.startswith("@"):
                is_lenient = self.unreadable == "skip" and source == self.data
                self._check_kind(source)
                check_head(source, "solutions" if isinstance(self.objective, Process) else "preferences", is_lenient=is_lenient)
        if self.normalise is not None and not self.normalise.startswith("@"):
            is_ranked = not is_hub(self.normalise) and is_preferences(self.normalise)
            check_head(self.normalise, "preferences" if is_ranked else "conversations")

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        answers, read = (1.0, 0) if isinstance(self.objective, Process) else (known.answers_ranked, known.num_comparisons)
        tokens = answers * known.sequence_tokens
        work = foresee_training(self, name, config, known, tokens=int(self.steps * self.batch_size * tokens), lora=self.lora)
        scored = (min(read, LEVEL_ANSWERS / answers) + known.num_heldout) * tokens  # the training answers for the level of the scores
        return replace(work, flops=work.flops + scored / 3 * flops_per_token(config, self.seq_len))

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.data.pack import pack
        from trivium.data.sources import Groups
        from trivium.stages.computing.models import Speaker

        speaker = Speaker.of(run, self.model, has_scalar=True, is_later=True).adapt(self.lora, run.seed)
        speaker.judge_by(self.objective if isinstance(self.objective, Process) else None)
        # what is wrong with any of them is told before training
        groups, heldout, shown = self._groups(run, speaker), self._heldout(run, speaker), self._shown(run, speaker)
        for group in groups:
            pack([group], rows=self.micro_batch_rows, length=self.seq_len)  # one that does not fit is told now, not when its turn comes
        order = "rankings" if run.stage == self.kind else f"rankings of {run.stage}"
        source = Groups(groups, groups_per_step=self.batch_size, seed=run.seed, purpose=order)
        answers = [item for group in groups for item in group]
        tokens = sum(len(item.tokens) for item in answers) * self.steps * self.batch_size // len(groups)
        facts = train(run, self, speaker, trainer_of(run, self, speaker, self.objective), source, tokens=tokens, lora=self.lora)
        if isinstance(self.objective, Process):
            table, bins = self._measure_steps(run, speaker, heldout)
        else:
            table, bins = self._measure_pairs(run, speaker, heldout, gain=self._normalise(run, speaker, groups, shown))
        run.leave("results.json", table)
        run.leave(CALIBRATION, [asdict(each) for each in bins])
        save(run, speaker, self.lora)
        run.log("; ".join(f"{row['measure']} {row['value']:.3f}" for row in table))
        return facts

    def _check_kind(self, source: str) -> None:
        """Refuse the other kind of judgements; what cannot be read is told by its reader."""
        if is_hub(source):
            return
        if isinstance(self.objective, Ranking) and is_solutions(source):
            raise ConfigError(f"{source}: holds solutions whose steps were judged; set objective=process")
        if isinstance(self.objective, Process) and is_preferences(source):
            raise ConfigError(f"{source}: compares whole answers; leave objective=process out")

    def _groups(self, run: Run, speaker: Any) -> list[Group]:
        """The answers to each prompt, best first, or each solution by itself."""
        from trivium.stages.computing.preference_groups import ranked_groups

        if isinstance(self.objective, Process):
            return [(item,) for item in self._judged(run, speaker, self.data, self.unreadable)]
        data = data_source(run, self.data)
        rankings = gather(lambda on_skip: read_preferences(data, on_skip), run, self.unreadable)
        found = ranked_groups(rankings, speaker, self.seq_len, run, source=self.data, needs=self.objective.needs)
        return [group for _, group in found]

    def _heldout(self, run: Run, speaker: Any) -> list[Any]:
        """The solutions to measure on, or of each ranking (preference, its answers best first, their true scores where they are known)."""
        from trivium.stages.computing.preference_groups import ranked_groups

        if isinstance(self.objective, Process):
            return self._judged(run, speaker, self.heldout, "stop")
        found = list(read_preferences(data_source(run, self.heldout)))
        truth = dict(zip(map(id, found), self._truth(run, found), strict=True)) if self.truth else {}
        groups = ranked_groups(found, speaker, self.seq_len, run, source=self.heldout)
        return [(item, group, truth.get(id(item))) for item, group in groups]

    def _judged(self, run: Run, speaker: Any, source: str, unreadable: Unreadable) -> list[Example]:
        """The solutions of a source that have a step to learn from and fit into a row and the model. Raises DataError if none does."""
        from trivium.stages.computing.models import judged_steps

        objective, data, longest = self.objective, data_source(run, source), min(self.seq_len, speaker.model.config.max_seq_len)
        assert isinstance(objective, Process)
        found = gather(lambda on_skip: read_solutions(data, on_skip, neutral=objective.neutral_label), run, unreadable)
        judged = [item for item in (judged_steps(speaker, solution, objective) for solution in found) if item.loss_mask.any()]
        if not judged:
            raise DataError(f"{source}: no solution has a step with a label that is to be learned")
        kept = [item for item in judged if len(item.tokens) <= longest]
        if not kept:
            raise DataError(f"{source}: none of {len(judged):,} solutions fits in {longest:,} tokens, prompt included; raise seq_len")
        if len(kept) < len(judged):
            run.log(f"{len(kept):,} of {len(judged):,} solutions fit in {longest:,} tokens; the others are left out")
        return kept

    def _shown(self, run: Run, speaker: Any) -> list[Example]:
        """The answers whose scores are to have mean 0, that the user named; those that are too long or of weight 0 are left out."""
        from trivium.stages.computing.preference_groups import ranked_groups

        if self.normalise is None:
            return []
        named, longest = data_source(run, self.normalise), min(self.seq_len, speaker.model.config.max_seq_len)
        if is_preferences(named):
            return [
                item
                for _, group in ranked_groups(list(read_preferences(named)), speaker, self.seq_len, run, source=self.normalise)
                for item in group
            ]
        counted = [conversation for conversation in read_conversations(named) if conversation.answer_weight]
        shown = [item for item in map(speaker.last_answer, counted) if len(item.tokens) <= longest]
        if not shown:
            raise DataError(f"{self.normalise}: none of its conversations has an answer that counts and fits in {longest:,} tokens")
        if len(shown) < len(counted):
            run.log(
                f"{len(shown):,} of {len(counted):,} conversations of {self.normalise} fit in {longest:,} tokens; the others are left out"
            )
        return shown

    def _normalise(self, run: Run, speaker: Any, groups: Sequence[Group], shown: Sequence[Example]) -> float:
        """Scale to deviation 1 on the training answers, and shift to mean 0 on them or on those that the user named; gives the scale.

        Of many training answers those to prompts drawn by lot are read. Without the effect of length, where that is wanted: then the
        deviation is that of what is left.
        """
        from trivium.stages.computing.models import lengths

        drawn = generator(run.seed, f"level of {run.stage}").permutation(len(groups))
        until = int(np.searchsorted(np.cumsum([len(groups[i]) for i in drawn]), LEVEL_ANSWERS)) + 1
        answers = [item for i in sorted(drawn[:until]) for item in groups[i]]
        layout = {"rows": self.micro_batch_rows, "length": self.seq_len}
        with run.progress(len(answers), "level") as progress:
            scores = speaker.scores(answers, **layout, tell=progress.update)
        tokens, head = lengths(answers), speaker.model.scalar_head
        if isinstance(self.objective, Ranking) and self.objective.is_length_free:
            head.length_slope = slope(tokens, scores)
            run.log(
                f"scores had a correlation of {correlation(tokens, scores):.2f} with the length of the training answers; it is taken off"
            )
            scores = scores - head.length_slope * tokens
        mean = float(scores.mean())
        if shown:
            mean = float(speaker.scores(shown, **layout).mean())
            run.log(f"scores have mean 0 on the {len(shown):,} answers of {self.normalise}")
        std = max(float(scores.std()), 1e-6)
        speaker.model.normalise_scores(mean, std)
        head.length_slope /= std
        return 1 / std

    def _truth(self, run: Run, heldout: Sequence[Preference]) -> list[list[float]]:
        """The true scores of the answers to each held-out prompt, as the rankings list them."""
        found = [row.values.get("scores") for row in rows(resolve(run, self.truth or ""))]
        scores = [each if isinstance(each, list) and all(isinstance(score, int | float) for score in each) else [] for each in found]
        if [len(each) for each in scores] != [len(item.responses) for item in heldout]:
            raise DataError(f"{self.truth}: each row needs 'scores', a number for each response of the same row of {self.heldout}")
        return scores

    def _measure_pairs(self, run: Run, speaker: Any, heldout: Sequence[Any], *, gain: float) -> tuple[list[Row], list[Bin]]:
        """Pair accuracy on held-out rankings, beside its baseline and its ceiling. gain: what the scores were multiplied by."""
        from trivium.stages.computing.models import lengths

        table, answers = PairTable(run.stage), [item for _, group, _ in heldout for item in group]
        with run.progress(len(answers), "held out") as progress:
            layout = {"rows": self.micro_batch_rows, "length": self.seq_len}
            learned = iter(speaker.scores(answers, **layout, tell=progress.update).tolist())
        for item, group, truth in heldout:
            order = np.argsort(item.ranks, kind="stable").tolist()
            table.add(
                item, order, learned=[next(learned) for _ in group], lengths=lengths(group).tolist(), gain=gain,
                true=None if truth is None else [truth[i] for i in order],
            )  # fmt: skip
        return table.rows(), table.bins()

    def _measure_steps(self, run: Run, speaker: Any, answers: Sequence[Example]) -> tuple[list[Row], list[Bin]]:
        """Accuracy on the steps of held-out solutions, beside that of the more frequent label."""
        from trivium.train.annotate import column_of, scores

        columns = column_of(speaker.model, answers, scores, rows=self.micro_batch_rows, length=self.seq_len)
        ends = [np.flatnonzero(answer.loss_mask) for answer in answers]
        log_odds = [column[end] for column, end in zip(columns, ends, strict=True)]
        return step_table(run.stage, log_odds, [answer.columns["correct"][end] for answer, end in zip(answers, ends, strict=True)])
