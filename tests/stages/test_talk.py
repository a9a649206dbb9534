"""A chat in the terminal: what models remember and forget, several of them, a router, and commands."""

import json
import signal
from contextlib import nullcontext
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.nn.io_models import FILES, STOPS, TOKENIZER, ours
from trivium.core.errors import ConfigError, DataError
from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.io.directory import save_model
from trivium.score.routing.store import Decision
from trivium.stages.computing.models import Speaker
from trivium.stages.pipeline import execute
from trivium.stages.recipe import single
from trivium.stages.use.ancestry import stages_behind, texts_behind, was_taught_single_turns
from trivium.stages.use.chat import named, prompts_in
from trivium.stages.use.talk import Chat, Voice, talk
from trivium.text.chat import PLAIN

MODEL = ours("llama")  # reads 64 tokens
GREEDY = Sampling(temperature=0, max_new_tokens=6)


def voice(name: str = "one", *, turns=None) -> Voice:
    speaker = Speaker(MODEL, TOKENIZER, PLAIN)
    engine = Engine(MODEL, stop_ids=STOPS, rows=1, kernels="torch")
    return Voice(name, Path("nowhere"), speaker, engine, [] if turns is None else turns)


def chat(*voices: Voice, **more) -> tuple[Chat, Console]:
    console = Console(record=True, width=200, force_terminal=more.pop("is_terminal", False), file=StringIO())
    return Chat(list(voices or [voice()]), console, more.pop("sampling", GREEDY), 1, **more), console


def asked(spoken: list[tuple[Message, ...]], talking: Chat):
    """Keeps what each model is asked."""
    for each in talking.voices:
        speaker = each.speaker

        class Kept(type(speaker)):
            def prompt(self, messages):
                spoken.append(messages)
                return super().prompt(messages)

        each.speaker = Kept(speaker.model, speaker.tokenizer, speaker.chat)
    return talking


def test_an_answer_is_the_engines_to_all_that_was_said():
    talking, console = chat(system="be kind")
    [one] = talking.voices
    talking.say("the king")
    talking.say("and?")
    roles = [turn.role for turn in one.turns]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    engine = Engine(MODEL, stop_ids=STOPS, kernels="torch")
    for end in (2, 4):
        [answer] = engine.generate([one.speaker.prompt(tuple(one.turns[:end]))], GREEDY, seed=9)
        assert one.turns[end].content == one.speaker.text_of(answer)
    assert console.export_text().count("model: ") == 2


def test_without_memory_each_line_stands_for_itself():
    spoken: list[tuple[Message, ...]] = []
    talking = asked(spoken, chat(system="be kind", has_memory=False)[0])
    talking.say("the king")
    talking.say("and?")
    assert [turn.content for turn in spoken[-1]] == ["be kind", "and?"]
    assert len(talking.voices[0].turns) == 5  # what is saved is whole


def test_what_no_longer_fits_is_forgotten_from_the_beginning_and_it_is_said():
    talking, console = chat(system="be kind")
    [one] = talking.voices
    for number in range(12):
        talking.say(f"line {number}")
        assert one.turns[0] == Message("system", "be kind")
        prompt = one.speaker.prompt(tuple(one.turns[:-1]))
        assert len(prompt) + GREEDY.max_new_tokens <= 64
    said = console.export_text()
    assert "the oldest 2 turns no longer fit into what it reads, and are forgotten" in said
    assert one.turns[1].role == "user"
    assert f"line {11}" in [turn.content for turn in one.turns]


def test_a_line_that_never_fits_is_told_and_forgotten():
    talking, console = chat()
    talking.say("lamp " * 100)
    assert "to leave room for an answer" in console.export_text(clear=False)
    assert talking.voices[0].turns == []
    talking.say("the king")
    assert [turn.role for turn in talking.voices[0].turns] == ["user", "assistant"]


