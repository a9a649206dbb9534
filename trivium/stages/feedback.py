"""feedback: a model answers each prompt twice, and a judge says by a constitution which answer is better, as a probability."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import KEEPS_REST, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.progress import counted
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.flops import flops_per_token, num_parameters
from trivium.report.intervals import mean_interval, share_interval
from trivium.score.rewards import AnyReward
from trivium.score.rewards.opened import check_rules, judges_of
from trivium.stages.base import Foresight, Work, check_data, check_model, commit_rows, data_source, known_model, result_row
from trivium.synth.constitution import need_phrases, read_constitution
from trivium.synth.feedback import pairs_of_people
from trivium.synth.judge import AnyJudge, ByModel, check_judge
from trivium.synth.simulated import Simulated
from trivium.text.read import read_preferences

if TYPE_CHECKING:
    from trivium.stages.pieces import Rows


@component
class Feedback:
    """Leaves below `@feedback/preferences`: train.jsonl and heldout.jsonl, pairs of answers with `prob`, that the first one is better.

    RL-CAI and RLAIF: Bai et al. 2022, arXiv:2212.08073, section 4; Lee et al. 2023, arXiv:2309.00267. judge: a model of ours, a simulated
    reader, or an llm_judge; it is asked by `principles` different principles of the constitution for each pair, drawn by lot, in both
    orders, and the mean is the label. lowest: labels stay between it and 1 less it; if it is left out 0, but 0.4 for a judge that reasons
    or only says which. `reward objective.has_probs=true` learns from the probabilities, `prefer` from which answer is better. helpful:
    preferences of people, added to train.jsonl as pairs with the probability 1. rewards: rules that know the truth: truth.jsonl has what
    they say of the held-out answers, and the report how often the labels agree; no training stage reads it. Killed, it goes on where it
    was.
    """

    kind: Literal["feedback"] = "feedback"
    model: str
    prompts: str
    constitution: str = "harmless"
    judge: AnyJudge
    principles: int = Field(default=1, gt=0)
    lowest: float | None = Field(default=None, ge=0, lt=0.5)
    helpful: str = ""
    rewards: tuple[AnyReward, ...] = ()
    sampling: Annotated[Sampling, KEEPS_REST] = Sampling(max_new_tokens=128)
    heldout_share: float = Field(default=0.15, gt=0, lt=1)
    rows: int = Field(default=128, gt=0)

    def check(self) -> None:
        if self.sampling.temperature == 0:
            raise ConfigError("sampling.temperature is 0: two greedy answers to a prompt are the same; set it to 1")
        constitution = read_constitution(self.constitution)
        if self.principles > len(constitution.principles):
            raise ConfigError(f"principles is {self.principles}, but constitution '{self.constitution}' has {len(constitution.principles)}")
        check_judge(self.judge)
        if isinstance(self.judge, Simulated):
            need_phrases(constitution, self.constitution)
        check_rules(self.rewards)
        for model in (self.model, *([self.judge.model] if isinstance(self.judge, ByModel) else []), *judges_of(self.rewards)):
            check_model(model)
        check_data(self.prompts, "prompts")
        check_data(self.helpful or "@", "preferences")

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        count = known.prompts_in(self.prompts)
        known.num_comparisons = count
        tokens = 2 * count * self.sampling.max_new_tokens
        flops = 0.0
        if isinstance(self.judge, ByModel):  # each question holds both answers, and is read in both orders once for each option
            read = 4 * self.principles * (tokens + 2 * count * known.sequence_tokens)
            flops = read / 3 * flops_per_token(known_model(known, self.judge.model), 4 * self.sampling.max_new_tokens)
        return Work(tokens_generated=tokens, parameters_sampled=num_parameters(config), flops=flops)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.comparing import compare

        table = compare(self, run)
        tally = self._write(run, table)
        self._report(run, table, tally)
        return tally

    def _write(self, run: Run, table: "Rows") -> dict[str, int]:
        tally = {"prompts": 0, "labelled": 0, "same": 0, "unreadable": 0, "heldout": 0, "helpful": 0}
        for row in table():
            tally["prompts"] += 1
            tally["labelled"] += row["prob"] is not None
            tally["same"] += row["responses"][0] == row["responses"][1]
        tally["unreadable"] = tally["prompts"] - tally["labelled"] - tally["same"]
        if tally["labelled"] < 2:
            raise DataError(
                f"{tally['labelled']} of {counted(tally['prompts'], 'prompt')} got a label: {tally['same']:,} have twice the same answer,"
                f" and of {tally['unreadable']:,} the judge did not choose; raise sampling.temperature, or lower judge.min_mass if it"
                " seldom says (A) or (B)"
            )
        tally["heldout"] = min(tally["labelled"] - 1, max(1, round(tally["labelled"] * self.heldout_share)))

        def labelled(start: int, end: int) -> Iterator[dict[str, Any]]:
            found = (row for row in table() if row["prob"] is not None)
            return (row for place, row in enumerate(found) if start <= place < end)

        def train() -> Iterator[dict[str, Any]]:
            yield from map(_pair, labelled(tally["heldout"], tally["labelled"]))
            for preference in read_preferences(data_source(run, self.helpful)) if self.helpful else ():
                for pair in pairs_of_people(preference):
                    tally["helpful"] += 1
                    yield pair

        files: dict[str, Iterator[dict[str, Any]]] = {"heldout.jsonl": map(_pair, labelled(0, tally["heldout"])), "train.jsonl": train()}
        if self.rewards:
            files["truth.jsonl"] = ({"scores": row["scores"]} for row in labelled(0, tally["heldout"]))
        meta = {"constitution": self.constitution, "judge": self.judge.kind}
        commit_rows(run.folder / "preferences", files, kind="preferences", meta=meta)
        return tally

    def _report(self, run: Run, table: "Rows", tally: Mapping[str, int]) -> None:
        """How sure the labels are, how often the place decides, and how often the labels are right where the truth is known."""
        labels = [(row["prob"], row["first_place"], row.get("scores", (0, 0))) for row in table() if row["prob"] is not None]
        found = {
            "label_certainty": mean_interval([abs(prob - 0.5) + 0.5 for prob, _, _ in labels]),
            "first_place_preference": mean_interval([first_place for _, first_place, _ in labels]),
        }
        counts = dict.fromkeys(found, len(labels))
        right = [(prob > 0.5) == (one > other) for prob, _, (one, other) in labels if prob != 0.5 and one != other]
        if right:
            found["label_accuracy"], counts["label_accuracy"] = share_interval(sum(right), len(right)), len(right)
        results = [result_row(run.stage, name, interval, counts[name]) for name, interval in found.items()]
        run.leave("results.json", results)
        run.log(
            f"{counted(tally['prompts'], 'prompt')}: {counted(tally['labelled'], 'label')}, {tally['same']:,} with twice the same answer,"
            f" {tally['unreadable']:,} without a choice of the judge; {counted(tally['helpful'], 'pair')} of people added"
        )
        run.log("; ".join(f"{name} {value:.3f}" for name, (value, *_) in found.items()))


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("prompt", "responses", "prob", "stopped", "principles")}
