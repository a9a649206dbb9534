import re
from html.parser import HTMLParser

import pytest

from tests.report.fake_run import HOSTILE, STAGES, metric_rows, write_fake_run, write_json, write_rows
from trivium.report import write_report

TEXT = {
    "h1",
    "h2",
    "h3",
    "p",
    "b",
    "a",
    "span",
    "header",
    "blockquote",
    "pre",
    "dl",
    "dt",
    "dd",
    "details",
    "summary",
    "figure",
    "figcaption",
}
DRAWN = {"svg", "desc", "text", "line", "rect", "circle", "path"}
FRAME = {"html", "head", "meta", "title", "style", "body", "main", "nav", "section", "div", "table", "thead", "tbody", "tr", "th", "td"}
ALLOWED = TEXT | DRAWN | FRAME


class Elements(HTMLParser):
    """Collects every start tag with its attributes, all text, and checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_the_report_of_a_whole_run_leaves_nothing_out(tmp_path):
    text = read(write_fake_run(tmp_path / "quick"))
    assert "Left out" not in text
    for words in ("11 min 14 s", "13.6K documents", "1.412", "1.400 to 1.424", "trivium run runs/quick/run.toml", "AMD EPYC", *STAGES):
        assert words in text


def test_the_report_asks_the_network_for_nothing(tmp_path):
    text = read(write_fake_run(tmp_path, num_steps=5))
    page = Elements(text)
    assert {tag for tag, _ in page.found} <= ALLOWED
    assert not page.open
    assert all(value.startswith("#") for _, attributes in page.found for name, value in attributes.items() if name in ("href", "src"))
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert "url(" not in text
    assert "@import" not in text
    policy = next(attributes for tag, attributes in page.found if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_hostile_text_is_text_wherever_it_comes_from(tmp_path):
    (tmp_path / "run.toml").write_text("# </pre><script>", encoding="utf-8")
    named = dict.fromkeys(("name", "about", "seed", "started"), HOSTILE)
    write_json(tmp_path / "manifest.json", {**named, "machine": {HOSTILE: HOSTILE}, "versions": {HOSTILE: [HOSTILE]}})
    write_rows(tmp_path / "metrics.jsonl", [{"stage": HOSTILE, "step": step, HOSTILE: 1.0, "reward": 1, "kl": step} for step in (1, 2)])
    results = [{"stage": stage, "measure": HOSTILE, "value": 1, "low": 0, "high": 2} for stage in (HOSTILE, "other")]
    write_json(tmp_path / "results.json", results)
    dropped = [{"reason": HOSTILE, "documents": 1, "samples": [HOSTILE]}]
    replaced = {HOSTILE: {"count": 2, "documents": 1, "samples": [HOSTILE]}, "phone": {"count": "many"}, "ip": 3}
    write_json(tmp_path / "prepare/funnel.json", {"read": {"documents": 2}, "dropped": dropped, "replaced": replaced})
    write_json(tmp_path / "evaluate/samples.json", [dict.fromkeys(("stage", "prompt", "response"), HOSTILE)])
    write_json(tmp_path / "evaluate/done.json", {"facts": {"seconds": 1, "tokens": "many"}})
    text = read(tmp_path)
    page = Elements(text)
    assert {tag for tag, _ in page.found} <= ALLOWED
    assert not page.open
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_what_was_sampled_and_selected_is_told_and_drawn(tmp_path):
    shown = "".join(Elements(read(write_fake_run(tmp_path, num_steps=3))).text)
    assert "600 answers to 300 prompts; 'threshold' kept 120 of them as 120 conversations of 100 prompts. 12 were cut off" in shown
    assert "200 prompts gave none: no answer scores 1 and ended by itself." in shown
    assert "The best of 2 answers is at most log k - (k - 1)/k = 0.193 nats away" in shown
    assert "score: from 0.250 to 0.500; true score: from 0.250 to 0.500" in shown
    assert "score 1.000: 120 answers; kept: 120" in shown


def test_what_was_replaced_in_the_text_is_counted_and_shown(tmp_path):
    shown = "".join(Elements(read(write_fake_run(tmp_path, num_steps=3))).text)
    assert "replaced: email, 41 times in 30 documents" in shown
    assert "write to xxx@xxxx.xxx" in shown


def test_an_empty_run_folder_gives_a_page_that_says_what_is_missing(tmp_path):
    text = read(tmp_path)
    assert text.count("Left out:") == 10
    assert "run.toml is not in this run folder" in text


@pytest.mark.parametrize(
    "name", ["manifest.json", "metrics.jsonl", "speed.jsonl", "results.json", "run.toml", "prepare/funnel.json", "evaluate/samples.json"]
)
def test_any_one_file_may_be_missing(tmp_path, name):
    (write_fake_run(tmp_path, num_steps=3) / name).unlink()
    assert not Elements(read(tmp_path)).open


def test_files_whose_keys_are_missing_still_give_a_page(tmp_path):
    write_json(tmp_path / "manifest.json", {"machine": "a laptop", "versions": None})
    results = [{"stage": "a", "measure": "loss"}, {"stage": "b", "measure": "loss", "value": 1, "low": 0, "high": 2}]
    write_json(tmp_path / "results.json", results)
    write_json(tmp_path / "prepare/funnel.json", {"dropped": 3, "kept": {"bytes": 1}, "read": {"documents": 0}})
    samples = [{"stage": "a", "prompt": "p", "response": ""}, {"stage": "b", "prompt": "q", "response": "r"}]
    write_json(tmp_path / "evaluate/samples.json", samples)
    write_json(tmp_path / "a/done.json", {"facts": {"seconds": 0, "tokens": 5}})
    assert "(empty)" in read(tmp_path)


def test_rewards_on_different_scales_get_axes_of_their_own(tmp_path):
    rows = metric_rows("reinforce", 50)
    write_rows(tmp_path / "metrics.jsonl", rows)
    assert "reward model and true reward against step" in read(tmp_path)
    write_rows(tmp_path / "metrics.jsonl", [{**row, "reward": 100 * row["reward"]} for row in rows])
    text = read(tmp_path)
    assert "reward model and true reward" not in text
    assert "true reward against KL to the reference" in text


def test_values_that_are_not_finite_are_counted(tmp_path):
    write_fake_run(tmp_path, num_steps=100)
    assert "2 of 100 values are not finite" in read(tmp_path)


def test_the_same_folder_gives_the_same_page(tmp_path):
    write_fake_run(tmp_path, num_steps=5)
    assert read(tmp_path) == read(tmp_path)
