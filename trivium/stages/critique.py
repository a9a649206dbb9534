"""critique: a model answers, finds fault with its answer by a principle, and writes it again, round after round."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import KEEPS_REST, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.progress import counted
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.flops import num_parameters
from trivium.report.intervals import mean_interval
from trivium.score.answers import AnswerRule
from trivium.score.rewards import AnyReward
from trivium.score.rewards.opened import check_rules, judges_of
from trivium.stages.base import Foresight, Work, check_data, check_model, commit_rows, data_source, known_model, result_row, sample_row
from trivium.synth.constitution import need_phrases, read_constitution
from trivium.synth.revision import revised_rows, round_rows
from trivium.synth.simulated import Simulated
from trivium.text.read import read_conversations
from trivium.text.write import plain_turns

if TYPE_CHECKING:
    from trivium.stages.pieces import Rows

NUM_SAMPLES = 6  # prompts whose chains the report shows


@component
class Critique:
    """Leaves below `@critique/revisions`: chat.jsonl, for `finetune`, rounds.jsonl, which teaches to revise, and chains.jsonl with it all.

    SL-CAI: Bai et al. 2022, arXiv:2212.08073, section 3.1. In each round a principle of the constitution is drawn by lot, and the
    revision takes the answer's place; one that is empty or cut off does not. constitution: harmless, manners, or a TOML file. reviser: the
    model that criticises and revises, if it is not the one that answers; simulated: a simulated reader does it, by the principles'
    phrases. form: turns of a chat, or one transcript, for base models. learn: the final revision of each prompt, or the revisions of all
    rounds. helpful: conversations that are added to chat.jsonl. rewards, truth: rules whose scores of each round are reported. rows:
    prompts that are worked on together. Killed, it goes on where it was.
    """

    kind: Literal["critique"] = "critique"
    model: str
    prompts: str
    constitution: str = "harmless"
    rounds: int = Field(default=4, gt=0, le=64)
    reviser: str = ""
    simulated: Simulated | None = None
    form: Literal["chat", "transcript"] = "chat"
    learn: Literal["final", "all"] = "final"
    helpful: str = ""
    rewards: tuple[AnyReward, ...] = ()
    truth: AnswerRule | None = None
    sampling: Annotated[Sampling, KEEPS_REST] = Sampling(max_new_tokens=128)
    rows: int = Field(default=128, gt=0)

    def check(self) -> None:
        constitution = read_constitution(self.constitution)
        if self.simulated is not None:
            need_phrases(constitution, self.constitution)
            if self.reviser:
                raise ConfigError("a simulated reader criticises and revises, so the reviser would do nothing; leave one of them out")
        check_rules(self.rewards)
        for model in (self.model, self.reviser or "@", *judges_of(self.rewards)):
            check_model(model)
        check_data(self.prompts, "prompts", field="asked" if self.truth else "")
        check_data(self.helpful or "@", "conversations")

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        count = known.prompts_in(self.prompts)
        spoken = 1 if self.simulated else 1 + 2 * self.rounds
        return Work(tokens_generated=count * spoken * self.sampling.max_new_tokens, parameters_sampled=num_parameters(config))

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.revising import revise

        table = revise(self, run)
        tally = self._write(run, table)
        self._report(run, table)
        run.log(
            f"{counted(tally['prompts'], 'prompt')}, {counted(tally['revised'], 'revision')} of {tally['prompts'] * self.rounds:,} took the"
            f" answer's place; {counted(tally['conversations'], 'conversation')} to learn from, {tally['helpful']:,} of them helpful data"
        )
        return tally

    def _write(self, run: Run, table: "Rows") -> dict[str, int]:
        tally = {"prompts": 0, "revised": 0, "conversations": 0, "helpful": 0}
        constitution = read_constitution(self.constitution)

        def chats() -> Iterator[Mapping[str, Any]]:
            for row in table():
                tally["prompts"] += 1
                tally["revised"] += sum(each["is_taken"] for each in row["rounds"])
                found = revised_rows(row, self.learn)
                tally["conversations"] += len(found)
                yield from found
            for conversation in read_conversations(data_source(run, self.helpful)) if self.helpful else ():
                tally["conversations"] += 1
                tally["helpful"] += 1
                yield {"messages": plain_turns(conversation.messages), "weight": conversation.weight}

        files = {"chains.jsonl": table(), "chat.jsonl": chats()}
        files |= {"rounds.jsonl": (taught for row in table() for taught in round_rows(row, constitution))}
        commit_rows(run.folder / "revisions", files, kind="revisions", meta={"constitution": self.constitution})
        if not tally["conversations"]:
            raise DataError(
                f"none of {tally['prompts'] * self.rounds:,} revisions ended by itself, so there is nothing to learn from; raise"
                f" sampling.max_new_tokens, or look at {run.folder / 'revisions' / 'chains.jsonl'}"
            )
        return tally

    def _report(self, run: Run, table: "Rows") -> None:
        """What the rules say of the answers and of each round, with 95 % intervals over prompts, and the first chains as samples."""
        scores: list[dict[str, list[float]]] = [{} for _ in range(self.rounds + 1)]
        samples = []
        for number, row in enumerate(table()):
            for round_scores, found in zip(scores, row["scores"], strict=True):
                for name, value in found.items():
                    round_scores.setdefault(name, []).append(value)
            if number < NUM_SAMPLES:
                texts = [row["response"], *(each["answer"] for each in row["rounds"])]
                samples += [sample_row(f"{run.stage}_{place}", row["prompt"][-1]["content"], text) for place, text in enumerate(texts)]
        results = [
            result_row(f"{run.stage}_{place}", name, mean_interval(values), len(values))
            for place, found in enumerate(scores)
            for name, values in found.items()
        ]
        run.leave("results.json", results)
        run.leave("samples.json", samples)
        for name in scores[0]:
            run.log(f"{name}, round by round: {', '.join(f'{mean_interval(found[name])[0]:.3f}' for found in scores)}")
