"""A run can be looked back at from its folder alone: what a step saw, who saw a document, and whether it was really that."""

import json
import shutil
from pathlib import Path

import pytest

from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.run import METRICS
from trivium.core.seeds import generator
from trivium.core.types import Document
from trivium.stages.use.traces import Shown, pattern_of
from trivium.stages.use.tracing import Trace
from trivium.text.shards import write_shard
from trivium.text.tokenizer import Tokenizer, train_bpe

STEPS, ROWS = 8, 4
OPTIONS = ("depth=1", "width=32", "seq_len=32", f"batch_tokens={ROWS * 32}", f"steps={STEPS}", "evaluate_every=100", "evaluate_rows=2")
OPTIONS += ("machine.threads=1", "machine.precision=float32", "machine.compile=off", "machine.ceiling=5e10")
MIXED = ("mix.web.tokens=web", "mix.web.weight=0.75", "mix.books.tokens=books", "mix.books.weight=0.25", "mix.books.max_epochs=4")
WORDS = ("lamp", "river", "stone", "garden", "window", "letter", "basket", "bridge", "kettle", "ladder")


def texts(count: int, purpose: str) -> list[Document]:
    draw = generator(1, purpose)
    return [
        Document(" ".join(draw.choice(WORDS, draw.integers(5, 60))), f"{purpose} {number}", f"{purpose}.txt") for number in range(count)
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, heavy) -> Path:
    """Token shards in web and books, a run on web alone and one on both."""
    folder = tmp_path_factory.mktemp("tracing")
    tokenizer = train_bpe([document.text for document in texts(40, "web")], 300)
    for name, count in (("web", 40), ("books", 20)):
        tokenizer.save(folder / name / "tokenizer.json")
        write_shard(folder / name / "train", texts(count, name), tokenizer)
        write_shard(folder / name / "heldout", texts(5, f"{name} heldout"), tokenizer)
    for name, read in (("alone", ("tokens=web",)), ("mixed", MIXED)):
        ended = heavy.run(["pretrain", *read, *OPTIONS, "--out", name, "--quiet"], folder)
        assert ended.code == 0, ended.err
    return folder


@pytest.fixture(params=["alone", "mixed"])
def trace(runs, request, monkeypatch) -> Trace:
    monkeypatch.chdir(runs)
    return Trace.open(Path(request.param))


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / METRICS).read_text().splitlines()]


def test_every_step_has_the_digest_of_what_the_order_gives(trace):
    rows = rows_of(trace.folder)
    assert [row["data_xxh3"] for row in rows] == [trace.order.digest(step) for step in range(STEPS)]
    assert trace.verify().steps == STEPS
    assert trace.verify().sha256 == trace.order.sha256(0, STEPS)


def test_show_prints_all_tokens_of_a_step_with_their_documents(trace):
    for step in (1, STEPS):
        head, *shown = trace.show(step)
        assert (head.digest, head.rows, head.seq_len) == (head.logged, ROWS, 32)
        assert "as logged" in str(head)
        for row in range(ROWS):
            parts = [part for part in shown if part.row == row]
            assert [str(part) for part in trace.show(step, row)] == [str(part) for part in parts]
            assert sum(part.last - part.first + 1 for part in parts) == 32
            text = trace.tokenizer.decode(trace.order.row((step - 1) * ROWS + row))
            assert "".join(part.text for part in parts) == text


def test_where_inverts_show(trace):
    """What `where` says of a document is all that `show` says of it, step by step."""
    shown = [part for step in range(1, STEPS + 1) for part in trace.show(step) if isinstance(part, Shown)]
    for name in {part.document for part in shown}:
        origin, *seen = trace.where(name)
        assert {(each.step, each.row, each.first, each.last) for each in seen} == {
            (part.step, part.row, part.first, part.last) for part in shown if part.document == name
        }
        assert origin.source == f"{name.split()[0]}.txt"
    assert len({part.document for part in shown}) > 10


def test_a_document_that_was_not_read_yet_is_in_no_row(runs, monkeypatch):
    monkeypatch.chdir(runs)
    trace = Trace.open(Path("alone"))
    shown = {part.document for step in range(1, STEPS + 1) for part in trace.show(step) if isinstance(part, Shown)}
    unseen = next(document.id for document in texts(40, "web") if document.id not in shown)
    [origin] = trace.where(unseen)
    assert "in 0 rows so far" in str(origin)


