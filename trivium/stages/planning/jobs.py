"""The stages of a recipe as work that a plan can count: for a shipped recipe, a file, a run folder, or a shape that has no text yet."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trivium.core.config import build, plain
from trivium.core.errors import ConfigError, did_you_mean
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token, num_layer_parameters, num_parameters
from trivium.nn.lora import LoRA
from trivium.nn.preset import preset, preset_names
from trivium.nn.scaling import batch_for
from trivium.plan.shape import Shape
from trivium.report.reading import number_of, read_record
from trivium.stages.base import Foresight, Work
from trivium.stages.catalogue import AnyStage
from trivium.stages.epochs import BATCH_SIZE
from trivium.stages.finetune import Finetune
from trivium.stages.methods import with_method
from trivium.stages.prefer import Prefer
from trivium.stages.pretrain import Pretrain
from trivium.stages.recipe import Recipe, load_recipe, shipped
from trivium.stages.reinforce import Reinforce
from trivium.stages.reward import Reward
from trivium.stages.settle import settle

LONGEST_ROWS = 8192  # of a preset, where nobody says how long its rows are
MOST_TOKENS = 1e18  # that are planned for
RUN_FILE = "run.toml"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be planned. words: after `trivium`, that would run it. folder: of a run that is there already. unique_tokens: of the text
    for pre-training, 0 if it is not known. is_shape: there is no text yet.
    """

    recipe: Recipe
    words: tuple[str, ...]
    folder: Path | None = None
    unique_tokens: float = 0.0
    is_shape: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One stage. config: of the model that it trains or asks, if there is one. sequence_tokens: of a question with its answer."""

    name: str
    stage: AnyStage
    work: Work
    config: ModelConfig | None
    sequence_tokens: int

    @property
    def is_training(self) -> bool:
        """Whether it updates weights."""
        return self.work.tokens_trained > 0

    @property
    def update_tokens(self) -> int:
        """Of an update, about."""
        options = plain(self.stage)
        of_examples = (options.get("batch_size") or BATCH_SIZE) * self.sequence_tokens
        given = options.get("batch_tokens") or of_examples
        steps = self.stage.steps if isinstance(self.stage, Reinforce) else options.get("steps", 0) - options.get("first_step", 0)
        return max(1, self.work.tokens_trained // steps if steps > 0 else given)

    @property
    def updates(self) -> int:
        """How many."""
        return max(1, round(self.work.tokens_trained / self.update_tokens))

    @property
    def lora(self) -> LoRA | None:
        """The adapter that is trained instead of all weights."""
        return self.stage.lora if isinstance(self.stage, Finetune | Reward | Prefer | Reinforce) else None


def asked(name: str, options: Mapping[str, Any], words: list[str]) -> Asked:
    """What a user names: a recipe, a file, a run folder, or `pretrain` (or a preset) with `tokens` as a number. Raises ConfigError.

    options: of the command line, words: the same as they were written.
    """
    if Path(name).is_dir():
        if not (Path(name) / RUN_FILE).is_file():
            raise ConfigError(f"{name}: is no run folder, it has no {RUN_FILE}")
        folder, name = Path(name), str(Path(name) / RUN_FILE)
        return Asked(load_recipe(name, options), ("run", name, *words), folder, _unique(folder))
    if name == "pretrain" or name in preset_names():
        given = dict(options) if name == "pretrain" else {"preset": name, **options}
        return _shape_alone(given, words if name == "pretrain" else [f"preset={name}", *words])
    if not Path(name).exists() and name not in shipped():
        raise ConfigError(
            f"there is no recipe, preset or run folder '{name}'{did_you_mean(name, [*shipped(), *preset_names(), 'pretrain'])}"
        )
    folder = Path(name).parent if Path(name).name == RUN_FILE else None
    return Asked(load_recipe(name, options), ("run", name, *words), folder, _unique(folder) if folder else 0.0)


def jobs_of(recipe: Recipe, *, compute_bytes: int = 2) -> list[Job]:
    """The stages in order; the recipe's machine must be measured, or taken for so fast. Raises ConfigError."""
    known = Foresight(compute_bytes=4 if compute_bytes == 4 else 2)
    found = []
    for name, stage in settle(recipe)[0].stages.items():
        work = stage.foresee(name, known)
        config = known.models.get(name) or _asked_model(stage, known)
        found.append(Job(name, stage, work, config, known.sequence_tokens))
    return found


