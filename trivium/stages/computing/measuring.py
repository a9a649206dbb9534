"""What filters of conversations want to know of all of them, measured by models, piece by piece on disk.

Each filter has its own folder below the stage's checkpoints; a stage that was killed measures from the first piece that is not there.
Models are loaded only if a piece is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial

import numpy as np

from trivium.core.commit import commit
from trivium.core.errors import DataError
from trivium.core.run import CHECKPOINTS, Run
from trivium.core.types import Conversation, Example, Message
from trivium.generate.sampling import Sampling
from trivium.score.rewards.llm_judge import NUM_CONNECTIONS, OpenJudge, nonce_of, question, verdict
from trivium.score.said import Said
from trivium.stages.computing.answering import READ_ROWS
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.pieces import OnDone, Pieces, each_piece
from trivium.synth.embedding import mean_hidden
from trivium.synth.filters import ChatFilter, Judged, Longest, Measured, NearDuplicates, Reward
from trivium.synth.filters.rule import last_answer, said_by
from trivium.synth.neighbours import nearest_earlier

Chats = Callable[[], Iterator[Conversation]]
PIECE = 256  # conversations
MAX_QUERY_TOKENS = 512  # that are embedded
VERDICT_TOKENS = 256  # that a judge here may write
_VECTORS = "vectors.npy"

Turns = tuple[Message, ...]
Answer = tuple[str, bool]  # what was said, and whether it ended by itself
Measure = Callable[[Sequence[Conversation], int], dict[str, list[float]]]  # (conversations, number of the first) -> numbers by name


def measure(run: Run, place: int, rule: ChatFilter, chats: Chats, count: int) -> Measured:
    """What the filter at this place decides by, of `count` conversations."""
    if isinstance(rule, Longest):
        return {"words": np.array([len(chat.messages[last_answer(chat)].content.split()) for chat in chats()])}
    pieces = Pieces(run.folder / CHECKPOINTS / f"{place:02}-{rule.kind}", f"measured by {rule.kind}")
    if isinstance(rule, NearDuplicates):
        return _distances(run, pieces, _Embedder(run, rule), chats, count)
    if isinstance(rule, Reward):
        return _numbers(run, pieces, _Scorer(run, rule), chats, count)
    if isinstance(rule, Judged):
        return _numbers(run, pieces, _Grader(run, rule), chats, count)
    raise TypeError(f"{rule.kind} measures nothing")


def _numbers(run: Run, pieces: Pieces, measured_by: Measure, chats: Chats, count: int) -> Measured:
    def write(number: int, part: Sequence[Conversation], _: OnDone) -> None:
        columns = measured_by(part, number * PIECE)
        pieces.write(number, (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)))

    made = each_piece(run, pieces, chats(), write, total=count, size=PIECE, label=pieces.folder.name)
    rows = [row for number in range(made) for row in pieces.rows(number)]
    return {name: np.array([np.nan if row[name] is None else row[name] for row in rows], float) for name in rows[0]} if rows else {}


def _distances(run: Run, pieces: Pieces, embedder: "_Embedder", chats: Chats, count: int) -> Measured:
    def write(number: int, part: Sequence[Conversation], _: OnDone) -> None:
        vectors = embedder(part)
        commit(pieces.place(number), lambda folder: np.save(folder / _VECTORS, vectors), kind=pieces.kind)

    made = each_piece(run, pieces, chats(), write, total=count, size=PIECE, label=pieces.folder.name)
    distance, nearest = nearest_earlier([np.load(pieces.place(number) / _VECTORS, mmap_mode="r") for number in range(made)])
    return {"distance": distance, "nearest": nearest}


class _Embedder:
    def __init__(self, run: Run, rule: NearDuplicates) -> None:
        self.run, self.rule = run, rule

    @cached_property
    def speaker(self) -> Speaker:
        return Speaker.of(self.run, self.rule.model)

    def __call__(self, chats: Sequence[Conversation]) -> np.ndarray:
        """The first query of each, read where the model reads what a user says."""
        before = self.speaker.prequery()
        most = min(MAX_QUERY_TOKENS, self.speaker.model.config.max_seq_len - len(before))
        queries = self.speaker.tokenizer.encode_batch([next(iter(said_by(chat, "user")), "") or " " for chat in chats])
        items = []
        for query in queries:
            tokens = np.concatenate([before, query[:most]])
            items.append(Example(tokens, (np.arange(len(tokens)) >= len(before)).astype(np.float32)))
        return mean_hidden(self.speaker.model, items, rows=READ_ROWS)


class _Scorer:
    """Scores of the last answers, and how much higher they are than those of a reference's answers."""

    def __init__(self, run: Run, rule: Reward) -> None:
        self.run, self.rule = run, rule

    @cached_property
    def judge(self) -> Speaker:
        return Speaker.judge_of(self.run, self.rule.reward_model)

    @cached_property
    def reference(self) -> "_Answerer":
        return _Answerer(self.run, self.rule.reference)

    def __call__(self, chats: Sequence[Conversation], first: int) -> dict[str, list[float]]:
        prompts = [chat.messages[: last_answer(chat)] for chat in chats]
        own = [(chat.messages[len(prompt)].content, True) for chat, prompt in zip(chats, prompts, strict=True)]
        score = self._scores(prompts, own)
        if not self.rule.reference:
            return {"score": score.tolist()}
        theirs = self._scores(prompts, self.reference(prompts, self.rule.sampling, first))
        return {"score": score.tolist(), "difference": (score - theirs).tolist()}

    def _scores(self, prompts: Sequence[Turns], answers: Sequence[Answer | None]) -> np.ndarray:
        """(N,), nan where there is no answer or it is too long to be read."""
        reads, scores = self.judge.model.config.max_seq_len, np.full(len(prompts), np.nan)
        items = {
            place: self.judge.answer(prompt, answer[0], is_stopped=answer[1])
            for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
            if answer is not None
        }
        fitting = {place: item for place, item in items.items() if len(item.tokens) <= reads}
        if fitting:
            length = max(len(item.tokens) for item in fitting.values())
            scores[list(fitting)] = self.judge.scores(list(fitting.values()), rows=READ_ROWS, length=length)
        return scores


