"""The one dial of pre-training: what the options leave open is derived from depth, parameters or time, and said with its rule."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trivium.core.config import plain
from trivium.core.errors import ConfigError
from trivium.learn.optim.recipes import AdamW, MuonAdamW
from trivium.nn import scaling
from trivium.nn.config import ModelConfig
from trivium.nn.flops import flops_per_token, num_parameters
from trivium.report.units import count, flops

if TYPE_CHECKING:
    from trivium.stages.pretrain import Pretrain

SHAPE = ("depth", "width", "head_dim")  # what a model has that training goes on from
DEFAULT_DEPTH = 4  # what two cores train in minutes
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 366 * 86400

WorkWithin = Callable[[float], float]  # seconds of training -> the FLOPs that the machine does in them


@dataclass(frozen=True, slots=True)
class Derived:
    """A value that nobody gave, and the rule that it comes from."""

    name: str
    value: float
    rule: str

    def __str__(self) -> str:
        shown = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.3g}"
        return f"{self.name:<20} {shown:>10}  {self.rule}"


def seconds_of(text: str) -> float:
    """`90s`, `10m`, `1.5h` or `2d` in seconds. Raises ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or not float(found[1]):
        raise ConfigError(f"'time_budget' is {text[:80]!r}; it is a number above 0 with s, m, h or d, for example 10m")
    seconds = float(found[1]) * UNITS_S[found[2]]
    if seconds > LONGEST_S:
        raise ConfigError(f"'time_budget' is {text[:80]!r}; it is at most {LONGEST_S // UNITS_S['d']} days")
    return seconds


def derive(
    options: Pretrain, vocab_size: int, work_within: WorkWithin, start: ModelConfig | None = None
) -> tuple[dict[str, Any], list[Derived]]:
    """Values for the options that are open (0), and a line for each; what was given is not among them.

    start: the model that training goes on from, whose shape nothing is derived for.

    The size follows from depth, else params, else time_budget; a time_budget beside one of the others sets only the horizon.
    A function of the options, the vocabulary and the speed of the machine.
    """
    work = work_within(seconds_of(options.time_budget)) if options.time_budget else None
    depth = _depth(options, vocab_size, work) if start is None else Derived("depth", start.num_layers, "of the model")
    config = start or options.shape_at(int(depth.value), vocab_size)
    horizon = _horizon(options, config, work)
    batch = scaling.batch_for(horizon.value, options.seq_len)
    batch_tokens = options.batch_tokens or batch
    lines = [
        depth,
        Derived("width", config.hidden_size, f"{scaling.ASPECT} x depth (Kaplan et al. 2020, figure 5; nanochat)"),
        Derived("head_dim", config.head_dim, f"64, from a width of {scaling.WIDE:,} on 128; here {config.num_heads} heads"),
        Derived("batch_tokens", batch, f"D^{scaling.BATCH_POWER} from 1.3B tokens on (Bergsma et al. 2025), steeper below"),
        Derived("steps", max(1, round(horizon.value / batch_tokens)), f"{count(horizon.value)} tokens: {horizon.rule}"),
    ]
    rates = _rates(options.optimizer, config.hidden_size, scaling.batch_factor(batch_tokens, horizon.value, options.seq_len))
    given = plain(options)
    open_lines = [line for line in lines if not given[line.name] and (start is None or line.name not in SHAPE)]
    open_rates = [rate for rate in rates if not given["optimizer"][rate.name]]
    filled: dict[str, Any] = {rate.name: rate.value for rate in open_rates}
    values: dict[str, Any] = {line.name: line.value for line in open_lines} | {"optimizer": replace(options.optimizer, **filled)}
    said = open_lines + [replace(rate, name=f"optimizer.{rate.name}") for rate in open_rates]
    if start is None and said and vocab_size != (advised := scaling.vocabulary_of(int(depth.value))):
        said.append(Derived("(vocab_size)", advised, f"advice only, it is {vocab_size:,}: 4,096 to 8,192 below 30M parameters"))
    return values, said


def _depth(options: Pretrain, vocab_size: int, work: float | None) -> Derived:
    def shape(depth: int) -> ModelConfig:
        return options.shape_at(depth, vocab_size)

    if options.depth:
        return Derived("depth", options.depth, "given")
    if options.params:
        depth = scaling.depth_for_parameters(options.params, shape)
        largest = num_parameters(shape(scaling.MAX_DEPTH))
        if options.params > 2 * largest:
            raise ConfigError(
                f"'params' is {options.params:g}; the dial goes up to {count(largest)} parameters, at depth {scaling.MAX_DEPTH}"
            )
        return Derived("depth", depth, f"{count(num_parameters(shape(depth)))} parameters, nearest to {count(options.params)}")
    if work is None:
        return Derived("depth", DEFAULT_DEPTH, "default: what two cores train in minutes")
    depth = scaling.depth_for_flops(work, shape, options.seq_len)
    return Derived(
        "depth", depth, f"its {flops(scaling.training_flops(shape(depth), options.seq_len))} are nearest to the budget's {flops(work)}"
    )


def _horizon(options: Pretrain, config: ModelConfig, work: float | None) -> Derived:
    """Tokens to train on, as far as they are not given."""
    if options.steps and options.batch_tokens:
        return Derived("tokens", options.steps * options.batch_tokens, "given")
    if work is not None:
        a_token = flops_per_token(config, options.seq_len)
        return Derived(
            "tokens", work / a_token, f"{options.time_budget} give {flops(work)} (measured ceiling), a token takes {flops(a_token)}"
        )
    counted = count(scaling.scaled_parameters(config))
    return Derived(
        "tokens", scaling.tokens_for(config), f"{scaling.TOKENS_PER_PARAMETER} x {counted} of matrices and head (nanochat: 8 to 12)"
    )


def _rates(optimizer: MuonAdamW | AdamW, width: int, factor: float) -> list[Derived]:
    """What the learning rates of an optimizer should be, three digits each."""
    below = "" if factor == 1 else f", x {factor:.2g}: root of batch / its rule (Malladi et al. 2022)"
    if isinstance(optimizer, AdamW):
        rules = [("lr", scaling.adamw_lr(width), "1 / width (Yang et al. 2022), 6e-4 at 768 (Brown et al. 2020)")]
    else:
        narrow = scaling.embedding_factor(width)
        rules = [
            ("lr", scaling.MATRIX_LR, "Muon: the same at every size (nanochat; quickstart)"),
            ("embed_lr", scaling.EMBED_LR * narrow, f"width^-0.5 (nanochat), {scaling.EMBED_LR} at {scaling.TUNED_WIDTH} (quickstart)"),
            ("head_lr", scaling.HEAD_LR * narrow, f"width^-0.5 (nanochat), {scaling.HEAD_LR} at {scaling.TUNED_WIDTH} (quickstart)"),
        ]
    return [Derived(name, float(f"{rate * factor:.3g}"), rule + below) for name, rate, rule in rules]
