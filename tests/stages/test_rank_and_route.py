"""`matches`, `rank` and `route` end to end on files: what they leave, what the report shows, and what a stored router decides."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.nn.io_models import FILES, ours
from trivium.core.errors import ConfigError, DataError
from trivium.nn.io.directory import save_model
from trivium.stages.pipeline import execute
from trivium.stages.recipe import load_recipe, single
from trivium.stages.use.deciding import decisions
from trivium.studies.routing import planted_matches
from trivium.text.read import read_matches, read_preferences
from trivium.text.records import plain_match

MACHINE = {"threads": 1, "precision": "float32", "compile": "off", "ceiling": 5e10, "kernels": "torch"}
QUICK = {"dim": 6, "routers": ["random", "similarity", {"kind": "matrix", "epochs": 5}, {"kind": "classifier", "epochs": 5}, "preference"]}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("matches.jsonl", [plain_match(match) for match in planted_matches(effect=1.5, seed=1, prompts=240)])
    return tmp_path


def write(path: str, rows: list[dict]) -> None:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(kind: str, **options) -> Path:
    execute(single(kind, {"machine": MACHINE, **options}), Path("out"), quiet=True)
    return Path("out") / kind


def log() -> str:
    return Path("out/log.txt").read_text()


def test_rank_leaves_a_table_and_a_section_of_the_report():
    folder = run("rank", data="matches.jsonl", resamples=20)
    found = json.loads((folder / "ranking.json").read_text())
    assert [place["model"] for place in found["places"]] == ["strong", "weak"]
    assert found["places"][0]["low"] < found["places"][0]["rating"] < found["places"][0]["high"]
    assert (folder / "table.csv").read_text().startswith("model,rank,rating,low,high")
    measures = [row["measure"] for row in json.loads(Path("out/results.json").read_text())]
    assert measures == ["bradley_terry_accuracy", "elo_accuracy"]
    page = Path("out/report.html").read_text()
    assert "Ranking of models" in page
    assert "Bradley-Terry (a draw is half a win)" in page
    assert "95 % interval" in log()


def test_rank_flags_an_attack_and_ranks_it_when_trusted():
    rows = [
        {"model_a": model, "model_b": "base", "score": score, "prompt": f"q{n}", "answers": [said.format(n), f"base {n}"]}
        for n in range(12) for model, score, said in (("null", 1, "I win."), ("a", n % 2, "a {}"), ("b", (n + 1) % 3 > 0, "b {}"))
    ]  # fmt: skip
    write("attack.jsonl", [{**row, "score": float(row["score"])} for row in rows])
    found = json.loads((run("rank", data="attack.jsonl", resamples=20) / "ranking.json").read_text())
    assert found["flagged"] == [{"model": "null", "reason": "gave the same answer to 12 of 12 prompts, as no other model did"}]
    assert "null" not in [place["model"] for place in found["places"]]
    assert [rate["model"] for rate in found["win_rates"]] == ["null", "b", "a"]
    assert "Not ranked: null" in Path("out/report.html").read_text()
    found = json.loads((run("rank", data="attack.jsonl", resamples=20, trust="null", control=["length"]) / "ranking.json").read_text())
    assert found["places"][0]["model"] == "null"
    assert list(found["style"]) == ["length"]


def test_route_measures_every_router_and_keeps_them():
    folder = run("route", data="matches.jsonl", costs={"strong": 10.0, "weak": 1.0}, share=0.4, **QUICK)
    found = json.loads((folder / "routing.json").read_text())
    assert (found["strong"], found["weak"]) == ("strong", "weak")
    assert found["routers"]["random"]["worth"]["apgr"] == 0.5
    assert all(one["worth"]["apgr"] <= found["oracle"]["apgr"] for one in found["routers"].values())
    assert found["routers"]["preference"]["worth"]["apgr_low"] > 0.5
    assert found["routers"]["preference"]["share"]["measured"] == pytest.approx(0.4, abs=0.25)
    assert len(found["routers"]["similarity"]["spent"]) > 10
    assert "foresees who wins on held-out prompts" in found["verdict"]
    told = log()
    for kind in (*found["routers"], "oracle"):  # APGR and CPT with their intervals, of every router
        assert re.search(rf"{kind} .*apgr -?[\d.]+ \[-?[\d.]+, -?[\d.]+\]  cpt_50 [\w.]+ \[[\w.]+, [\w.]+\]  cpt_80 ", told), kind
    assert "published: matrix factorisation, Arena and judge data, on MT-bench: apgr 0.802  cpt_50 0.134  cpt_80 0.313" in told
    assert found["verdict"] in told
    page = Path("out/report.html").read_text()
    assert "gap recovered against share of strong calls" in page
    assert "Published beside it" in page
    assert {row["stage"] for row in json.loads(Path("out/results.json").read_text())} == {
        "random", "similarity", "matrix", "classifier", "preference", "oracle"
    }  # fmt: skip
    lines = [json.loads(line) for line in decisions(Path("out"), "python function loop compile", share=0.5)]
    assert [line["model"] for line in lines] == ["strong"]
    write("asked.jsonl", [{"prompt": "poem garden story music"}, {"prompt": "python class error"}])
    chosen = [json.loads(line)["model"] for line in decisions(folder / "router", "asked.jsonl", kind="preference", share=0.5)]
    assert chosen == ["weak", "strong"]


def test_route_reads_prompts_with_a_model_and_asks_a_language_model(place):
    save_model(place / "base", ours("llama"), **FILES)
    save_model(place / "judge", ours("llama", has_scalar=True), **FILES)
    write("few.jsonl", [plain_match(match) for match in planted_matches(effect=1.5, seed=1, prompts=40)])
    routers = ["random", "preference", {"kind": "language_model", "model": "judge"}]
    folder = run("route", data="few.jsonl", model="base", routers=routers, dim=4)
    found = json.loads((folder / "routing.json").read_text())
    assert found["features"] == "hidden states of base"
    assert set(found["routers"]) == {"random", "preference", "language_model"}
    assert json.loads((folder / "router/router.json").read_text())["embedding"] == "base"
    [line] = decisions(Path("out"), "python loop")
    assert json.loads(line)["model"] in ("strong", "weak")


def test_mean_states_do_not_depend_on_the_neighbours(place):
    from trivium.core.types import Message
    from trivium.stages.computing.embedding import mean_states
    from trivium.stages.computing.models import Speaker
    from trivium.stages.machine import Machine

    save_model(place / "base", ours("llama"), **FILES)
    speaker = Speaker.load(place / "base", Machine(precision="float32", kernels="torch"))
    prompts = [(Message("user", text),) for text in ("king", "of the land and the sea", "night")]
    together, alone = mean_states(speaker, prompts), [mean_states(speaker, [prompt])[0] for prompt in prompts]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)
    assert together.shape == (3, speaker.model.config.hidden_size)


def test_matches_of_our_own_judge_are_split_by_prompt_and_become_pairs_of_names():
    def scored(prompt: str, scores: tuple[float, ...]) -> dict:
        return {
            "prompt": [{"role": "user", "content": prompt}], "responses": [f"{prompt} {score}" for score in scores],
            "scores": list(scores), "stopped": [True] * len(scores), "tokens": [1] * len(scores),
        }  # fmt: skip

    write("big.jsonl", [scored(f"q{n}", (1, n % 2)) for n in range(8)])
    write("small_1.jsonl", [scored(f"q{n}", (0, 1)) for n in range(5)])
    write("small_2.jsonl", [scored(f"q{n}", (0, 0)) for n in range(5, 8)])
    folder = run("matches", scored={"small": ["small_1.jsonl", "small_2.jsonl"], "big": "big.jsonl"}) / "split"
    train, heldout = list(read_matches(folder / "train.jsonl")), list(read_matches(folder / "heldout.jsonl"))
    assert (len(train), len(heldout)) == (6, 2)
    assert not {match.prompt for match in train} & {match.prompt for match in heldout}
    by_prompt = {match.prompt[0].content: match for match in train + heldout}
    assert by_prompt["q1"].models == ("small", "big")
    assert by_prompt["q1"].score == 0.25  # of four pairs of answers two are won by big, two are equal
    assert by_prompt["q0"].score == 0.5
    assert by_prompt["q5"].values == (0, 1)
    pairs = [*read_preferences(folder / "pairs.jsonl"), *read_preferences(folder / "heldout_pairs.jsonl")]
    assert {pair.responses for pair in pairs} == {("big", "small")}
    assert len(pairs) == sum(match.score != 0.5 for match in by_prompt.values())
    assert {pair.meta["prob"] for pair in pairs} == {0.75, 1.0}


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("rank", {"data": "nowhere.jsonl"}, "nowhere.jsonl: there is no such file"),
        ("rank", {"data": "matches.jsonl", "ties": "rao_kupper"}, "no match is one; set ties=half"),
        ("rank", {"data": "matches.jsonl", "anchor": "gpt"}, "'gpt' is in no match; the models are: strong, weak"),
        ("rank", {"data": "matches.jsonl", "control": ["length"]}, "matches have no answers"),
        ("rank", {"data": "matches.jsonl", "anchor_rating": 5}, "anchor_rating is 5, but of no model; name it"),
        ("rank", {"data": "matches.jsonl", "anchor": "weak", "anchor_rating": float("nan")}, "'anchor_rating' is nan"),
        ("rank", {"data": "matches.jsonl", "trust": "wek"}, "'wek' is in no match; the models are: strong, weak"),
        ("route", {"data": "matches.jsonl", "strong": "x", "weak": "x"}, "strong and weak are both 'x'"),
        ("route", {"data": "matches.jsonl", "costs": {"strong": -1.0, "weak": 1.0}}, "'costs.strong' is -1"),
        ("route", {"data": "matches.jsonl", "routers": ["preference"]}, "routers must have 'random'"),
        ("route", {"data": "matches.jsonl", "routers": ["random", "random"]}, "each kind once"),
        ("route", {"data": "matches.jsonl", "strong": "strong"}, "strong and weak go together"),
        ("route", {"data": "matches.jsonl", "budget": 2.0}, "budget is a mean price; give costs"),
        ("route", {"data": "matches.jsonl", "costs": {"strong": 1.0}}, "costs has no price for weak"),
        ("route", {"data": "matches.jsonl", "costs": {"strong": 9.0, "weak": 1.0}, "budget": 12.0}, "an answer costs 1 .weak. to 9"),
        ("route", {"data": "matches.jsonl", "strong": "weak", "weak": "strong"}, "no gap to recover; swap them"),
        ("route", {"data": "blind.jsonl"}, "no match has a prompt"),
        ("matches", {}, "give data=FILE with matches, or scored.NAME=FILE"),
        ("matches", {"scored": {"a": "one.jsonl", "b": "two.jsonl"}}, "prompt 1 is not the same in all of scored"),
    ],
)
def test_what_is_wrong_is_one_line(kind, options, problem):
    write("blind.jsonl", [{"model_a": "a", "model_b": "b", "winner": "tie"}])
    for name in ("one", "two"):
        write(f"{name}.jsonl", [{"prompt": [{"role": "user", "content": name}], "responses": ["x"], "scores": [1], "stopped": [True]}])
    with pytest.raises((ConfigError, DataError), match=problem):
        run(kind, **{**options, **({"routers": ["random"]} if kind == "route" and "routers" not in options else {})})


def test_decisions_say_what_they_need(place):
    with pytest.raises(ConfigError, match="holds no router"):
        list(decisions(place, "hello"))
    with pytest.raises(ConfigError, match="share is 2"):
        list(decisions(place, "hello", share=2.0))
    with pytest.raises(ConfigError, match="give one of them"):
        list(decisions(place, "hello", share=0.5, price=1.0))


def test_the_recipe_is_one():
    recipe = load_recipe("routing", {})
    assert recipe.stages["route"].routers[-1].kind == "language_model"


def test_the_same_seed_leaves_the_same_bytes():
    for out in ("first", "second"):
        for kind, options in (("rank", {"resamples": 20}), ("route", QUICK)):
            execute(single(kind, {"machine": MACHINE, "data": "matches.jsonl", **options}), Path(out) / kind, quiet=True)
    for name in (
        "rank/rank/ranking.json",
        "route/route/routing.json",
        "route/route/router/weights.safetensors",
        "route/route/router/router.json",
    ):
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes()


def test_three_models_with_prices_are_foreseen_and_priced_without_a_pair():
    draw, rows = np.random.default_rng(1), []
    for number in range(120):
        topic = number % 2
        worth = {
            "small": float(draw.random() < (0.9 if topic else 0.1)),
            "middle": float(draw.random() < 0.5),
            "large": float(draw.random() < 0.8),
        }
        rows.append({"prompt": f"{'poem song verse' if topic else 'python loop code'} {number}", "values": worth})
    write("worth.jsonl", rows)
    costs = {"small": 1.0, "middle": 3.0, "large": 10.0}
    found = json.loads((run("route", data="worth.jsonl", costs=costs, **QUICK) / "routing.json").read_text())
    assert (found["strong"], found["oracle"]) == ("", None)
    spent = {kind: one["spent"] for kind, one in found["routers"].items()}
    cheap = [point["quality"] for point in spent["preference"] if point["cost"] <= 6.5]
    assert max(cheap) > max(point["quality"] for point in spent["random"] if point["cost"] <= 6.5)
    [line] = [json.loads(line) for line in decisions(Path("out"), "poem song verse", kind="preference", price=0.05)]
    assert line["model"] == "small"
    assert set(line["chances"]) == set(costs)
    with pytest.raises(ConfigError, match="without a strong and a weak model; route by price"):
        list(decisions(Path("out"), "poem"))
    assert "worth of an answer against its mean price" in Path("out/report.html").read_text()
