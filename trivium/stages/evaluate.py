"""evaluate: every model of a run on the same held-out prompts and text, with intervals, and samples side by side."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from trivium.core.commit import commit_file
from trivium.core.config import component
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.flops import num_parameters
from trivium.report.intervals import mean_interval, share_interval
from trivium.score.answers import AnswerRule
from trivium.score.rewards import AnyReward, Said, checked
from trivium.score.rewards.opened import check_rules, judges_of, names_of, opened
from trivium.stages.base import Foresight, Work, check_model, known_model, resolve
from trivium.text.read import check_head, read_field, read_prompt_records, read_prompts
from trivium.text.shards import Shard


@component
class Evaluate:
    """Leaves `results.json` (a row a model and measure, with 95 % intervals) and `samples.json` below `@evaluate`.

    models: name -> model directory, in the order of the report. tokens: token shards, for bits per byte. rule: the true score,
    where it is known; rewards: what rules say of the answers (see reinforce), for example whether they are right. reference: the model
    that KL is measured from (nats an answer, on the model's own answers).
    """

    kind: Literal["evaluate"] = "evaluate"
    models: dict[str, str] = Field(min_length=1)
    prompts: str
    tokens: str | None = None
    reward_model: str | None = None
    reference: str | None = None
    rule: AnswerRule | None = None
    rewards: tuple[AnyReward, ...] = ()
    sampling: Sampling = Sampling(max_new_tokens=40)
    num_samples: int = Field(default=12, ge=0)
    seq_len: int = Field(default=128, ge=8)
    rows: int = Field(default=64, gt=0)

    def check(self) -> None:
        check_rules(self.rewards)
        for reference in (*self.models.values(), self.reward_model, self.reference, *judges_of(self.rewards)):
            check_model(reference or "@")
        if not self.prompts.startswith("@"):
            check_head(self.prompts, "prompts", field="asked" if self.rule else "")

    def foresee(self, name: str, known: Foresight) -> Work:
        parameters = num_parameters(known_model(known, next(iter(self.models.values()))))
        generated = len(self.models) * known.num_heldout * self.sampling.max_new_tokens
        return Work(tokens_generated=generated, parameters_sampled=parameters, seconds=3.0 * len(self.models))

    def run(self, run: Run) -> Mapping[str, Any]:
        table: list[dict[str, Any]] = []
        samples: list[dict[str, Any]] = []
        for name, path in self.models.items():
            rows_of, shown = self._one(run, name, path)
            table += rows_of
            samples += shown
            run.log(f"{name:<10} " + "  ".join(f"{row['measure']} {row['value']:.3f}" for row in rows_of))
        commit_file(run.folder / "results.json", json.dumps(table, indent=1))
        commit_file(run.folder / "samples.json", json.dumps(samples, indent=1, ensure_ascii=False))
        return {"models": len(self.models)}

    def _one(self, run: Run, name: str, path: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Measures and samples of one model."""
        from trivium.stages.choosing import chooser_of
        from trivium.stages.models import Speaker, check_room, engine_of, machine_of, say_what_is_slower

        prompts = resolve(run, self.prompts)
        speaker = Speaker.load(resolve(run, path), machine_of(run))
        say_what_is_slower(run, speaker.model)
        messages = list(read_prompts(prompts))
        asked = read_field(prompts, "asked") if self.rule else []
        engine = engine_of(run, speaker, rows=self.rows)
        prompt_ids = [speaker.prompt(each) for each in messages]
        check_room(prompt_ids, self.sampling, self.seq_len)
        answers = engine.generate(prompt_ids, self.sampling, seed=run.seed, purpose="evaluate")
        texts = [speaker.text_of(answer) for answer in answers]
        stopped = [bool(answer.meta["stopped"]) for answer in answers]
        table = _Table(name)
        if self.tokens is not None:
            table.bits_per_byte(speaker, Shard.open(resolve(run, self.tokens) / "heldout", speaker.tokenizer.fingerprint), self.seq_len)
        table.share("stop_rate", stopped)
        table.mean("response_words", [len(text.split()) for text in texts])
        scores: list[float | None] = [None] * len(texts)
        if self.rule is not None:
            scores = [self.rule(word, text, end) for word, text, end in zip(asked, texts, stopped, strict=True)]
            table.mean("true_score", scores)
            parts = [self.rule.parts(word, text, end) for word, text, end in zip(asked, texts, stopped, strict=True)]
            for part in parts[0]:
                table.share_or_mean(f"true_{part}", [each[part] for each in parts])
        if self.rewards:
            records = list(read_prompt_records(prompts))
            said = [Said(prompt, text, end, fields) for (prompt, fields), text, end in zip(records, texts, stopped, strict=True)]
            rules = opened(
                self.rewards, [fields for _, fields in records], seed=run.seed, plugins=run.plugins, say=run.log_once,
                chooser=chooser_of(run),
            )  # fmt: skip
            for rule, named in zip(rules, names_of(rules), strict=True):
                table.share_or_mean(f"{named}_score", checked(rule, said))
        self._from_models(run, table, speaker, answers)
        shown = [
            {"stage": name, "prompt": messages[i][-1].content, "response": texts[i], "score": scores[i], "stopped": stopped[i]}
            for i in range(min(self.num_samples, len(texts)))
        ]
        return table.rows, shown

    def _from_models(self, run: Run, table: "_Table", speaker: Any, answers: Sequence[Any]) -> None:
        """What other models say: the reward model's score, the distance from the reference; and the policy's own entropy."""
        from trivium.stages.models import Speaker, machine_of, same_tokenizer
        from trivium.train.annotate import column_of, entropies, logprobs

        machine, layout = machine_of(run), {"rows": 16, "length": self.seq_len}
        entropy = column_of(speaker.model, answers, entropies, with_entropy=True, **layout)
        table.mean("entropy", [float(column[answer.loss_mask > 0].mean()) for column, answer in zip(entropy, answers, strict=True)])
        if self.reference is not None:
            reference = Speaker.load(resolve(run, self.reference), machine)
            same_tokenizer(speaker, reference)
            columns = column_of(reference.model, answers, logprobs, temperature=self.sampling.temperature or 1.0, **layout)
            table.mean(
                "kl_from_reference",
                [
                    float((answer.columns["old_logprobs"] - column)[answer.loss_mask > 0].sum())
                    for answer, column in zip(answers, columns, strict=True)
                ],
            )
        if self.reward_model is not None:
            judge = Speaker.load_judge(resolve(run, self.reward_model), machine)
            same_tokenizer(speaker, judge)
            table.mean("reward", judge.scores(answers, **layout).tolist())


class _Table:
    """Rows of the held-out table of one model."""

    def __init__(self, stage: str) -> None:
        self.stage, self.rows = stage, []

    def mean(self, measure: str, values: Sequence[float | None]) -> None:
        numbers = [value for value in values if value is not None]
        self._add(measure, *mean_interval(numbers), n=len(numbers))

    def share_or_mean(self, measure: str, values: Sequence[float]) -> None:
        """Of numbers that are all 0 or 1 the share."""
        if set(values) <= {0, 1}:
            self.share(measure, [bool(value) for value in values])
        else:
            self.mean(measure, values)

    def share(self, measure: str, flags: Sequence[bool]) -> None:
        self._add(measure, *share_interval(sum(flags), len(flags)), n=len(flags))

    def bits_per_byte(self, speaker: Any, shard: Shard, seq_len: int) -> None:
        from trivium.evals.bits_per_byte import BitsPerByte

        measured = BitsPerByte(shard, seq_len=min(seq_len, speaker.model.config.max_seq_len), rows=256)(speaker.model)
        self._add("bits_per_byte", measured.value, measured.low, measured.high, n=measured.n)

    def _add(self, measure: str, value: float, low: float | None, high: float | None, *, n: int) -> None:
        self.rows.append({"stage": self.stage, "measure": measure, "value": value, "low": low, "high": high, "n": n})
