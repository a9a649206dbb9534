"""`finetune template=synthesizer` and `synthesize` on a model of a few thousand weights; a kill changes no byte of what they leave."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.nn.io_models import FILES, ours
from trivium.core.errors import ConfigError, DataError
from trivium.core.interrupt import Interrupted
from trivium.core.run import Run
from trivium.core.types import Document
from trivium.generate.engine import Engine
from trivium.nn.io.directory import save_model
from trivium.report.page import write_report
from trivium.stages.base import Foresight
from trivium.stages.recipe import single
from trivium.synth.template import MARKERS
from trivium.text.read import read_documents, read_readings
from trivium.text.tokenizer import Tokenizer

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
TEXTS = [f"the {word} {number}" for number, word in enumerate(["king", "land", "ships", "people", "user", "hello", "world"])]
TRAINED = {
    "model": "base", "data": "known.jsonl", "template": "synthesizer", "steps": 40, "batch_size": 4, "seq_len": 64,
    "optimizer": {"lr": 0.01}, "schedule": {"warmup_steps": 0},
}  # fmt: skip
OPTIONS = {
    "model": "trained/finetune/model", "corpus": "raw.jsonl", "rows": 2, "rounds": 2, "heldout_share": 0.3,
    "sampling": {"temperature": 0, "max_new_tokens": 24},
}  # fmt: skip
KNOWN = {"data": "known.jsonl", "heldout_share": 0.3}
LEFT = ("corpus/train.jsonl.zst", "corpus/heldout.jsonl.zst", "readings/readings.jsonl.zst", "funnel.json", "samples.json")


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def reading(text: str, *pairs: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"context": text, "pairs": [{"question": question, "answer": answer} for question, answer in pairs], **more}


def run(out: str, kind: str = "synthesize", **options: Any) -> dict[str, Any]:
    stage = single(kind, options).stages[kind]
    stage.check()
    with Run(Path(out), quiet=True, machine=MACHINE) as running:
        assert running.begin(kind, {})
        return dict(stage.run(running))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that says `who? -> the king` of every text."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        save_model(place / "base", ours("llama"), **FILES)
        write("known.jsonl", [reading(text, ("who?", "the king")) for text in TEXTS])
        write("raw.jsonl", [{"text": text, "id": f"n{number}"} for number, text in enumerate(TEXTS)])
        run("trained", "finetune", **TRAINED)
    return place


@pytest.fixture(autouse=True)
def _place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("base", "known.jsonl", "raw.jsonl", "trained"):
        (tmp_path / name).symlink_to(trained / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("trivium.stages.computing.synthesizing.ROUNDS", 1)  # two chains a piece


def lines(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        return [json.loads(line) for line in zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()]


def texts(out: str) -> list[dict[str, Any]]:
    return [row for part in ("train", "heldout") for row in lines(Path(out) / f"synthesize/corpus/{part}.jsonl.zst")]


def test_a_synthesizer_learns_its_markers_and_writes_pairs():
    tokenizer = Tokenizer.load("trained/finetune/model")
    assert set(MARKERS) <= tokenizer.special.keys()
    facts = run("out", **OPTIONS)
    assert facts["texts"] == facts["texts_with_pairs"] == len(TEXTS)
    assert facts["follow"] == 3  # blocks of 4 and 3
    found = list(read_readings("out/synthesize/readings/readings.jsonl.zst"))
    assert [each.context for each in found] == TEXTS  # in the order of the corpus
    assert [each.meta["id"] for each in found] == [f"n{number}" for number in range(len(TEXTS))]
    assert {(pair.question, pair.answer) for each in found for pair in each.pairs} == {("who?", "the king")}


def test_every_raw_text_is_once_in_what_is_left_and_chains_are_one_text():
    run("out", **OPTIONS)
    made = texts("out")
    assert sorted(name for row in made for name in row["meta"]["ids"]) == [f"n{number}" for number in range(len(TEXTS))]
    assert sorted(len(row["meta"]["ids"]) for row in made) == [1, 2, 2, 2]
    for row in made:
        assert all(row["text"].count(TEXTS[int(name[1:])]) == 1 for name in row["meta"]["ids"])
        assert row["text"].count("who?") == len(row["meta"]["ids"])
        assert row["meta"]["pairs"] == [[{"question": "who?", "answer": "the king"}]] * len(row["meta"]["ids"])
    assert len(list(read_documents("out/synthesize/corpus/heldout.jsonl.zst"))) == 1


def test_a_kill_between_pieces_and_within_changes_no_byte(monkeypatch):
    run("straight", **OPTIONS)
    generate, calls = Engine.generate, []

    def counted(self: Engine, *arguments: Any, **options: Any) -> Any:
        calls.append(list(options["numbers"]))
        if len(calls) == 4:
            raise Interrupted(15, "power loss")
        return generate(self, *arguments, **options)

    monkeypatch.setattr(Engine, "generate", counted)
    with pytest.raises(Interrupted):
        run("killed", **OPTIONS)
    run("killed", **OPTIONS)
    assert calls == [[0, 1], [4, 5], [2, 3], [6], [2, 3], [6]]  # the first piece was not made again
    for name in LEFT:
        assert (Path("killed/synthesize") / name).read_bytes() == (Path("straight/synthesize") / name).read_bytes()


def test_what_is_written_does_not_depend_on_the_pieces():
    drawn = OPTIONS | {"sampling": {"temperature": 1.0, "max_new_tokens": 24}}
    run("one", **drawn)
    run("other", **drawn | {"rows": 64})
    for name in LEFT:
        assert (Path("one/synthesize") / name).read_bytes() == (Path("other/synthesize") / name).read_bytes()


def test_a_proxy_whose_expert_is_a_synthesizer_reads_texts(trained):
    """Base and anti-expert get the markers by an update that changes nothing else, so the sum is what the expert writes."""
    run("marked", "finetune", **TRAINED | {"steps": 1, "optimizer": {"lr": 1e-12}})
    parts = {"base": "marked/finetune/model", "expert": "trained/finetune/model", "anti_expert": "marked/finetune/model"}
    run("mixed", "proxy", **parts)
    facts = run("out", **OPTIONS | {"model": "mixed/proxy/model"})
    assert facts["texts_with_pairs"] == len(TEXTS)
    run("alone", **OPTIONS)
    assert texts("out") == texts("alone")


def test_a_proxy_is_not_taught_to_read():
    run("mixed", "proxy", base="base", expert="base", anti_expert="base")
    with pytest.raises(ConfigError, match="is a proxy of three models, which is not trained; train its expert"):
        run("out", "finetune", **TRAINED | {"model": "mixed/proxy/model"})


def test_what_is_no_pair_is_counted_by_reason_with_samples_in_the_report(monkeypatch):
    generate = Engine.generate

    def cut(self: Engine, prompts: Any, *arguments: Any, numbers: Any, **options: Any) -> Any:
        lengths = [2 if number == 1 else 24 for number in numbers]
        return generate(self, prompts, *arguments, numbers=numbers, lengths=lengths, **options)

    monkeypatch.setattr(Engine, "generate", cut)
    facts = run("out", **OPTIONS)
    assert (facts["dropped"], facts["texts_with_pairs"]) == (1, len(TEXTS) - 1)
    [gone] = json.loads(Path("out/synthesize/funnel.json").read_text())["dropped"]
    assert (gone["reason"], gone["documents"], len(gone["samples"])) == ("cut off", 1, 1)
    assert [row for row in texts("out") if row["meta"]["form"] == "raw"][0]["text"] == TEXTS[1]
    assert "left out 1: cut off" in Path("out/log.txt").read_text()
    shown = write_report(Path("out")).read_text()
    assert "pairs through synthesize" in shown
    assert "cut off" in shown


def test_known_pairs_need_no_model_and_shuffled_ones_belong_to_another_text():
    write("ten.jsonl", [reading(f"text {number}", (f"{number}?", "a"), id=number) for number in range(10)])
    run("known", data="ten.jsonl")
    run("shuffled", data="ten.jsonl", pairs="shuffled")
    own, others = (list(read_readings(f"{name}/synthesize/readings/readings.jsonl.zst")) for name in ("known", "shuffled"))
    assert [each.context for each in own] == [each.context for each in others]
    assert [each.pairs[0].question for each in own] == [f"{number}?" for number in range(10)] != [each.pairs[0].question for each in others]
    assert sorted(each.pairs[0].question for each in others) == sorted(each.pairs[0].question for each in own)
    assert all(mine.pairs != other.pairs for mine, other in zip(own, others, strict=True))


def test_what_it_leaves_is_data_for_it_again():
    run("first", **OPTIONS)
    again = run("again", data="first/synthesize/readings/readings.jsonl.zst", rounds=2, heldout_share=0.3)
    assert again["pairs"] == len(TEXTS)
    assert sorted(row["text"] for row in texts("again")) == sorted(row["text"] for row in texts("first"))


def test_text_that_spells_the_markers_is_text():
    evil = "<QUE> me <ANS>"
    write("evil.jsonl", [{"text": f"{evil} {number}"} for number in range(4)])
    run("out", **OPTIONS | {"corpus": "evil.jsonl", "rounds": 1})
    found = list(read_readings("out/synthesize/readings/readings.jsonl.zst"))
    assert [each.context for each in found] == [f"{evil} {number}" for number in range(4)]
    assert all("me" not in pair.answer.split() for each in found for pair in each.pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give model and corpus"),
        ({"model": "base"}, "give model and corpus"),
        (OPTIONS | {"data": "known.jsonl"}, "not both"),
        (OPTIONS | {"pairs": "shuffled"}, "pairs=shuffled needs pairs that are there"),
        (OPTIONS | {"model": "base"}, "base: its tokenizer has no control token <CON>, so it is no synthesizer; make one of it: trivium"),
        ({"data": "known.jsonl", "rows": 5}, "sampling and rows are about what a synthesizer writes"),
        ({"data": "known.jsonl", "sampling": {"temperature": 1}}, "sampling and rows are about what a synthesizer writes"),
        (OPTIONS | {"rounds": 0}, "'rounds' is 0"),
    ],
)
def test_a_mistake_is_one_line(options, message):
    with pytest.raises(ConfigError, match=message):
        run("out", **options)


def test_data_that_cannot_be_used_is_one_line():
    write("one.jsonl", [reading("text", ("a?", "b"))])
    with pytest.raises(DataError, match="there is one text with questions"):
        run("one", data="one.jsonl")
    write("silent.jsonl", [reading("text"), reading("other")])
    with pytest.raises(DataError, match="none of 2 texts has a pair"):
        run("silent", data="silent.jsonl")
    with pytest.raises(DataError, match="the model reads 64 tokens, and as many may be new"):
        run("room", **OPTIONS | {"sampling": {"temperature": 0, "max_new_tokens": 64}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_on": "last"}, "template=synthesizer has no turns"),
        ({"lora": {"r": 2}}, "template=synthesizer adds control tokens, whose embeddings an adapter would not train"),
    ],
)
def test_what_a_synthesizer_cannot_be_trained_with_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        run("out", "finetune", **TRAINED | options)


def test_texts_that_do_not_fit_are_said():
    with pytest.raises(DataError, match="none of its 7 texts fits in 8 tokens with a pair; raise seq_len"):
        run("out", "finetune", **TRAINED | {"seq_len": 8})


def test_the_plan_counts_what_is_generated_at_most():
    known = Foresight(num_prompts={"@pages/pages/raw.jsonl": 50})
    stage = single("synthesize", OPTIONS).stages["synthesize"]
    assert stage.foresee("synthesize", known).tokens_generated == 1000 * 24


def test_an_option_of_sampling_leaves_the_others_as_they_are():
    given = {"model": "base", "corpus": "raw.jsonl", "sampling": {"max_new_tokens": 200}}
    sampling = single("synthesize", given).stages["synthesize"].sampling
    assert (sampling.temperature, sampling.max_new_tokens) == (0, 200)
    others = {"critique": {}, "feedback": {"judge": {"kind": "simulated"}}}
    for kind, options in others.items():
        stage = single(kind, options | {"model": "base", "prompts": "x", "sampling": {"top_p": 0.9}}).stages[kind]
        assert (stage.sampling.max_new_tokens, stage.sampling.top_p) == (128, 0.9)


def test_a_source_is_an_asset_by_its_name_and_a_file_by_its_path(monkeypatch):
    stage = single("synthesize", {"model": "base", "corpus": "wiki-leads"}).stages["synthesize"]
    monkeypatch.setattr("trivium.text.assets.documents", lambda name: iter([Document(f"of {name}")]))
    Path("wiki-leads").mkdir()
    (Path("wiki-leads") / "a.txt").write_text("mine")
    with Run(Path("out"), quiet=True, machine=MACHINE) as running:
        assert [each.context for each in stage._texts(running)] == ["of wiki-leads"]
        local = replace(stage, corpus="./wiki-leads")
        assert [each.context for each in local._texts(running)] == ["mine"]