def test_grep_finds_what_is_in_the_text(trace):
    found = list(trace.grep("lamp", 2, 5))
    expected = [
        (part.step, part.row, part.document, part.text.count("lamp"))
        for step in range(2, 6)
        for part in trace.show(step)
        if isinstance(part, Shown) and "lamp" in part.text
    ]
    assert [(each.step, each.row, each.document, each.count) for each in found] == expected
    assert all("lamp" in str(each) for each in found)


@pytest.mark.parametrize(
    ("term", "text", "count"),
    [
        ("12", "12, 12. (12) a12 128 3.12 12,000 12.5 12", 4),
        ("art", "art party art's smart Art", 2),
        ("é", "é café", 1),
        ("a.c", "a.c abc", 1),
        ("$5", "$5 US$5 $50", 1),
    ],
)
def test_exact_is_a_word_or_number_of_its_own(term, text, count):
    assert len(pattern_of(term, is_exact=True).findall(text)) == count


def test_trace_finds_where_a_phrase_was_read(trace):
    number = next(number for number, document in enumerate(texts(40, "web")) if len(document.text.split()) > 30)
    phrase = " ".join(texts(40, "web")[number].text.split()[5:15])
    first = next(iter(trace.trace(f"He said: {phrase} zzz", shortest=4)))
    assert first.text.strip() == phrase
    assert [document for document, *_ in first.where] == [f"web {number}"]
    steps = first.where[0][3]
    decoded = [" ".join(part.text for part in trace.show(step) if isinstance(part, Shown)) for step in range(1, STEPS + 1)]
    assert steps == [step for step in range(1, STEPS + 1) if phrase in decoded[step - 1]]
    assert not list(trace.trace("qqq xxx zzz"))


def test_a_mixture_is_read_in_its_proportions_and_says_how_often(runs, monkeypatch):
    monkeypatch.chdir(runs)
    trace = Trace.open(Path("mixed"))
    assert trace.order.source.counts_at(STEPS * ROWS).tolist() == [8, 24]
    assert {"bits_per_byte", "bits_per_byte_web", "bits_per_byte_books"} <= set(rows_of(Path("mixed"))[0])
    log = (runs / "mixed" / "log.txt").read_text()
    assert "epochs of" in log
    assert "(books), " in log


def test_more_epochs_than_allowed_are_refused_before_training(runs, heavy):
    words = [*MIXED[:-1], "mix.books.max_epochs=0.1"]
    ended = heavy.run(["pretrain", *words, *OPTIONS, "--out", "refused"], runs)
    assert ended.code == 2
    assert "'mix.books': 8 steps read" in ended.err.splitlines()[-1]
    assert "max_epochs is 0.1; lower its weight or steps" in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steps=3"], "give either tokens=FOLDER or mix.NAME.tokens=FOLDER"),
        (["tokens=web", *MIXED], "and not both"),
        (["mix.web.tokens=web"], "'mix.web.weight' is missing"),
        (["mix.web.tokens=web", "mix.web.weight=0"], "'mix.web.weight' is 0"),
        (["mix.web.tokens=web", "mix.web.wieght=1"], "unknown option 'mix.web.wieght'; did you mean 'mix.web.weight'?"),
        ([*MIXED[:3], "mix.books.weight=0.1234567"], "write them with fewer digits"),
        ([*MIXED[:2], "mix.books.tokens=none", MIXED[3]], "none/train: there is no manifest.json"),
    ],
)
def test_mistakes_in_a_mixture_are_one_line(words, message, light, runs):
    ended = light.run(["pretrain", *words, "--out", "refused"], runs)
    assert ended.code in (2, 4), ended.err
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert not ended.loaded_torch


