"""A model directory as what tasks ask: for the stage `evaluate`, and for lm-eval."""

from pathlib import Path

from trivium.evals.subject import Subject
from trivium.generate.engine import Engine
from trivium.stages.base import whole_model
from trivium.stages.chat_formats import read_tokenizer_config
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.use.exchange import model_path


def subject_of(speaker: Speaker, engine: Engine) -> Subject:
    """A loaded model as a subject."""
    return Subject(speaker.model, speaker.tokenizer, first_id(speaker), engine, speaker.prompt)


def load_subject(path: str | Path, *, rows: int = 64) -> Subject:
    """Read a model directory in float32. Raises ArtefactError as `Speaker.load` does."""
    speaker = Speaker.load(model_path(path), Machine(precision="float32").measured())
    return subject_of(speaker, Engine(speaker.model, stop_ids=speaker.stop_ids, rows=rows))


def first_id(speaker: Speaker) -> int:
    """What stands before a text that has nothing before it: the token that begins texts, else the one that ends them, else id 0."""
    config, special = read_tokenizer_config(whole_model(speaker.base)), speaker.tokenizer.special
    named = [config[role] for role in ("bos_token", "eos_token") if config.get(role) in special]
    return special[named[0]] if named else 0
