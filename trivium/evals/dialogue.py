"""Conversations of several turns: a model leads them with what the user says, a judge grades its answers and compares two models'.

Judges see each pair of answers in both orders (score/rewards/llm_judge.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from trivium.core.types import Message
from trivium.evals.harness import Row, row_of
from trivium.evals.scoring import Dialogue, Scores
from trivium.evals.subject import Subject
from trivium.evals.task import Item, NamedTask
from trivium.generate.sampling import Sampling
from trivium.score.rewards.llm_judge import GRADES, transcript
from trivium.score.said import Said

TURNS = 16  # random numbers of an item are those of its number times this, and its turn


class Grader(Protocol):
    """Who judges: an LLM, or a person (stages/use/person.py). criteria: of grades."""

    @property
    def criteria(self) -> str:
        """What a grade is of."""
        ...

    def words(self, answers: Sequence[Said], criteria: str, allowed: Sequence[str]) -> list[str]:
        """One of the allowed words about each answer."""
        ...

    def compare(self, pairs: Sequence[tuple[Said, Said]]) -> list[float]:
        """For each two answers to one prompt 1 if the first is better, 0 if the second is, 1/2 for a tie."""
        ...


def led_rows(subject: Subject, named: NamedTask, items: Sequence[Item], *, seed: int) -> list[Row]:
    """The rows of these items before anybody has judged: the answers alone."""
    answers = _led(subject, named, items, seed=seed)
    return [row_of(item, {}, responses=texts) for item, texts in zip(items, answers, strict=True)]


def graded_rows(named: NamedTask, items: Sequence[Item], led: Sequence[Row], judge: Grader) -> list[Row]:
    """The same rows with the grade of each answer, and what else the judge says of it."""
    answers, scoring = [row["responses"] for row in led], _scoring(named)
    asked = [said for item, texts in zip(items, answers, strict=True) for said in _said(named, item, texts)]
    grades = iter([int(word) for word in judge.words(asked, judge.criteria, GRADES[: scoring.grades])])
    told = {name: iter(judge.words(asked, text, ("yes", "no"))) for name, text in scoring.questions.items()}
    rows = []
    for item, texts in zip(items, answers, strict=True):
        mine = [next(grades) for _ in texts]
        scores: Scores = {"grade": sum(mine) / len(mine)}
        scores |= {f"grade_{turn}": float(grade) for turn, grade in enumerate(mine, start=1)}
        scores |= {name: sum(next(words) == "yes" for _ in texts) / len(texts) for name, words in told.items()}
        rows.append(row_of(item, scores, responses=texts))
    return rows


def compared_rows(named: NamedTask, items: Sequence[Item], a: Sequence[Row], b: Sequence[Row], judge: Grader) -> list[Row]:
    """How often the answers of `a` are found better than those of `b` to the same items, a tie counted as half; the mean over turns.

    Each later answer is shown at the end of the conversation that its own model led (the paper's section 3.4: complete conversations in
    one prompt).
    """
    pairs: list[tuple[Said, Said]] = []
    sizes = []
    for item, mine, other in zip(items, a, b, strict=True):
        both = [[_whole(said) for said in _said(named, item, row["responses"])] for row in (mine, other)]
        pairs += zip(*both, strict=True)
        sizes.append(len(both[0]))
    won = iter(judge.compare(pairs))
    found = [[next(won) for _ in range(size)] for size in sizes]
    return [row_of(item, {"win_rate": sum(each) / len(each)}, won=each) for item, each in zip(items, found, strict=True)]


def _led(subject: Subject, named: NamedTask, items: Sequence[Item], *, seed: int) -> list[list[str]]:
    """The model's answers to each item, turn by turn; items of one temperature together."""
    scoring = _scoring(named)
    users = [scoring.said_by_user(item.fields, named.where) for item in items]
    warmth = [scoring.warmth(item.fields, named.where) for item in items]
    answers: list[list[str]] = [[] for _ in items]
    for turn in range(max(map(len, users))):
        for temperature in sorted(set(warmth)):
            mine = [place for place in range(len(items)) if warmth[place] == temperature and len(users[place]) > turn]
            prompts = [subject.prompt(_turns(users[place][: turn + 1], answers[place])) for place in mine]
            sampling = Sampling(temperature=temperature, max_new_tokens=scoring.max_new_tokens)
            numbers = [items[place].number * TURNS + turn for place in mine]
            said = subject.answer(prompts, sampling, (), seed=seed, purpose=named.name, numbers=numbers)
            for place, (text, _) in zip(mine, said, strict=True):
                answers[place].append(text)
    return answers


def _said(named: NamedTask, item: Item, answers: Sequence[str]) -> list[Said]:
    """Each answer with the conversation before it, as judges see it."""
    scoring = _scoring(named)
    users, references = scoring.said_by_user(item.fields, named.where), scoring.references(item.fields, named.where)
    found = []
    for turn, text in enumerate(answers):
        before = _turns(users[: turn + 1], answers[:turn])
        if turn < len(references):
            before = (Message("system", f"For the judge only, a reference answer to the last question: {references[turn]}"), *before)
        found.append(Said(before, text, True, item.fields))
    return found


def _whole(said: Said) -> Said:
    """An answer that two models are compared by; a later one with all that came after the first question."""
    first = next(place for place, turn in enumerate(said.prompt) if turn.role == "user") + 1
    if first == len(said.prompt):
        return said
    rule = Message("system", "For the judge only: each answer is a conversation that goes on from here; compare how well they end.")
    text = transcript((*said.prompt[first:], Message("assistant", said.response)))
    return replace(said, prompt=(rule, *said.prompt[:first]), response=text)


def _turns(users: Sequence[str], answers: Sequence[str]) -> tuple[Message, ...]:
    turns: list[Message] = []
    for place, text in enumerate(users):
        turns.append(Message("user", text))
        turns += [Message("assistant", answer) for answer in answers[place : place + 1]]
    return tuple(turns)


def _scoring(named: NamedTask) -> Dialogue:
    scoring = named.task.scoring
    assert isinstance(scoring, Dialogue)
    return scoring