@pytest.mark.parametrize("is_terminal", [False, True])
def test_several_models_answer_each_by_itself(is_terminal):
    talking, console = chat(voice("one"), voice("two"), is_terminal=is_terminal)
    talking.say("the king")
    one, two = talking.voices
    assert one.turns == two.turns  # the same model
    assert one.turns is not two.turns
    said = console.export_text()
    assert "one" in said
    assert "two" in said


class ByLength:
    """A router: short lines to the small one."""

    choices = ("big", "small")

    def check_among(self, names) -> None:
        assert set(self.choices) <= set(names)

    def __call__(self, prompts):
        return iter([Decision("small" if len(prompt[-1].content) < 5 else "big", {}, None, None) for prompt in prompts])


def test_a_router_chooses_line_by_line_and_the_chat_is_one():
    turns: list[Message] = []
    talking, console = chat(voice("big", turns=turns), voice("small", turns=turns), router=ByLength())
    talking.say("the king")
    talking.say("and?")
    said = console.export_text()
    assert said.index("big: ") < said.index("small: ")
    assert [turn.role for turn in turns] == ["user", "assistant"] * 2


class Lost(ByLength):
    def __call__(self, prompts):
        if "lost" in prompts[0][-1].content:
            raise DataError("this router reads no such line")
        return super().__call__(prompts)


def test_a_line_that_nobody_could_read_is_as_if_it_was_not_said():
    turns: list[Message] = []
    talking, _ = chat(voice("big", turns=turns), voice("small", turns=turns), router=Lost())
    with pytest.raises(DataError):
        talking.say("lost")
    assert turns == []
    alone, console = chat()
    for line in ("the king", "\ud800", "and?"):
        with pytest.raises(DataError) if line == "\ud800" else nullcontext():
            alone.say(line)
    assert [turn.role for turn in alone.voices[0].turns] == ["user", "assistant"] * 2
    assert console.export_text().count("model: ") == 2


def test_a_name_of_a_file_that_is_not_there_is_no_prompt():
    with pytest.raises(DataError, match="gone.jsonl: there is no such file"):
        prompts_in("gone.jsonl")
    assert [prompts_in(text)[0][0].content for text in ("what is in gone.jsonl", "king")] == ["what is in gone.jsonl", "king"]


