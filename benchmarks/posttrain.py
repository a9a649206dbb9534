"""python -m benchmarks.posttrain: SFT, DPO, reward model and GRPO, ours against TRL in its default and its best settings, on a CPU.

The same data, tokens an update and number of updates: SmolLM2-135M, and a Llama of 17M with random weights. First every setting of TRL
makes an update alone, which finds its best one; then its default, its best and ours take turns. `peak GiB` is that of the whole process.
Left out: how good the models become; the losses are the same (benchmarks.parity).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import conversations
from benchmarks.ceiling import hopeless, matmul_flops, training_shapes
from benchmarks.contest import PEERS, Contestant, Score, one_by_one, take_turns
from benchmarks.environment import TRL
from benchmarks.sample import model_folder
from benchmarks.table import Line, Work, report
from trivium.core.errors import ResourceError
from trivium.core.world import cache_folder, num_cores, prepare_environment
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token
from trivium.nn.io.config_json import read_config

SEQ_LEN, SEED = 512, 1
PROMPT, NEW_TOKENS, PAIR = 64, 64, 256
UPDATES = 12  # whose data is there; then it begins again
LLAMA_17M = {
    "vocab_size": 8192, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6,
    "intermediate_size": 1024, "max_position_embeddings": 1024, "tie_word_embeddings": False,
}  # fmt: skip
UNITS = {"sft": "tokens/s", "dpo": "pairs/s", "reward": "pairs/s", "grpo": "new tokens/s"}
GOALS = {"sft": (3.5, 2.0), "dpo": (2.0, 2.0), "reward": (2.0, 2.0), "grpo": (3.0, 3.0)}  # times TRL's default, its best

FLOAT32, FAST = {"bf16": False, "gradient_checkpointing": False}, {"gradient_checkpointing": False}
PACKED = {"packing": True}
DEFAULT = "TRL, default"
PEER_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "sft": {
        DEFAULT: {},
        "TRL, float32": FLOAT32,
        "TRL, bf16": FAST,
        "TRL, float32, packing": FLOAT32 | PACKED,
        "TRL, bf16, packing": FAST | PACKED,
        "TRL, bf16, padding-free": FAST | {"padding_free": True, "max_length": None},
        "TRL, bf16, packing, compiled": FAST | PACKED | {"torch_compile": True, "pad_to_multiple_of": SEQ_LEN},
    },
    "dpo": {
        DEFAULT: {},
        "TRL, float32": FLOAT32,
        "TRL, bf16": FAST,
        "TRL, bf16, precomputed": FAST | {"precompute_ref_log_probs": True},
        "TRL, bf16, compiled": FAST | {"torch_compile": True},
    },
    "reward": {DEFAULT: {}, "TRL, float32": FLOAT32, "TRL, bf16": FAST, "TRL, bf16, compiled": FAST | {"torch_compile": True}},
    "grpo": {
        DEFAULT: {},
        "TRL, float32": FLOAT32,
        "TRL, bf16": FAST,
        "TRL, bf16, static cache": FAST | {"cache_implementation": "static"},
        "TRL, bf16, continuous batching": FAST | {"use_transformers_continuous_batching": True},
    },
}
OURS: dict[str, dict[str, Any]] = {"trivium": {}}
OUR_SAMPLERS: dict[str, dict[str, Any]] = {"trivium": {}, "trivium, int8 sampler": {"precision": "int8"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model and how much of each work is an update. prompts, answers: of GRPO. micro_batch_rows: rows that ours takes at a time."""

    vocab_size: int
    conversations: int
    pairs: int = 4
    prompts: int
    answers: int
    peer_rows: int
    micro_batch_rows: int

    def rows(self, work: str) -> int:
        """What an update of a work counts: conversations, pairs or prompts."""
        return {"sft": self.conversations, "dpo": self.pairs, "reward": self.pairs, "grpo": self.prompts}[work]


SIZES = {
    "smollm2": Size(vocab_size=49_152, conversations=8, prompts=4, answers=4, peer_rows=8, micro_batch_rows=2),
    "17m": Size(vocab_size=8192, conversations=32, prompts=16, answers=8, peer_rows=8, micro_batch_rows=8),
}


