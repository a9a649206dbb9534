"""evaluate: models on the same tasks, held-out prompts and text, with intervals, compared item by item, and samples side by side."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.commit import commit_file
from trivium.core.config import FIRST_IS_USUAL, Texts, component
from trivium.core.errors import ArtefactError, ConfigError
from trivium.core.run import Run
from trivium.evals.task import FOREIGN, NamedTask, foreign_name, is_here
from trivium.generate.sampling import Sampling
from trivium.nn.flops import flops_per_token, num_parameters
from trivium.report.intervals import mean_interval, ratio_bootstrap, share_interval
from trivium.report.tasks import told
from trivium.score.answers import AnswerRule
from trivium.score.ranking.win_rate import controlled_interval
from trivium.score.rewards import AnyReward, LLMJudge, Said, checked
from trivium.score.rewards.llm_judge import OpenJudge, is_same
from trivium.score.rewards.opened import check_rules, judges_of, names_of
from trivium.stages.base import Foresight, Work, check_data, check_model, data_source, known_model, resolve, result_row, sample_row
from trivium.stages.use.person import Human, Person
from trivium.text.read import read_field, read_fields, read_prompt_records, read_prompts
from trivium.text.records.matches import weighed
from trivium.text.shards import Shard
from trivium.text.write import plain_turns

JUDGEMENTS = "judgements.jsonl"
SCORES = "scores.json"  # model -> the true score of its answer to each prompt
JUDGED = "judged.json"  # model -> rule -> its score of the answer to each prompt
ITEM_TOKENS = 150  # of an item of a task, about
NUM_SAMPLES = 12  # prompts whose answers the report shows side by side


@component
class Evaluate:
    """Leaves `results.json` (a row a model and measure, with 95 % intervals) below `@evaluate`; for prompts `samples.json`, for tasks
    `tasks.json` and `items/MODEL/TASK.jsonl`.

    model: a model directory; compare: others, each compared with it item by item; or models: name -> directory, in the order of the report.
    tasks: names of shipped tasks, NAME:DATA with data of your own, TOML files, lm_eval:NAME (docs/evaluation.md). limit: the first items
    of each only. corpus: documents in which the items are looked for. judge: who grades dialogues (mt_bench, instructgpt), and says which
    answers to prompts are better: a model behind an endpoint, or `human`, the person at the terminal; with judge.levels=5 as Arena-Hard
    has it, its verdicts left in judgements.jsonl, which `rank` reads. baseline: the field of the prompts' records that holds what all
    models are compared with, instead of the first one's answers.
    prompts: answers to these are measured. tokens: token shards, for bits per byte on their held-out
    part, or several by name (tokens.law=FOLDER tokens.news=FOLDER). rule: the true score, where it is known, left for every prompt in
    scores.json; rewards: what rules say of the answers (see reinforce), left in
    judged.json, for example whether they are right. By each of rule,
    reward_model and judge every other model has a win rate over the first one, a tie counted as half (the judge's also without the effect
    of length). reference: the model that KL is measured from (nats an answer, on the model's own answers). Killed, it goes on with the
    tasks' next piece.
    """

    kind: Literal["evaluate"] = "evaluate"
    model: str = ""
    compare: Texts = ()
    models: dict[str, str] | None = None
    tasks: Texts = ()
    limit: int | None = Field(default=None, gt=0)
    corpus: Texts = ()
    judge: Annotated[LLMJudge | Human | None, Field(discriminator="kind"), FIRST_IS_USUAL] = None
    baseline: str = ""
    prompts: str = ""
    tokens: str | dict[str, str] | None = None
    reward_model: str | None = None
    reference: str | None = None
    rule: AnswerRule | None = None
    rewards: tuple[AnyReward, ...] = ()
    sampling: Sampling = Sampling(max_new_tokens=40)
    seq_len: int = Field(default=128, ge=8)
    rows: int = Field(default=64, gt=0)

    @property
    def texts(self) -> dict[str, str]:
        """The token shards by name; one alone is called ""."""
        return {"": self.tokens} if isinstance(self.tokens, str) else self.tokens or {}

    def check(self) -> None:
        named = self.named_models()
        if not self.tasks and not self.prompts:
            raise ConfigError("give tasks, for example tasks=[boolq], or prompts=FILE, or both; docs/evaluation.md lists the tasks")
        if not self.tasks and (self.corpus or self.limit is not None):
            raise ConfigError("corpus and limit are about tasks; give tasks, for example tasks=[boolq], or leave them out")
        if not self.prompts and (self.rule or self.rewards or self.tokens or self.reference or self.reward_model):
            raise ConfigError(
                "rule, rewards, tokens, reference and reward_model are about answers to prompts; give prompts=FILE, or leave them out"
            )
        if self.baseline and not (self.prompts and self.judge):
            raise ConfigError(
                "baseline is what a judge compares answers to prompts with; give prompts=FILE and judge.url, judge.model, or judge=human"
            )
        check_rules((*self.rewards, *([self.judge] if isinstance(self.judge, LLMJudge) else [])))
        for reference in (*named.values(), self.reward_model, self.reference, *judges_of(self.rewards)):
            check_model(reference or "@")
        check_data(self.prompts or "@", "prompts", field=self.baseline or ("asked" if self.rule else ""))
        self._check_tasks()
        for source in self.corpus:
            check_data(source, "documents")

    def _check_tasks(self) -> None:
        names: list[str] = []
        for reference in self.tasks:
            if reference.startswith(FOREIGN):
                if find_spec("lm_eval") is None:
                    raise ConfigError(f"{reference}: needs the package lm-eval; install it with: pip install 'trivium[eval]'")
                names.append(foreign_name(reference))
                continue
            named = NamedTask.read(reference)
            named.check()
            if named.needs_judge and self.judge is None:
                how = "name one: judge.url=http://localhost:8000/v1 judge.model=NAME, or judge=human, who is asked here"
                raise ConfigError(f"{reference}: a judge grades its answers; {how}")
            names.append(named.name)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ConfigError(f"tasks: '{twice}' is there twice; give one of them another file name")

    def named_models(self) -> dict[str, str]:
        """Name -> directory; of `model` and `compare` the name is the last word of the path that tells them apart."""
        if bool(self.model) == bool(self.models) or (self.compare and not self.model):
            raise ConfigError("give model=DIRECTORY, and compare=OTHER if you like, or models={name = DIRECTORY, ...}")
        if self.models:
            if odd := next((name for name in self.models if not re.fullmatch(r"[\w.-]+", name)), None):
                raise ConfigError(f"models: '{odd}' names a folder: letters, digits, '.', '-' and '_'")
            return self.models
        paths = (self.model, *self.compare)
        if len(set(paths)) < len(paths):
            raise ConfigError(f"compare: {self.compare[-1]} is there twice; a model differs from itself in nothing")
        return dict(zip(names_of_paths(paths), paths, strict=True))

    def foresee(self, name: str, known: Foresight) -> Work:
        models = self.named_models()
        config = known_model(known, next(iter(models.values())))
        asked = known.num_prompts.get(self.prompts, known.num_heldout) if self.prompts else 0
        generated = len(models) * asked * self.sampling.max_new_tokens
        items = sum(self._num_items(reference) for reference in self.tasks)
        flops = len(models) * items * ITEM_TOKENS * flops_per_token(config, ITEM_TOKENS) / 3  # forward only
        notes = (f"{items:,} items, taken for {ITEM_TOKENS} tokens each",) if self.tasks else ()
        parameters = num_parameters(config)
        return Work(tokens_generated=generated, parameters_sampled=parameters, flops=flops, seconds=3.0 * len(models), notes=notes)

    def _num_items(self, reference: str) -> int:
        """About how many: what is not here yet is taken for a thousand."""
        here = not reference.startswith(FOREIGN) and is_here((named := NamedTask.read(reference)).task.data)
        count = sum(1 for _ in read_fields(named.task.data)) if here else 1000
        return count if self.limit is None else min(count, self.limit)

    def run(self, run: Run) -> Mapping[str, Any]:
        table: list[dict[str, Any]] = []
        samples: list[dict[str, Any]] = []
        models = self.named_models()
        judge = self._judge(run)
        if self.tasks:
            from trivium.stages.computing.tasks import Tasks

            table += Tasks(run, judge, self.limit, self.rows)(models, self.tasks, self.corpus)
            for line in told(table, json.loads((run.folder / "tasks.json").read_text())):
                run.log(line)
        tables = [self._baseline(run)] if self.baseline else []
        scores: dict[str, list[float | None]] = {}
        judged: dict[str, dict[str, list[float]]] = {}
        for name, path in models.items() if self.prompts else ():
            found, shown, scores[name] = self._one(run, name, path)
            judged[name] = found.judged
            tables.append(found)
            samples += shown
        judgements = [row for found in tables[1:] for row in found.win_rates(tables[0], judge)]
        # only now that nobody judges any more: a person would know whose answers are long
        for found in tables[1:] if self.baseline else tables:
            table += found.rows
            run.log(f"{found.stage:<10} " + "  ".join(f"{row['measure']} {row['value']:.3f}" for row in found.rows))
        run.leave("results.json", table)
        if self.prompts:
            run.leave("samples.json", samples)
        if self.rule is not None:
            commit_file(run.folder / SCORES, json.dumps(scores))
        if self.rewards:
            commit_file(run.folder / JUDGED, json.dumps(judged))
        if judgements:
            commit_file(run.folder / JUDGEMENTS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in judgements))
        return {"models": len(models)}

    def _judge(self, run: Run) -> OpenJudge | Person | None:
        if isinstance(self.judge, Human):
            return self.judge.open(run.path, run.seed)
        return self.judge.open(run.seed, run.log_once) if self.judge else None

    def _baseline(self, run: Run) -> "_Table":
        """The answers that stand in the records."""
        source, table = data_source(run, self.prompts), _Table(self.baseline)
        table.said = [
            Said(prompt, text, True, {}) for prompt, text in zip(read_prompts(source), read_field(source, self.baseline), strict=True)
        ]
        return table

    def _one(self, run: Run, name: str, path: str) -> "tuple[_Table, list[dict[str, Any]], list[float | None]]":
        """Measures, samples and true scores of one model."""
        from trivium.stages.computing.choosing import rules_of
        from trivium.stages.computing.models import Speaker, check_room, engine_of, say_what_is_slower

        prompts = data_source(run, self.prompts)
        speaker = Speaker.of(run, path)
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
        table.said = [Said(prompt, text, end, {}) for prompt, text, end in zip(messages, texts, stopped, strict=True)]
        for text, folder in self.texts.items():
            shard = Shard.open(resolve(run, folder) / "heldout", speaker.tokenizer.fingerprint)
            table.bits_per_byte(speaker, shard, self.seq_len, text)
        table.share("stop_rate", stopped)
        table.mean("response_words", [len(text.split()) for text in texts])
        scores: list[float | None] = [None] * len(texts)
        if self.rule is not None:
            scores = [self.rule(word, text, end) for word, text, end in zip(asked, texts, stopped, strict=True)]
            table.mean("true_score", scores)
            table.numbers["true_score"] = scores
            parts = [self.rule.parts(word, text, end) for word, text, end in zip(asked, texts, stopped, strict=True)]
            for part in parts[0]:
                table.share_or_mean(f"true_{part}", [each[part] for each in parts])
        if self.rewards:
            records = list(read_prompt_records(prompts))
            said = [Said(prompt, text, end, fields) for (prompt, fields), text, end in zip(records, texts, stopped, strict=True)]
            rules = rules_of(run, self.rewards, [fields for _, fields in records])
            for rule, named in zip(rules, names_of(rules), strict=True):
                table.judged[named] = checked(rule, said)
                table.share_or_mean(f"{named}_score", table.judged[named])
        self._from_models(run, table, speaker, answers)
        shown = [sample_row(name, messages[i][-1].content, texts[i], scores[i], stopped[i]) for i in range(min(NUM_SAMPLES, len(texts)))]
        return table, shown, scores

    def _from_models(self, run: Run, table: "_Table", speaker: Any, answers: Sequence[Any]) -> None:
        """What other models say: the reward model's score, the distance from the reference; and the policy's own entropy."""
        from trivium.stages.computing.models import Speaker, same_tokenizer
        from trivium.train.annotate import column_of, entropies, logprobs

        layout = {"rows": 16, "length": self.seq_len}
        if speaker.chats:
            run.log_once(f"no entropy of {speaker.base.parent.name}: its models read the prompts in different words")
        else:
            entropy = column_of(speaker.model, answers, entropies, with_entropy=True, **layout)
            table.mean("entropy", [float(column[answer.loss_mask > 0].mean()) for column, answer in zip(entropy, answers, strict=True)])
        if self.reference is not None:
            reference = Speaker.of(run, self.reference)
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
            judge = Speaker.judge_of(run, self.reward_model)
            same_tokenizer(speaker, judge)
            table.numbers["reward"] = judge.scores(answers, **layout).tolist()
            table.mean("reward", table.numbers["reward"])


def true_scores(folder: Path) -> dict[str, list[float]]:
    """Model -> true score of its answer to each prompt, as a stage with a rule left them. Raises ArtefactError."""
    return _left(folder / SCORES)


def judged_scores(folder: Path, rule: str) -> dict[str, list[float]]:
    """Model -> what a rule of `rewards` said of its answer to each prompt; {} if none of that name did. Raises ArtefactError."""
    return {model: rules[rule] for model, rules in _left(folder / JUDGED).items() if rule in rules}


def _left(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ArtefactError(f"{file}: is missing or damaged; delete {file.parent} and run the recipe again") from None


def _won(mine: float | None, other: float | None) -> float:
    """1 if the first is larger, 0 if the second is; 1/2 if they are equal, or one is not known."""
    return 0.5 if mine is None or other is None or mine == other else float(mine > other)


def names_of_paths(paths: Sequence[str]) -> list[str]:
    """A short name for each, all different: its last parts, `model` left out, joined by `-`.

    >>> names_of_paths(["runs/a/finetune/model", "runs/b/finetune/model", "smollm2"])
    ['a-finetune', 'b-finetune', 'smollm2']
    """
    parts = [[part for part in Path(path.removeprefix("@")).parts if part not in ("model", "/", "..", ".")] or ["model"] for path in paths]
    for size in range(1, max(map(len, parts)) + 1):
        names = [re.sub(r"[^\w.-]", "_", "-".join(each[-size:])) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"model{number}" for number in range(1, len(paths) + 1)]


class _Table:
    """Rows of the held-out table of one model. numbers: what its answers are compared by, one for each; judged: what
    each rule says of them; said: the answers."""

    def __init__(self, stage: str) -> None:
        self.stage, self.rows = stage, []
        self.numbers: dict[str, list[Any]] = {}
        self.judged: dict[str, list[float]] = {}
        self.said: list[Said] = []

    def win_rates(self, first: "_Table", judge: OpenJudge | Person | None) -> list[dict[str, Any]]:
        """How often this model's answer to a prompt is better than the first model's, by each number and by the judge in both orders.

        Returns the verdicts of a judge of five levels as Arena-Hard has them.
        """
        won = {name: [_won(a, b) for a, b in zip(self.numbers[name], other, strict=True)] for name, other in first.numbers.items()}
        judgements: list[dict[str, Any]] = []
        if judge is not None:
            pairs = list(zip(self.said, first.said, strict=True))
            if isinstance(judge, Person):
                judged = won["judge"] = judge.compare(pairs)
            else:
                games = judge.games(pairs)
                judged = judge.scores(games)
                self.share("judge_same_in_both_orders", [is_same(game) for game in games])
                if judge.options.levels == 5:
                    sums, counts = zip(*(weighed(*game) for game in games), strict=True)
                    self._add("judge_win_rate", *ratio_bootstrap(sums, counts, judge.seed), n=len(games))
                    judgements = [
                        self._judgement(first.stage, judge.options.model, said, game) for said, game in zip(self.said, games, strict=True)
                    ]
                else:
                    won["judge"] = judged
            longer_N = np.array([len(a.response) - len(b.response) for a, b in zip(self.said, first.said, strict=True)], np.float64)
            controlled = controlled_interval(np.array(judged), longer_N, judge.seed)
            self._add("judge_win_rate_length_controlled", *controlled, n=len(self.said))
        for name, each in won.items():
            self._add(f"{name}_win_rate", *share_interval(sum(each), len(each)), n=len(each))
        return judgements

    def _judgement(self, baseline: str, judge: str, said: Said, game: tuple[str, str]) -> dict[str, Any]:
        """A row that `rank` reads: in the first game the baseline's answer is A."""
        games = [{"score": score} for score in reversed(game)]
        return {"prompt": plain_turns(said.prompt), "model": self.stage, "baseline": baseline, "judge": judge, "games": games}

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

    def bits_per_byte(self, speaker: Any, shard: Shard, seq_len: int, text: str = "") -> None:
        from trivium.evals.bits_per_byte import BitsPerByte

        measured = BitsPerByte(shard, seq_len=min(seq_len, speaker.model.config.max_seq_len), rows=256)(speaker.model)
        self._add(f"bits_per_byte_{text}" if text else "bits_per_byte", measured.value, measured.low, measured.high, n=measured.n)

    def _add(self, measure: str, value: float, low: float | None, high: float | None, *, n: int) -> None:
        self.rows.append(result_row(self.stage, measure, (value, low, high), n))