def shape_of(config: ModelConfig) -> Shape:
    """The numbers of a model that a plan needs."""
    return Shape(
        parameters=num_parameters(config), layer_parameters=num_layer_parameters(config), num_layers=config.num_layers,
        hidden_size=config.hidden_size, query_size=config.num_heads * config.head_dim, kv_size=config.num_kv_heads * config.head_dim,
        intermediate_size=config.intermediate_size, vocab_size=config.vocab_size, most_tensor=_most_tensor(config),
    )  # fmt: skip


def _most_tensor(config: ModelConfig) -> int:
    """Whose divisors are the numbers of ranks that can share a layer (nn/tensor_parallel.py)."""
    is_whole = config.has_value_embeddings or (config.has_qk_norm and config.qk_norm_over == "width")
    return 1 if is_whole else math.gcd(config.num_heads, config.num_kv_heads, config.intermediate_size) or 1


def extra_flops(job: Job) -> float:
    """What a training stage computes besides its updates, such as the log-probs of a reference."""
    if job.config is None or not job.is_training:
        return job.work.flops
    length = int(plain(job.stage)["seq_len"])
    of_token = flops_per_token(job.config, length) if job.lora is None else job.lora.flops_per_token(job.config, length)
    return max(0.0, job.work.flops - of_token * job.work.tokens_trained)


def _asked_model(stage: AnyStage, known: Foresight) -> ModelConfig | None:
    """The model of an earlier stage that this one asks, if it says which."""
    options = plain(stage)
    named = [options.get("model", ""), *(options.get("models") or {}).values()]
    names = [str(each)[1:].split("/")[0] for each in named if str(each).startswith("@")]
    return next((known.models[each] for each in names if each in known.models), None)


def _shape_alone(options: dict[str, Any], words: list[str]) -> Asked:
    """Pre-training of a shape on so many tokens of text that need not be there."""
    unique = _amount("unique_tokens", options.pop("unique_tokens")) if "unique_tokens" in options else 0.0
    tokens = _amount("tokens", options.pop("tokens", None))
    if "seq_len" not in options and options.get("preset"):
        options["seq_len"] = min(LONGEST_ROWS, preset(str(options["preset"])).max_seq_len)
    options = with_method("pretrain", {"kind": "pretrain", "tokens": "@tokenize", **options})
    stage = build(Pretrain, options)
    batch = stage.batch_tokens or batch_for(tokens, stage.seq_len)
    stage = replace(stage, batch_tokens=batch, steps=stage.steps or max(1, round(tokens / batch)))
    kept = [word for word in words if not word.startswith(("tokens=", "unique_tokens=", "seq_len=", "batch_tokens=", "steps="))]
    return Asked(
        Recipe(name="pretrain", stages={"pretrain": stage}),
        ("pretrain", "tokens=FOLDER", *kept, f"seq_len={stage.seq_len}", f"batch_tokens={stage.batch_tokens}", f"steps={stage.steps}"),
        unique_tokens=unique, is_shape=True,
    )  # fmt: skip


def _amount(name: str, given: object) -> float:
    """Of text that need not be there."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ConfigError(f"{name} is a number here, such as {name}=1e12: those to train on; a recipe names a folder")
    if not 1 <= given <= MOST_TOKENS:
        raise ConfigError(f"'{name}' is {given:g}; it is a number above 0 and at most {MOST_TOKENS:g}, such as 1e12")
    return float(given)


def _unique(folder: Path) -> float:
    """Training tokens of the text that a run made; 0 if it did not get there."""
    found = [number_of(facts.get("train_tokens")) or 0.0 for facts in read_record(folder).facts.values()]
    return sum(found)