@pytest.mark.parametrize(
    "words",
    [
        ["show", "--step", "2"],
        ["show", "--step", "2", "--row", "1"],
        ["where", "--doc", "web 3"],
        ["grep", "lamp", "--steps", "1:3", "--exact"],
        ["verify"],
        ["trace", "a lamp river stone garden", "--shortest", "2"],
    ],
)
def test_the_commands_print_lines_or_json_without_torch(words, light, runs):
    said = light.run(["data", words[0], "mixed", *words[1:]], runs)
    assert (said.code, said.err, said.loaded_torch) == (0, "", False)
    assert said.out.strip()
    written = light.run(["data", words[0], "mixed", *words[1:], "--json"], runs)
    assert written.code == 0
    assert all(isinstance(json.loads(line), dict) for line in written.out.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trace", "alone", "qqq xxx zzz"], "no phrase of 6 tokens is in the training text\n"),
        (["grep", "alone", "zzz"], "no row has 'zzz'\n"),
    ],
)
def test_that_nothing_was_found_is_said_to_people_only(words, said, light, runs):
    ended = light.run(["data", *words], runs)
    assert (ended.code, ended.out, ended.err) == (0, said, "")
    assert light.run(["data", *words, "--json"], runs).out == ""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "nowhere", "--step", "1"], 4, "nowhere: is no run folder"),
        (["show", "alone", "--step", "9"], 2, "step is 9; pretrain has steps 1 to 8"),
        (["show", "alone", "--step", "1", "--row", "4"], 2, "row is 4; step 1 has rows 0 to 3"),
        (["where", "alone", "--doc", "web 400"], 3, "no training document has the id 'web 400'"),
        (["grep", "alone", "lamp", "--steps", "3"], 2, "'steps' is '3'; it is a range such as 100:200"),
        (["grep", "alone", "lamp", "--steps", "5:3"], 2, "the first may not be after the last"),
        (["grep", "alone", "lamp", "--steps", "3:9"], 2, "'steps' is '3:9'; pretrain has taken steps 1 to 8"),
        (["grep", "alone", "lamp", "--steps", "0:3"], 2, "pretrain has taken steps 1 to 8"),
        (["grep", "alone", "", "--steps", "1:2"], 2, "the term is empty"),
        (["verify", "alone", "--stage", "pretrian"], 2, "no pre-training stage is called 'pretrian'; did you mean 'pretrain'?"),
    ],
)
def test_mistakes_are_one_line(words, code, message, light, runs):
    ended = light.run(["data", *words], runs)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("name", ["web/train/tokens.bin", "web/train/tokens.idx", "web/train/docs.parquet", "web/train/manifest.json"])
def test_a_changed_bit_in_what_was_read_is_named(name, light, runs, tmp_path):
    copy = Path(shutil.copytree(runs, tmp_path / "copy"))
    content = bytearray((copy / name).read_bytes())
    content[len(content) * 2 // 3] ^= 1
    (copy / name).write_bytes(content)
    ended = light.run(["data", "verify", "mixed"], copy)
    assert ended.code == 4
    assert ended.err.startswith(f"trivium: {name}: ")


def test_other_text_in_the_place_of_what_was_read_is_found(light, runs, tmp_path):
    """A shard that is whole, but not the one that the run was trained on."""
    copy = Path(shutil.copytree(runs, tmp_path / "copy"))
    write_shard(copy / "books" / "train", [*texts(19, "books"), Document("lamp " * 40, "new")], Tokenizer.load(copy / "books"))
    ended = light.run(["data", "verify", "mixed"], copy)
    assert ended.code == 4
    assert "was trained on other tokens than its shards and run.toml give now" in ended.err


def test_a_run_from_before_digests_says_so(runs, tmp_path, monkeypatch):
    copy = Path(shutil.copytree(runs, tmp_path / "copy"))
    monkeypatch.chdir(copy)
    old = [{name: value for name, value in row.items() if name != "data_xxh3"} for row in rows_of(Path("alone"))]
    (copy / "alone" / METRICS).write_text("".join(json.dumps(row) + "\n" for row in old))
    with pytest.raises(ArtefactError, match=r"metrics\.jsonl has no digest of step 1 of pretrain, nor of 7 other steps"):
        Trace.open(Path("alone")).verify()
    (copy / "alone" / METRICS).write_text("")
    with pytest.raises(DataError, match="has not recorded a step yet"):
        Trace.open(Path("alone")).verify()


def test_a_run_without_pretraining_is_refused(tmp_path):
    (tmp_path / "run.toml").write_text('name = "x"\n[stages.prepare]\nsources = ["a.txt"]\n')
    with pytest.raises(ConfigError, match="no stage of this run is pre-training"):
        Trace.open(tmp_path)


def test_what_a_text_says_cannot_move_the_cursor(trace):
    shown = Shown(1, 0, "a\x1b[2J", "", "b\n", 0, 1, 2, "one\x1b[31m\ntwo\x07")
    assert "\x1b" not in str(shown)
    assert "\x07" not in str(shown)
    assert all(line.startswith("    ") for line in str(shown).splitlines()[-2:])
