"""sample: a model answers prompts many times, the answers are scored, and those that are kept become what the next stage learns from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.progress import counted
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.flops import flops_per_token, num_parameters
from trivium.score.answers import AnswerRule
from trivium.score.keep import Against, All, AnyKeep, Best, Hindsight, Pairs, Steps
from trivium.score.rewards import AnyReward
from trivium.score.rewards.opened import check_rules, judges_of
from trivium.stages.base import Foresight, Work, check_data, check_model, data_source, known_model, resolve
from trivium.stages.selection import SCORED, Tally, figures, joined, read_numbers, scored_table, write_answers
from trivium.text.read import read_conversations, read_prompt_records

if TYPE_CHECKING:
    from trivium.stages.computing.answering import Prompt


@component
class Sample:
    """Leaves below `@sample/answers`: kept.jsonl, for `finetune` or for `reward` and `prefer`, and scored.jsonl with all answers.

    Best-of-n, RAFT, ReST, expert iteration, SPIN and others are this stage and one that trains, in rounds (docs/sampling.md). keep: what
    becomes of the answers: best, threshold, top (demonstrations), pairs, all, against (preferences), hindsight, steps (solutions whose
    steps are labelled by rollouts from them, for `reward objective=process`: docs/reward-models.md). reward_model,
    disagreement_coef, rewards: see reinforce; an answer that is cut off gets missing_end_penalty instead, and is never a demonstration.
    scored: scored.jsonl of earlier rounds, whose answers to the same prompts are chosen from too, or, without a model, instead. truth: see
    reinforce. rows: answers that are decoded together. Killed, it goes on where it was.
    """

    kind: Literal["sample"] = "sample"
    model: str = ""
    prompts: str = ""
    scored: Texts = ()
    answers: int = Field(default=8, gt=0, le=1024)
    keep: AnyKeep = Best()
    reward_model: Texts = ()
    disagreement_coef: float = Field(default=0.0, ge=0)
    rewards: tuple[AnyReward, ...] = ()
    missing_end_penalty: float = -1.0
    sampling: Sampling = Sampling()
    truth: AnswerRule | None = None
    rows: int = Field(default=128, gt=0)

    def check(self) -> None:
        if bool(self.model) != bool(self.prompts) or not (self.model or self.scored):
            raise ConfigError("give model and prompts to sample from, or scored=FILE with answers to choose from again, or all three")
        if not self.model and isinstance(self.keep, Against):
            raise ConfigError("keep against needs the demonstrations of the prompts; give model and prompts")
        if not self.model and (self.reward_model or self.rewards):
            raise ConfigError("the answers of scored have their scores; leave reward_model and rewards out, or give model and prompts")
        check_rules(self.rewards)
        if self.model:
            self._check_sampling()
        for table in self.scored:
            if not table.startswith("@"):
                next(iter(scored_table(Path(table))()), None)

    def _check_sampling(self) -> None:
        if not isinstance(self.keep, Against) and not self.reward_model and not self.rewards:
            raise ConfigError(f"keep {self.keep.kind} chooses by scores; name a reward_model, or rules as rewards=[{{ kind = 'numeric' }}]")
        if isinstance(self.keep, Pairs | All) and self.answers < 2:
            raise ConfigError(f"'answers' is {self.answers}, but keep {self.keep.kind} compares answers to one prompt; set it to 2 or more")
        if self.sampling.temperature == 0 and self.answers > 1:
            raise ConfigError("sampling.temperature is 0: greedy answers to one prompt are all the same; set it to 1, or answers to 1")
        if self.sampling.temperature == 0 and isinstance(self.keep, Steps):
            raise ConfigError("sampling.temperature is 0: all rollouts from a step would be the same; set it to 1")
        for model in (self.model, *self.reward_model, *judges_of(self.rewards)):
            check_model(model)
        check_data(self.prompts, "conversations" if isinstance(self.keep, Against) else "prompts", field="asked" if self.truth else "")

    def foresee(self, name: str, known: Foresight) -> Work:
        if not self.model:
            return Work(seconds=1.0)
        config = known_model(known, self.model)
        count = known.prompts_in(self.prompts)
        tokens = count * self.answers * self.sampling.max_new_tokens  # at most
        reading = len(self.reward_model) * tokens / 3 * flops_per_token(config, self.sampling.max_new_tokens)  # forward only
        notes = (f"{self.keep.rollouts} rollouts from each step come on top",) if isinstance(self.keep, Steps) else ()
        return Work(tokens_generated=tokens, parameters_sampled=num_parameters(config), flops=reading, notes=notes)

    def run(self, run: Run) -> Mapping[str, Any]:
        tables = [scored_table(resolve(run, table)) for table in self.scored]
        if self.model:
            from trivium.stages.computing.answering import answer

            asks = self.keep.asks if isinstance(self.keep, Hindsight) else lambda prompt: prompt
            tables.insert(0, answer(self, run, lambda: self._prompts(run), asks))
        table = joined(tables)
        answered = read_numbers(table, run.seed, self.answers if self.model else 0)
        if not isinstance(self.keep, Against) and not answered.has_scores:
            raise DataError(f"{', '.join(self.scored)}: has answers without scores, which keep {self.keep.kind} chooses by")
        tally = write_answers(run.folder / "answers", table, self.keep, answered)
        found = figures(answered, tally, self.keep, run.seed)
        run.leave("selection.json", found)
        self._say(run, found)
        if not tally.records:
            [(reason, count), *_] = tally.reasons.most_common()
            raise DataError(
                f"keep {self.keep.kind} keeps none of {found['answers']:,} answers ({counted(count, 'prompt')}: {reason}); scored="
                f"{run.folder / 'answers' / SCORED} chooses from them again, with another run folder as --out"
            )
        return _facts(found, answered.tokens, tally)

    def _prompts(self, run: Run) -> "Iterator[Prompt]":
        from trivium.stages.computing.answering import Prompt

        source = data_source(run, self.prompts)
        if not isinstance(self.keep, Against):
            yield from (Prompt(messages, fields) for messages, fields in read_prompt_records(source))
            return
        for conversation in read_conversations(source):
            roles = [message.role for message in conversation.messages]
            last = len(roles) - 1 - roles[::-1].index("assistant")
            demonstration = conversation.messages[last].content
            if last and demonstration and conversation.answer_weight:  # of weight 0 is an answer that was judged bad
                yield Prompt(conversation.messages[:last], conversation.meta, demonstration)

    def _say(self, run: Run, found: Mapping[str, Any]) -> None:
        run.log(
            f"{found['prompts']:,} prompts, {found['answers']:,} answers, {found['cut_off']:,} cut off; "
            f"{self.keep.kind} keeps {counted(found['records'], 'record')} of {counted(found['prompts_kept'], 'prompt')}"
        )
        for reason, count in found["reasons"].items():
            run.log(f"{counted(count, 'prompt')} left out: {reason}")
        if "curve" in found:
            one, most = found["curve"][0], found["curve"][-1]
            run.log(
                f"mean score {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]; best of {most['k']} "
                f"{most['value']:.3f} [{most['low']:.3f}, {most['high']:.3f}], at most {most['kl']:.2f} nats from the model"
            )


def _facts(found: Mapping[str, Any], tokens: int, tally: Tally) -> dict[str, Any]:
    """What the stage leaves for the report and for those who come after."""
    facts = {name: found[name] for name in ("prompts", "answers", "records")} | {"tokens": tokens}
    if "curve" in found:
        one, most = found["curve"][0], found["curve"][-1]
        facts |= {"score": one["value"], "best_score": most["value"], "kl_of_best_at_most": most["kl"]}
        facts["kept_score"] = sum(tally.scores) / len(tally.scores)
    return facts