def model_of(name: str) -> Path:
    """The Hugging Face directory that both sides load."""
    if name == "smollm2":
        from trivium.text.assets import fetch

        return model_folder(fetch("smollm2"))
    folder = cache_folder() / "benchmarks" / "llama-17m"
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        command = [str(TRL.python()), str(PEERS / "make_llama.py"), json.dumps(LLAMA_17M), str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ResourceError(f"the model of 17M cannot be made ({(done.stderr.splitlines() or ['?'])[-1][:200]})")
        unfinished.rename(folder)
    return folder


def rows_of(work: str, size: Size, lengths: conversations.Lengths) -> list[conversations.Row]:
    """The data of a work."""
    if work == "sft":
        return conversations.demonstrations(lengths, size.vocab_size, SEED)
    if work == "grpo":
        return conversations.prompts(UPDATES * size.prompts, PROMPT, size.vocab_size, SEED)
    return conversations.pairs(UPDATES * size.pairs, PAIR // 2, PAIR // 2, size.vocab_size, SEED)


def peer_settings(work: str, size: Size, settings: dict[str, Any], mean_length: float) -> dict[str, Any]:
    """TRL's options for an update of this work, in micro-batches that suit it."""
    if settings.get("packing"):  # rows of about seq_len, one at a time: flattened into one they would look at each other's masks
        rows = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": round(size.conversations * mean_length / SEQ_LEN)}
    elif work == "sft":
        rows = {"per_device_train_batch_size": size.peer_rows, "gradient_accumulation_steps": size.conversations // size.peer_rows}
    elif work == "grpo":
        answers = size.prompts * size.answers
        rows = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": answers // 16}
    else:
        rows = {"per_device_train_batch_size": size.pairs}
    longest = {} if work == "grpo" else {"max_length": SEQ_LEN}
    return longest | rows | settings


def contestants(
    work: str, name: str, data: Path, mean_length: float, peers: Sequence[str], clock: str = "wall", has_int8: bool = False
) -> list[Contestant]:
    """Ours, and TRL in the settings of these names. has_int8: of GRPO also with a sampler in int8."""
    size = SIZES[name]
    common = {
        "work": work, "model": str(model_of(name)), "data": str(data), "threads": num_cores(), "clock": clock,
        "vocab_size": size.vocab_size, "rows": size.rows(work), "prompts": size.prompts, "answers": size.answers, "new_tokens": NEW_TOKENS,
    }  # fmt: skip
    seq_len = {"sft": SEQ_LEN, "grpo": PROMPT + NEW_TOKENS}.get(work, PAIR)
    layout = {"seq_len": seq_len, "micro_batch_rows": max(2, size.micro_batch_rows * SEQ_LEN // seq_len), "machine": {}}
    samplers = OUR_SAMPLERS if work == "grpo" and has_int8 else OURS
    command = (sys.executable, "-m", "benchmarks.ours.posttrain")
    found = [Contestant(label, command, common | layout | {"engine": engine}, True) for label, engine in samplers.items()]
    command = (str(TRL.python()), str(PEERS / "trl_train.py")) if peers else ()
    for label in peers:
        settings = peer_settings(work, size, PEER_SETTINGS[work][label], mean_length)
        found.append(Contestant(label, command, common | {"settings": settings}))
    return found


def pace(answer: dict[str, Any]) -> float:
    """What was done a second in a round; `added` is what was done beforehand for it."""
    return sum(answer["amounts"]) / (sum(answer["seconds"]) + sum(answer.get("added", [])))


def unit_flops(work: str, config: ModelConfig, lengths: conversations.Lengths) -> float | None:
    """What a token of SFT, or a pair, takes of products at least: the head where something is scored, a pair's prompt once, in DPO a third
    more for the reference. None for GRPO, whose sampling is bound by memory.
    """
    head = 6 * config.vocab_size * config.hidden_size
    if work == "sft":
        tokens, scored = sum(map(sum, lengths)), sum(answer for _, answer in lengths)
        return flops_per_token(config, tokens // len(lengths)) - head * (1 - scored / tokens)
    body = (PAIR + PAIR // 2) * (flops_per_token(config, PAIR) - head)
    return {"reward": body, "dpo": 4 / 3 * (body + PAIR * head)}.get(work)


def ceiling(work: str, name: str, lengths: conversations.Lengths) -> float | None:
    """The units a second if all time went into the faster of fp32's and bf16's products, at a micro-batch's shapes."""
    config = read_config(model_of(name))
    if (each := unit_flops(work, config, lengths)) is None:
        return None
    shapes = training_shapes(config, SIZES[name].micro_batch_rows * SEQ_LEN)
    going = [kind for kind in ("float32", "bfloat16") if kind not in hopeless(("bfloat16",))]
    return max(matmul_flops(getattr(torch, kind), shapes) for kind in going) / each


def line(score: Score, work: str) -> Line:
    """Its line in the table: the median of the rounds, memory, and of GRPO how much of the time is sampling."""
    name, is_ours = score.contestant.name, score.contestant.is_ours
    if score.failed or work not in score.answers:
        return Line(name, is_ours, failed=score.failed or "not asked")
    answers = score.answers[work]
    paces, notes = [pace(answer) for answer in answers], {"peak GiB": f"{score.peak_bytes(work) / 2**30:.2f}"}
    if "sampling" in answers[0]:
        notes["sampling"] = f"{median(sum(answer['sampling']) / sum(answer['seconds']) for answer in answers):.0%}"
    return Line(name, is_ours, median(paces), min(paces), max(paces), notes=notes)


def heats(work: str, entered: Sequence[Contestant]) -> tuple[list[str], list[str]]:
    """TRL's default and its best setting by name, each having made one update alone; and a line for each."""
    found = [line(score, work) for score in one_by_one(entered, {work: {"steps": 1}}, rounds=1)]
    lines = [f"{one.name}: {one.failed or f'{one.value:.3g} {UNITS[work]}'}" for one in found]
    going = [one for one in found if not one.failed]
    best = max(going, key=lambda one: one.value).name if going else DEFAULT
    return list(dict.fromkeys([DEFAULT, best])), lines


def contest(work: str, name: str, chosen: argparse.Namespace, lengths: conversations.Lengths) -> tuple[Work, dict[str, str], list[str]]:
    """The table of one work with one model, the versions, and notes."""
    mean_length = sum(map(sum, lengths)) / len(lengths)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.json"
        rows = rows_of(work, SIZES[name], lengths)
        data.write_text(json.dumps(rows), encoding="utf-8")
        notes = [conversations.summary(rows)] if work == "sft" else []
        peers = named(work, chosen.peers)[: 1 if chosen.quick else None]
        if len(peers) > 2:
            entered = [one for one in contestants(work, name, data, mean_length, peers, chosen.clock) if not one.is_ours]
            peers, lines = heats(work, entered)
            notes += [f"{work}, {name}, one update alone: " + "; ".join(lines)]
        entered = contestants(work, name, data, mean_length, peers, chosen.clock, chosen.int8_sampler)
        scores = take_turns(entered, {work: {"steps": chosen.steps}}, rounds=chosen.rounds)
    found = Work(f"{work}, {name}", UNITS[work], [line(score, work) for score in scores], ceiling=ceiling(work, name, lengths))
    notes += [goal(found, scores, work)]
    return found, {name: version for score in scores for name, version in score.versions.items()}, notes


def named(work: str, words: Sequence[str]) -> list[str]:
    """The settings that are named in full, or have one of the words in their name."""
    known = PEER_SETTINGS[work]
    return [label for label in known if any(word == label or (word not in known and word in label) for word in words)]


def goal(found: Work, scores: Sequence[Score], work: str) -> str:
    """How the work stands to what is wanted of it."""
    ours, lines = found.best(is_ours=True), {one.name: one for one in found.lines if not one.is_ours and not one.failed}
    if ours is None or not lines:
        return f"{found.name}: nothing to compare"
    parts = [f"{ours.value / lines[DEFAULT].value:.2f} times TRL's default (goal {GOALS[work][0]})"] if DEFAULT in lines else []
    parts += [f"{found.ratio:.2f} times its best (goal {GOALS[work][1]})"] if found.ratio else []
    peaks = {score.contestant.name: score.peak_bytes(work) for score in scores if work in score.answers}
    memory = ", ".join(f"{peaks[ours.name] / peaks[name]:.2f} of that of {name}" for name in lines)
    limit = f"; {ours.value / found.ceiling:.0%} of what products alone would allow" if found.ceiling else ""
    return f"{found.name}: {', '.join(parts)}; memory {memory} (goal 0.5){limit}"


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posttrain", description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--works", nargs="+", default=[*UNITS], choices=[*UNITS])
    parser.add_argument("--models", nargs="+", default=[*SIZES], choices=[*SIZES])
    parser.add_argument("--quick", action="store_true", help="17M, TRL's default only, one update: to see that it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="updates of each contestant in a round")
    parser.add_argument("--peers", nargs="*", default=["TRL"], help="words of TRL's settings, as 'default' or 'packing'; none: ours alone")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="cpu: processor seconds, where other work runs beside")
    # its log-probs are not the trainer's: what the sampler could give, not a fair ratio
    parser.add_argument("--int8-sampler", action="store_true", help="GRPO of ours also with a sampler in int8")
    parser.add_argument("--data", help="a file of conversations, whose lengths are taken for SFT")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rounds, chosen.steps, chosen.models = 1, 1, ["17m"]
    return chosen


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the contests and print them."""
    prepare_environment()
    chosen = parsed(arguments)
    works, versions, notes = [], {}, []
    for name in chosen.models:
        count = UPDATES * SIZES[name].conversations
        if chosen.data:
            lengths = conversations.lengths_of(chosen.data, model_of("smollm2"), SEQ_LEN)[:count]
        else:
            lengths = conversations.usual_lengths(count, SEQ_LEN, SEED)
        for work in chosen.works:
            found, its_versions, its_notes = contest(work, name, chosen, lengths)
            print("\n" + "\n".join([found.text(), *its_notes]), flush=True)
            works, versions, notes = [*works, found], versions | its_versions, [*notes, *its_notes]
    return report("posttrain", works, versions, notes)


if __name__ == "__main__":
    main()