class _Answerer:
    """A model that answers prompts."""

    def __init__(self, run: Run, model: str) -> None:
        self.run, self.speaker = run, Speaker.of(run, model)
        self.engine = engine_of(run, self.speaker, rows=4 * READ_ROWS)

    def __call__(self, prompts: Sequence[Turns], sampling: Sampling, first: int) -> list[Answer | None]:
        """What it says; None where the prompt leaves no room. first: the number of the first prompt."""
        ids, reads = [self.speaker.prompt(prompt) for prompt in prompts], self.speaker.model.config.max_seq_len
        fitting = [place for place, each in enumerate(ids) if len(each) < reads]
        said = self.engine.generate(
            [ids[place] for place in fitting], sampling, seed=self.run.seed, purpose=f"{self.run.stage} answers",
            numbers=[first + place for place in fitting],
        )  # fmt: skip
        found: list[Answer | None] = [None] * len(ids)
        for place, example in zip(fitting, said, strict=True):
            found[place] = self.speaker.text_of(example).strip(), bool(example.meta["stopped"])
        return found


class _Grader:
    """Grades of the last answers by a judge, here or behind an endpoint; nan for a reply that is no verdict."""

    def __init__(self, run: Run, rule: Judged) -> None:
        self.run, self.rule, self.asked = run, rule, rule.judge()

    @cached_property
    def answerer(self) -> _Answerer:
        return _Answerer(self.run, self.rule.model)

    def __call__(self, chats: Sequence[Conversation], first: int) -> dict[str, list[float]]:
        said = [Said(chat.messages[: (end := last_answer(chat))], chat.messages[end].content, True, {}) for chat in chats]
        return {"grade": self._remote(said) if self.rule.url else self._here(said, first)}

    def _here(self, said: Sequence[Said], first: int) -> list[float]:
        nonces = [nonce_of(self.run.seed, each) for each in said]
        asked = [question(each, nonce, self.asked.criteria) for each, nonce in zip(said, nonces, strict=True)]
        sampling = Sampling(temperature=0, max_new_tokens=VERDICT_TOKENS)
        replies = self.answerer([(Message("user", text),) for text in asked], sampling, first)
        said_by_judge = ((reply[0] if reply else "", nonce) for reply, nonce in zip(replies, nonces, strict=True))
        return [self._grade(partial(verdict, reply, nonce, None)) for reply, nonce in said_by_judge]

    def _remote(self, said: Sequence[Said]) -> list[float]:
        judge: OpenJudge = self.asked.open(self.run.seed, self.run.log_once)
        with ThreadPoolExecutor(NUM_CONNECTIONS) as threads:
            return list(threads.map(lambda each: self._grade(lambda: judge([each])[0]), said))

    def _grade(self, ask: Callable[[], float]) -> float:
        try:
            return ask()
        except DataError as error:  # the filter counts it: no verdict is no grade
            self.run.log_once(f"the judge's first reply without a verdict: {error}")
            return float("nan")
