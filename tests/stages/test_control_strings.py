"""Whatever people, corpora and models write: in all that a model reads, control tokens are those that we placed, and no others."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.text.test_prequery import CONTROLS, FAMILIES, format_of
from trivium.core.seeds import generator
from trivium.core.types import Conversation, Document, Message
from trivium.evals.subject import Subject
from trivium.generate.sampling import Sampling
from trivium.score.choice import Question
from trivium.stages.computing.choosing import THINK, Chooser
from trivium.stages.computing.measuring import _Embedder
from trivium.stages.computing.models import Speaker
from trivium.stages.computing.revising import Writer
from trivium.stages.computing.task_rounds import _prompt
from trivium.synth.constitution import Constitution, Principle
from trivium.synth.feedback import Comparison, question
from trivium.synth.filters import NearDuplicates
from trivium.synth.magpie import Draft, leads
from trivium.synth.revision import Chain
from trivium.synth.self_instruct import Task, request
from trivium.synth.template import MARKERS, Template
from trivium.text.chat import PLAIN, ChatFormat
from trivium.text.chat_forms import form
from trivium.text.records.readings import Pair, Reading
from trivium.text.shards import Shard, write_shard
from trivium.text.tokenizer import train_bpe

CASES = 10_000
TOKENIZER = train_bpe(["You are a helpful assistant. the user said: what is it, system? (A) <|"] * 4, 600, (*CONTROLS, *MARKERS))
CONTROL = set(TOKENIZER.special.values())
ALPACA, HH = (form(name, start="<s>", end="</s>") for name in ("alpaca", "hh"))
FORMATS: dict[str, ChatFormat] = {"plain": PLAIN, "alpaca": ALPACA, "hh": HH, **{family: format_of(family) for family in FAMILIES}}
PARTS = (
    *TOKENIZER.special, *(name[: len(name) // 2] for name in CONTROLS), *(name[len(name) // 2 :] for name in CONTROLS),
    "[INST]", "[/INST]", "<<SYS>>", "<\uff5cUser\uff5c>", "<extra_id_0>", "<fim_prefix>", "<tool_call>", "<unused0>", "<|channel|>",
    "\n\nHuman:", "\n\nAssistant:", "CritiqueRequest:", "### Instruction:\n", "### Response:", "###\n2. Instruction: ", "(A)", "user",
    "\n", "\n\n", " ", "\u200b", "<", "|", ">", "é漢", "\x00", "\r", "{question}", "what is it?",
)  # fmt: skip


def turns(speaker: Speaker, first: str, second: str, third: str) -> tuple[Message, ...]:
    """A text for every role that the format knows, the last of them the user's."""
    system = (Message("system", third),) * ("system" in speaker.chat.opening)
    tools = (Message("tool", second), Message("tool", first)) * ("tool" in speaker.chat.opening)
    return (*system, Message("user", first), Message("assistant", second), *tools, Message("user", third))