def test_commands_save_and_reset_and_help(tmp_path):
    talking, console = chat(voice("one"), voice("two"), system="be kind")
    with pytest.raises(ConfigError, match="nothing was said yet"):
        talking.say(f"/save {tmp_path / 'chat.jsonl'}")
    talking.say("//etc")
    talking.say(f"/save {tmp_path / 'chat.jsonl'}")
    rows = [json.loads(line) for line in (tmp_path / "chat.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["one", "two"]
    assert [turn["content"] for turn in rows[0]["messages"][:2]] == ["be kind", "/etc"]
    with pytest.raises(ConfigError, match="is there already"):
        talking.say(f"/save {tmp_path / 'chat.jsonl'}")
    talking.say("/reset")
    assert talking.voices[0].turns == [Message("system", "be kind")]
    talking.say("/help")
    assert "/why" in console.export_text()
    for wrong, message in (("/save", "needs a file"), ("/quit", "there is no /quit"), ("/why", "nothing was answered")):
        with pytest.raises(ConfigError, match=message):
            chat()[0].say(wrong)


def test_ctrl_c_ends_an_answer_and_not_the_chat(monkeypatch):
    talking, console = chat(sampling=replace(GREEDY, max_new_tokens=40))
    [one] = talking.voices
    generate = one.engine.generate

    def pressed(*given, on_token, **more):
        def told(place: int, token: int) -> None:
            signal.raise_signal(signal.SIGINT)
            on_token(place, token)

        return generate(*given, on_token=told, **more)

    monkeypatch.setattr(one.engine, "generate", pressed)
    before = signal.getsignal(signal.SIGINT)  # which a shell has processes in the background ignore
    talking.say("the king")
    assert "(stopped)" in console.export_text()
    assert [turn.role for turn in one.turns] == ["user", "assistant"]
    assert signal.getsignal(signal.SIGINT) is before


def test_control_characters_never_reach_the_terminal(monkeypatch):
    talking, console = chat()
    [one] = talking.voices
    monkeypatch.setattr(type(TOKENIZER), "decode", lambda self, ids, skip_special=True: "\x1b[2J\a!" * len(ids))
    talking.say("the king")
    assert "\x1b" not in console.export_text(styles=False)


def test_names_are_as_for_serve_and_router_is_taken(tmp_path):
    save_model(tmp_path / "model", ours("llama"), **FILES)
    assert named([f"a={tmp_path / 'model'}", str(tmp_path / "model")]) == {"a": tmp_path / "model", tmp_path.name: tmp_path / "model"}
    (tmp_path / "my best=one").symlink_to(tmp_path / "model")
    assert named([str(tmp_path / "my best=one")], alone="model") == {"model": tmp_path / "my best=one"}
    assert list(named([f"a={tmp_path / 'model'}"], alone="model")) == ["a"]
    with pytest.raises(ConfigError, match="'router' is what the router is called"):
        named([f"router={tmp_path / 'model'}"])


def test_why_finds_the_text_behind_a_tuned_model(finished, monkeypatch):
    monkeypatch.chdir(finished)
    model = Path("runs/tiny/reinforce/model")
    assert [name for _, name, _ in stages_behind(model)] == ["reinforce", "finetune", "pretrain"]
    assert was_taught_single_turns(model)
    [trace] = texts_behind(model)
    document = next(iter(trace.lineage.shards.values()))
    talking, console = chat(replace_folder(voice("tuned"), model))
    talking.voices[0].answer = trace.tokenizer.decode(document.tokens[2:14])
    talking.say("/why")
    said = console.export_text()
    assert "tuned, pretrain: " in said
    assert "document '" in said


def test_why_says_when_nothing_is_known(tmp_path):
    talking, _ = chat(replace_folder(voice(), tmp_path / "model"))
    talking.voices[0].answer = "x"
    with pytest.raises(ConfigError, match="its pre-training is in no run folder here"):
        talking.say("/why")


def test_a_run_on_another_runs_model_leads_back_to_it(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    machine = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
    data = next(Path("runs/tiny/demonstrate").rglob("*emonstrations*.jsonl"))
    options = {"model": "runs/tiny/finetune/model", "data": str(data), "steps": 1, "seq_len": 96, "machine": machine}
    execute(single("finetune", options), tmp_path / "more", quiet=True)
    found = [(run.name, name) for run, name, _ in stages_behind(tmp_path / "more/finetune/model")]
    assert found == [("more", "finetune"), ("tiny", "finetune"), ("tiny", "pretrain")]


def test_a_proxy_leads_back_to_all_that_it_is_made_of(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    machine = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
    base, expert = "runs/tiny/pretrain/model", "runs/tiny/finetune/model"
    execute(single("proxy", {"base": base, "expert": expert, "anti_expert": base, "machine": machine}), tmp_path / "mixed", quiet=True)
    model = tmp_path / "mixed/proxy/model"
    assert [name for _, name, _ in stages_behind(model)] == ["proxy", "pretrain", "finetune"]
    assert was_taught_single_turns(model)
    [trace] = texts_behind(model)
    assert trace.stage == "pretrain"


def replace_folder(given: Voice, folder: Path) -> Voice:
    given.folder = folder
    return given


def test_a_whole_chat_in_plain_lines(tmp_path, monkeypatch, capsys):
    save_model(tmp_path / "model", ours("llama"), **FILES)
    lines = iter(["the king", "/nothing", "/reset", ""])
    monkeypatch.setattr("rich.console.Console.input", lambda self, prompt: next(lines))
    talk({"one": tmp_path / "model"}, GREEDY, seed=1)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "there is no /nothing; /help lists what there is" in said
    assert "you:" not in said
