"""annotate: a model answers each prompt several times, and simulated annotators put the answers in order."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.core.seeds import generator
from trivium.generate.sampling import Sampling
from trivium.nn.flops import num_parameters
from trivium.score.answers import Annotators, pair_counts
from trivium.stages.base import Foresight, Work, check_data, check_model, commit_rows, data_source, known_model
from trivium.text.read import read_field, read_prompts
from trivium.text.write import plain_turns


@component
class Annotate:
    """Leaves below `@annotate/rankings`: train.jsonl and heldout.jsonl, each row a prompt, its answers and their ranking.

    Between min_answers and max_answers answers a prompt (4 to 9: Ouyang et al. 2022, section 3.5). truth.jsonl holds the true scores of the
    held-out answers: it is for evaluation, no training stage reads it. prompts need a field `asked`, which the rule looks for.
    """

    kind: Literal["annotate"] = "annotate"
    model: str
    prompts: str
    annotators: Annotators = Annotators()
    min_answers: int = Field(default=4, ge=2)
    max_answers: int = Field(default=9, ge=2)
    sampling: Sampling = Sampling(max_new_tokens=40)
    heldout_share: float = Field(default=0.15, gt=0, lt=1)
    rows: int = Field(default=128, gt=0)

    def __post_init__(self) -> None:
        if self.max_answers < self.min_answers:
            raise ValueError(f"max_answers ({self.max_answers}) is below min_answers ({self.min_answers})")

    def check(self) -> None:
        if self.sampling.temperature == 0:
            raise ConfigError(
                "sampling.temperature is 0: greedy answers to one prompt are all the same, so there is nothing to rank; 1 is usual"
            )
        check_model(self.model)
        check_data(self.prompts, "prompts", field="asked")

    def foresee(self, name: str, known: Foresight) -> Work:
        parameters = num_parameters(known_model(known, self.model))
        known.answers_ranked = (self.min_answers + self.max_answers) / 2
        answers = int(known.num_comparisons * known.answers_ranked)
        return Work(tokens_generated=answers * known.sequence_tokens // 2, parameters_sampled=parameters)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.models import Speaker, engine_of

        speaker = Speaker.of(run, self.model)
        prompts = data_source(run, self.prompts)
        asked = read_field(prompts, "asked")
        messages = list(read_prompts(prompts))
        count = generator(run.seed, "answers a prompt").integers(self.min_answers, self.max_answers + 1, len(messages))
        owner = [i for i, number in enumerate(count) for _ in range(number)]
        engine = engine_of(run, speaker, rows=self.rows)
        with run.progress(len(owner)) as progress:
            prompt_ids = [speaker.prompt(messages[i]) for i in owner]
            answers = engine.generate(prompt_ids, self.sampling, seed=run.seed, purpose="annotate", on_done=progress.update)
        table: list[dict[str, Any]] = []
        right = total = start = 0
        for i, number in enumerate(count.tolist()):
            mine, start = answers[start : start + number], start + number
            texts = [speaker.text_of(answer) for answer in mine]
            stopped = [bool(answer.meta["stopped"]) for answer in mine]
            scores = [self.annotators.rule(asked[i], text, end) for text, end in zip(texts, stopped, strict=True)]
            places = self.annotators.rank(scores, generator(run.seed, "annotators", i))
            agreed, pairs = pair_counts(scores, places)
            right, total = right + agreed, total + pairs
            order = sorted(range(number), key=lambda k, places=places: places[k])
            table.append({
                "prompt": plain_turns(messages[i]), "responses": texts, "ranking": [[k] for k in order], "stopped": stopped,
                "scores": scores, "asked": asked[i],
            })  # fmt: skip
        self._write(run, table)
        error = 1 - right / max(total, 1)
        run.log(
            f"{len(table):,} prompts, {len(answers):,} answers, {total:,} pairs that differ in true score; "
            f"annotators put {error:.1%} of them the wrong way round"
        )
        tokens = sum(len(answer.response) for answer in answers)
        return {"prompts": len(table), "answers": len(answers), "pairs": total, "pair_error": error, "tokens": tokens}

    def _write(self, run: Run, table: list[dict[str, Any]]) -> None:
        num_heldout = max(1, round(len(table) * self.heldout_share))
        seen = [{name: value for name, value in row.items() if name != "scores"} for row in table]
        truth = ({"scores": row["scores"], "asked": row["asked"]} for row in table[:num_heldout])
        files = {"heldout.jsonl": seen[:num_heldout], "train.jsonl": seen[num_heldout:], "truth.jsonl": truth}
        commit_rows(run.folder / "rankings", files, kind="rankings", meta={"simulated": True})