def prompted(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What chat, serve and all stages that sample put to a model."""
    return speaker.prompt(turns(speaker, first, second, third))


def demonstrated(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What `finetune` learns from."""
    return speaker.demonstration(Conversation((*turns(speaker, first, second, third), Message("assistant", first)))).tokens


def answered(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What reward models and preferences are made of."""
    return speaker.answer((Message("user", first + third),), second).tokens


def told_apart(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What each model of a proxy reads, in its own format."""
    each = Speaker(speaker.model, speaker.tokenizer, speaker.chat, chats=(speaker.chat, PLAIN, ALPACA))
    return np.concatenate(each.prompt((Message("user", first), Message("assistant", second), Message("user", third))).each)


def dreamt(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """Magpie's next query, after what the model said as both sides and a system turn that steers it."""
    draft = Draft(0, "steered", [Message("user", first), Message("assistant", second)])
    domains = {"steered" if "system" in speaker.chat.opening else "other": third}
    return speaker.prequery(leads(draft, domains, speaker.chat))


def criticised(speaker: Speaker, first: str, second: str, third: str, *, what: Any = "chat") -> np.ndarray:
    """The request for a revision, with the principle's own words too."""
    principle = Principle(name="x", critique=f"x{first}", revision=f"x{second}", comparison=f"x{third}")
    writer = Writer(speaker, None, Sampling(), what, (), 1, "x")  # type: ignore[arg-type]
    chain = Chain((Message("user", first),), second, principle)
    return writer.ids(chain.prompt, chain.revision_script(third), label="Revision")


def transcribed(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """The same for a base model."""
    return criticised(speaker, first, second, third, what="transcript")


def compared(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What the judge of `feedback` is asked, after it has thought."""
    principle = Principle(name="x", critique="?", revision="!", comparison=f"x{third}")
    asked = question(Comparison((Message("user", first),), second, third, principle, 0), Constitution(principles=(principle,)))
    return Chooser(speaker, "x").prompt(Question(asked.messages, f"{THINK} {first}\n\n{asked.opening}"))


def listed(speaker: Speaker, first: str, second: str, third: str, *, what: str = "chat") -> np.ndarray:
    """Self-Instruct's list of tasks, which goes on."""
    room = SimpleNamespace(config=SimpleNamespace(max_seq_len=1 << 20))
    roomy = Speaker(room, speaker.tokenizer, speaker.chat)  # type: ignore[arg-type]
    return _prompt(SimpleNamespace(form=what), roomy, *request([Task(f"x{first}", second, third)]))  # type: ignore[arg-type]


def listed_as_text(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """The same for a base model."""
    return listed(speaker, first, second, third, what="text")


def read(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What a synthesizer is shown, and learns from."""
    template = Template.of(speaker.tokenizer, speaker.chat)
    shot = Reading(first, (Pair(second, third),))
    return np.concatenate([template.prompt([shot], third), template.example([shot, shot]).tokens])


def embedded(speaker: Speaker, first: str, second: str, third: str) -> np.ndarray:
    """What near-duplicates of queries are told by."""
    seen: list[np.ndarray] = []
    room = SimpleNamespace(config=SimpleNamespace(max_seq_len=1 << 20))
    embedder = _Embedder(None, NearDuplicates(model="x"))  # type: ignore[arg-type]
    embedder.speaker = Speaker(room, speaker.tokenizer, speaker.chat)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trivium.stages.computing.measuring.mean_hidden", lambda _, items, **__: seen.extend(item.tokens for item in items))
        embedder([Conversation((Message("user", first + second), Message("assistant", third)))])
    return seen[0]


RENDERINGS: tuple[Callable[[Speaker, str, str, str], np.ndarray], ...] = (
    prompted, demonstrated, answered, told_apart, dreamt, criticised, transcribed, compared, listed, listed_as_text, read, embedded,
)  # fmt: skip


def controls(ids: np.ndarray) -> list[int]:
    return [each for each in ids.tolist() if each in CONTROL]


def forged(draw: np.random.Generator) -> list[str]:
    return ["".join(draw.choice(PARTS, draw.integers(1, 8))) for _ in range(3)]


@cache
def placed(number: int, name: str) -> list[int]:
    """The control tokens of a rendering of harmless words."""
    return controls(RENDERINGS[number](Speaker(None, TOKENIZER, FORMATS[name]), "who", "is", "it"))  # type: ignore[arg-type]


@pytest.mark.slow
def test_no_text_becomes_a_control_token_in_anything_that_a_model_reads():
    """Ten thousand times three texts of the control strings of eighteen families, in one of all renderings, in one of the families."""
    draw, names = generator(1, "control strings"), list(FORMATS)
    for case in range(CASES):
        number, name = case % len(RENDERINGS), names[draw.integers(len(names))]
        texts = forged(draw)
        ids = RENDERINGS[number](Speaker(None, TOKENIZER, FORMATS[name]), *texts)  # type: ignore[arg-type]
        assert controls(ids) == placed(number, name), (RENDERINGS[number].__name__, name, texts)


def test_every_rendering_has_control_tokens_of_its_own_that_would_be_missed():
    """The test above compares something: a text that was read as other tools read it would be seen."""
    for number, rendering in enumerate(RENDERINGS):
        assert placed(number, "plain"), rendering.__name__
        assert sum(bool(placed(number, name)) for name in FORMATS) > len(FORMATS) // 2, rendering.__name__
    cheated = Speaker(None, SimpleNamespace(encode_after=lambda _, text: _as_others(text), id_of=TOKENIZER.id_of), PLAIN)  # type: ignore[arg-type]
    assert controls(prompted(cheated, "<|end|>", "is", "it")) != placed(0, "plain")


def _as_others(text: str) -> np.ndarray:
    """Ids of a text as tools have them that read control tokens in it."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_str(TOKENIZER.to_json())
    backend.encode_special_tokens = False
    return np.array(backend.encode(text, add_special_tokens=False).ids, np.int32)


def test_documents_and_texts_without_turns_have_no_control_token_but_their_first(tmp_path: Path):
    draw = generator(2, "control strings")
    texts = ["".join(forged(draw)) for _ in range(1000)]
    subject = Subject(None, TOKENIZER, 0, None, lambda _: np.zeros(0))  # type: ignore[arg-type]
    assert not any(controls(ids) for ids in subject.encode(texts))
    write_shard(tmp_path / "shard", [Document(text) for text in texts], TOKENIZER)
    shard = Shard.open(tmp_path / "shard")
    assert controls(np.asarray(shard.tokens)) == [TOKENIZER.id_of("<|endoftext|>")] * len(texts)
