"""A proxy's directory: made by the stage, read wherever a model is named, refused where it is trained or does not fit."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.nn.io_models import TEXTS, TOKENIZER, ours
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.generate.renderings import Prompt
from trivium.generate.sampling import Sampling
from trivium.nn.io.directory import save_model
from trivium.nn.io.tokenizer_files import tokenizer_config
from trivium.nn.proxy import ProxyModel
from trivium.serve.start import Place, _loaded
from trivium.stages.chat_formats import CHAT_KEY
from trivium.stages.computing.models import Speaker, engine_of
from trivium.stages.computing.subjects import load_subject
from trivium.stages.machine import Machine
from trivium.stages.pipeline import _content
from trivium.stages.recipe import single
from trivium.stages.use.chat import answer_all, model_folder
from trivium.stages.use.exchange import export_model
from trivium.text.chat import PLAIN, ChatFormat, stop_ids
from trivium.text.chat_forms import form
from trivium.text.tokenizer import Tokenizer, train_bpe

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
ASKED = (Message("user", "the king"),)
HH = form("hh", start="<|endoftext|>", end="<|end|>")


def save(folder: Path, shift: float = 0.0, chat: ChatFormat = PLAIN, tokenizer: Tokenizer = TOKENIZER) -> Path:
    model = ours("llama")
    with torch.no_grad():
        for number, parameter in enumerate(model.trunk.blocks.parameters()):
            parameter.add_(shift * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    config = {**tokenizer_config(tokenizer, chat), CHAT_KEY: plain(chat)}
    save_model(folder, model, tokenizer_json=tokenizer.to_json(), tokenizer_config=config, stop_ids=stop_ids(tokenizer, chat))
    return folder


@pytest.fixture
def models(tmp_path, monkeypatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {role: str(save(tmp_path / role, shift)) for role, shift in (("base", 0.0), ("expert", 0.5), ("anti_expert", 0.3))}


def made(out: Path, **options: Any) -> Path:
    stage = single("proxy", options).stages["proxy"]
    stage.check()
    with Run(out, quiet=True, machine=MACHINE) as run:
        run.begin("proxy", {})
        run.finish(stage.run(run))
    return out / "proxy" / "model"


def answer(folder: Path | str, messages=ASKED, **sampling: Any) -> list[int]:
    speaker = Speaker.load(Path(folder), Machine(**MACHINE))
    engine = Engine(speaker.model, stop_ids=speaker.stop_ids)
    [item] = engine.generate([speaker.prompt(messages)], Sampling(**{"max_new_tokens": 10, **sampling}), seed=3)
    return item.response.tolist()


def test_the_stage_leaves_a_directory_that_speaks(tmp_path, models):
    folder = made(tmp_path / "run", **models)
    written = json.loads((folder / "proxy.json").read_text())
    assert {role: os.path.normpath(folder / written[role]) for role in models} == {
        role: os.path.normpath(path) for role, path in models.items()
    }
    assert set(written["weights"]) == set(models)
    speaker = Speaker.load(folder, Machine(**MACHINE))
    assert isinstance(speaker.model, ProxyModel)
    assert speaker.chats == ()
    assert speaker.stop_ids == Speaker.load(Path(models["expert"]), Machine(**MACHINE)).stop_ids
    assert answer(folder) != answer(models["base"])


def test_the_identities_hold_from_directory_to_directory(tmp_path, models):
    base, expert, other = models["base"], models["expert"], models["anti_expert"]
    assert answer(made(tmp_path / "a", base=base, expert=other, anti_expert=other)) == answer(base)
    assert answer(made(tmp_path / "b", base=other, expert=expert, anti_expert=other)) == answer(expert)
    assert answer(made(tmp_path / "c", base=base, expert=expert, anti_expert=other, alpha=0.0)) == answer(base)


def test_each_model_has_a_prompt_in_its_own_chat_format(tmp_path, models):
    expert = str(save(tmp_path / "hh", 0.5, HH))
    speaker = Speaker.load(made(tmp_path / "run", **models | {"expert": expert}), Machine(**MACHINE))
    asked = speaker.prompt(ASKED)
    assert isinstance(asked, Prompt)
    plain_one, alone = (Speaker.load(Path(path), Machine(**MACHINE)).prompt(ASKED).tolist() for path in (models["base"], expert))
    assert [each.tolist() for each in asked.each] == [plain_one, alone, plain_one]
    assert asked.tolist() == alone != plain_one
    opposite = models["base"]
    assert answer(made(tmp_path / "same", base=opposite, expert=expert, anti_expert=opposite)) == answer(expert)
    moved = answer(made(tmp_path / "moved", base=opposite, expert=expert, anti_expert=expert), temperature=0)
    alone = answer(opposite, temperature=0)
    assert moved[:3] == alone[:3]  # what ends an answer is the expert's
    assert "each gets a prompt in its own" in (tmp_path / "run" / "log.txt").read_text()


def test_it_is_chatted_with_and_evaluated_like_a_model(tmp_path, models, monkeypatch):
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda *_: 1e9)
    folder = made(tmp_path / "run", **models)
    assert model_folder(tmp_path / "run") == folder
    assert model_folder(folder) == folder
    [line] = answer_all(folder, "the king", Sampling(temperature=1.0, max_new_tokens=6), seed=1)
    assert json.loads(line)["prompt"] == "the king"
    Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in ("king", "land")))
    names = {"proxy": str(folder), "base": models["base"]}
    options = {"models": names, "reference": models["base"], "prompts": "prompts.jsonl", "sampling": {"max_new_tokens": 6}}
    stage = single("evaluate", options).stages["evaluate"]
    stage.check()
    with Run(tmp_path / "out", quiet=True, machine=MACHINE) as run:
        run.begin("evaluate", {})
        stage.run(run)
    rows = json.loads((tmp_path / "out" / "evaluate" / "results.json").read_text())
    found = {(row["stage"], row["measure"]): row["value"] for row in rows}
    assert found["proxy", "entropy"] > 0
    assert found["proxy", "kl_from_reference"] != 0
    assert found["base", "kl_from_reference"] == pytest.approx(0, abs=1e-4)


def test_it_answers_many_times_for_a_stage_that_selects(tmp_path, models):
    expert = str(save(tmp_path / "hh", 0.5, HH))
    folder = made(tmp_path / "run", **models | {"expert": expert})
    Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in ("king", "land")))
    options = {"model": str(folder), "prompts": "prompts.jsonl", "answers": 3, "keep": "all", "sampling": {"max_new_tokens": 5}}
    scored = []
    for rows in (2, 6):  # the same answers whatever is decoded together
        stage = single("sample", options | {"rows": rows, "rewards": [{"kind": "length", "max_words": 3}]}).stages["sample"]
        stage.check()
        with Run(tmp_path / f"out-{rows}", quiet=True, machine=MACHINE) as run:
            run.begin("sample", {})
            with suppress(DataError):  # random weights say nothing that is worth keeping
                stage.run(run)
        scored.append((tmp_path / f"out-{rows}" / "sample" / "answers" / "scored.jsonl").read_text())
    assert scored[0] == scored[1]
    assert len(json.loads(scored[0].splitlines()[0])["responses"]) == 3


def test_a_directory_may_be_written_by_hand_and_name_models_from_where_one_stands(models):
    Path("mine").mkdir()
    Path("mine/proxy.json").write_text(json.dumps({"base": "base", "expert": "../expert", "anti_expert": "anti_expert", "alpha": 0.5}))
    speaker = Speaker.load(Path("mine"), Machine(**MACHINE))
    assert isinstance(speaker.model, ProxyModel)
    assert speaker.model.contrast.alpha == 0.5


def test_what_it_is_made_of_is_part_of_what_a_stage_depends_on(tmp_path, models):
    folder = made(tmp_path / "run", **models)
    before = _content(str(folder))
    save(Path(models["anti_expert"]), 0.4)
    assert _content(str(folder)) != before
    with pytest.raises(ArtefactError, match="anti_expert has other weights than when the proxy was made; run `trivium proxy` again"):
        Speaker.load(folder, Machine(**MACHINE))


def test_different_tokenizers_are_one_line(tmp_path, models):
    other = str(save(tmp_path / "other", 0.2, tokenizer=train_bpe(TEXTS, 290)))
    with pytest.raises(ArtefactError, match="anti_expert .290 ids. and expert .* have different tokenizers; a proxy adds word to word"):
        made(tmp_path / "run", **models | {"anti_expert": other})


def test_a_run_behind_a_link_names_models_from_where_it_really_is(tmp_path, models):
    (tmp_path / "far" / "away" / "runs").mkdir(parents=True)
    (tmp_path / "runs").symlink_to(tmp_path / "far" / "away" / "runs")
    folder = made(tmp_path / "runs" / "one", **models)
    assert answer(folder)
    assert answer(folder.resolve())


def test_models_that_do_not_fit_leave_no_directory(tmp_path, models):
    other = str(save(tmp_path / "other", 0.2, tokenizer=train_bpe(TEXTS, 290)))
    with pytest.raises(ArtefactError, match="different tokenizers"):
        made(tmp_path / "run", **models | {"anti_expert": other})
    assert not (tmp_path / "run" / "proxy" / "model").exists()


def test_one_whose_models_write_turns_differently_neither_chooses_nor_writes_instructions(tmp_path, models):
    folder = str(made(tmp_path / "hh-run", **models | {"expert": str(save(tmp_path / "hh", 0.5, HH))}))
    Path("prompts.jsonl").write_text("".join(json.dumps({"prompt": word}) + "\n" for word in ("king", "land")))
    judged = {"model": models["base"], "prompts": "prompts.jsonl", "judge": {"kind": "model", "model": folder}}
    for kind, options in {"magpie": {"model": folder}, "self_instruct": {"model": folder}, "feedback": judged}.items():
        with Run(tmp_path / kind, quiet=True, machine=MACHINE) as run:
            run.begin(kind, {})
            with pytest.raises(ConfigError, match="is a proxy whose models write turns in different ways"):
                single(kind, options).stages[kind].run(run)


def test_it_is_asked_tasks_and_served_like_its_base(tmp_path, models, monkeypatch):
    monkeypatch.setattr("trivium.stages.machine._matmul_flops", lambda *_: 1e9)
    folder = made(tmp_path / "run", **models)
    subject = load_subject(folder)
    assert subject.first_id == load_subject(models["base"]).first_id == TOKENIZER.special["<|endoftext|>"]
    assert _loaded("proxy", folder, Place(), print).first_id == subject.first_id
    other = made(tmp_path / "hh-run", **models | {"expert": str(save(tmp_path / "hh", 0.5, HH))})
    with pytest.raises(ConfigError, match="is a proxy whose models write turns in different ways"):
        _loaded("proxy", other, Place(), print)


def test_it_is_not_trained(tmp_path, models):
    folder = made(tmp_path / "run", **models)
    speaker = Speaker.load(folder, Machine(**MACHINE))
    with pytest.raises(ConfigError, match="is a proxy of three models, which is not trained; train its expert"):
        speaker.adapt(None, 1)
    with pytest.raises(ConfigError, match="no whole distributions are compared"):
        _ = speaker.model.trunk


def test_it_does_not_judge_and_is_not_exported(tmp_path, models):
    folder = made(tmp_path / "run", **models)
    with pytest.raises(ConfigError, match="cannot judge or become a critic"):
        Speaker.load_judge(folder, Machine(**MACHINE))
    with pytest.raises(ConfigError, match="export each of them"):
        export_model(folder, tmp_path / "one.gguf")


def test_a_proxy_of_a_proxy_is_refused(tmp_path, models):
    folder = made(tmp_path / "run", **models)
    with pytest.raises(ConfigError, match="'base': .* is a proxy itself; name one model"):
        made(tmp_path / "again", **models | {"base": str(folder)})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"expert": 3}, "expert is 3; it must be the path of a model directory"),
        ({"alpha": "x"}, "alpha is x; it must be a number from 0 to 1000"),
        ({"top_k": -1}, "top_k is -1; it must be a whole number from 0"),
        ({"weights": [1]}, "weights is .* it must name fingerprints"),
        ({"betta": 1}, "'betta' is unknown; a proxy has base, expert, anti_expert, alpha and top_k"),
    ],
)  # fmt: skip
def test_a_damaged_description_is_one_line(tmp_path, fields, words):
    (tmp_path / "proxy.json").write_text(json.dumps({"base": "a", "expert": "b", "anti_expert": "c"} | fields))
    with pytest.raises(ArtefactError, match=words):
        Speaker.load(tmp_path, Machine(**MACHINE))


def test_the_engine_of_a_run_says_how_it_samples(tmp_path, models):
    folder = made(tmp_path / "run", **models)
    with Run(tmp_path / "out", quiet=True, machine=MACHINE) as run:
        speaker = Speaker.load(folder, Machine(**MACHINE))
        engine_of(run, speaker, rows=2).generate([speaker.prompt(ASKED)], Sampling(max_new_tokens=2), seed=1)
    assert "3 models together" in (tmp_path / "out" / "log.txt").read_text()
