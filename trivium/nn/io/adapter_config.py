"""adapter_config.json, PEFT's description of an adapter, in and out. No torch: a dry run reads it before anything is loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivium.core.errors import ArtefactError
from trivium.nn.io.config_json import FILE as MODEL_CONFIG
from trivium.nn.io.json_file import read_json

FILE = "adapter_config.json"
SCORE = "score"  # what PEFT saves whole beside the adapter of a reward model
HARMLESS = {  # fields that say how it was made, or that hold for our models anyway
    "auto_mapping", "base_model_name_or_path", "bias", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "loftq_config", "lora_alpha", "lora_dropout", "lora_ga_config",
    "megatron_config", "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "revision",
    "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
KEEPING_THE_BASE = (None, True, False, "gaussian", "orthogonal", "eva")
LARGEST_RANK, LARGEST_ALPHA = 1 << 16, 1e9


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What an adapter is. targets: endings of the modules that have one; None: those that the file has tensors of."""

    r: int
    scale: float
    targets: tuple[str, ...] | None
    has_score: bool


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter and not a whole model."""
    return (path / FILE).is_file() and not (path / MODEL_CONFIG).is_file()


def base_of(path: Path) -> Path:
    """The model directory that an adapter belongs to; of anything else, the path itself. Raises ArtefactError if it is not there.

    Its name is a path seen from the adapter's folder, as we write it, or from the working directory.
    """
    if not is_adapter(path):
        return path
    named = read_json(path / FILE).get("base_model_name_or_path")
    found = [place for place in (path / str(named), Path(str(named))) if (place / MODEL_CONFIG).is_file()] if named else []
    if not found:
        raise ArtefactError(
            f"{path / FILE}: base_model_name_or_path is {str(named)[:200]!r}, which is no model directory; write there where the base is"
        )
    return found[0]


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Rank, scale and targets. Raises ArtefactError naming a field that is damaged, or that asks for more than plain LoRA."""
    file = folder / FILE
    fields = read_json(file)
    for name, value in {"peft_type": "LORA", "bias": "none"}.items():
        if fields.get(name, value) != value:
            raise ArtefactError(f"{file}: {name} is {str(fields[name])[:80]!r}; only {value!r} is supported")
    for name, value in fields.items():
        if value and name not in HARMLESS:
            raise ArtefactError(f"{file}: {name} is {str(value)[:80]}; only plain LoRA is supported, one rank and scale for all layers")
    r, alpha = fields.get("r"), fields.get("lora_alpha")
    if type(r) is not int or not 0 < r <= LARGEST_RANK:
        raise ArtefactError(f"{file}: r is {str(r)[:80]}; it must be a whole number from 1 to {LARGEST_RANK:,}")
    if not isinstance(alpha, int | float) or alpha is True or not 0 < alpha < LARGEST_ALPHA:
        raise ArtefactError(f"{file}: lora_alpha is {str(alpha)[:80]}; it must be a number above 0")
    if fields.get("init_lora_weights") not in KEEPING_THE_BASE:
        raise ArtefactError(
            f"{file}: init_lora_weights is {str(fields['init_lora_weights'])[:80]!r}, which changed the base; save it as plain LoRA"
        )
    targets, saved = fields.get("target_modules"), fields.get("modules_to_save") or []
    if not isinstance(targets, str) and not (isinstance(targets, list) and targets and all(isinstance(name, str) for name in targets)):
        raise ArtefactError(f"{file}: target_modules is {str(targets)[:80]}; it must be a list of module names")
    if not isinstance(saved, list) or any(name not in (SCORE, "classifier") for name in saved):
        raise ArtefactError(f"{file}: modules_to_save is {str(saved)[:80]}; only {SCORE!r} is supported")
    scale = alpha / (r**0.5 if fields.get("use_rslora") else r)
    return AdapterConfig(r, scale, None if isinstance(targets, str) else tuple(targets), SCORE in saved)


def adapter_json(
    *, base: str, r: int, alpha: float, targets: Iterable[str], is_transposed: bool, has_scalar: bool
) -> dict[str, Any]:  # fmt: skip
    """The content of adapter_config.json. is_transposed: the base keeps its matrices as (in, out), like GPT-2."""
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if has_scalar else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": r,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": is_transposed,
        "target_modules": sorted(targets),
        "modules_to_save": [SCORE] if has_scalar else None,
        "inference_mode": True,
    }
