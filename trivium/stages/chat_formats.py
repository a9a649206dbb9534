"""Which chat format a model directory was made with: ours says it, a foreign one shows it by its chat template."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from trivium.core.config import build
from trivium.core.errors import ArtefactError, ConfigError
from trivium.nn.io.adapter_config import base_of
from trivium.nn.io.json_file import MAX_BYTES, read_json
from trivium.nn.io.tokenizer_files import CONFIG, ROLES
from trivium.text.chat import PLAIN, ChatFormat
from trivium.text.chat_forms import Form, form
from trivium.text.chat_templates import recognise
from trivium.text.tokenizer import Tokenizer

Template = Literal["model", Form]
CHAT_KEY, TEMPLATE_KEY, TEMPLATE_FILE = "trivium_chat", "chat_template", "chat_template.jinja"


def read_tokenizer_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json: control tokens by role as names, the chat template as text wherever it stands, and our format."""
    config, file = read_json(folder / CONFIG), folder / TEMPLATE_FILE
    roles = {role: config[role] for role in (*ROLES, "unk_token") if config.get(role) is not None}
    found: dict[str, Any] = {role: token.get("content") if isinstance(token, Mapping) else token for role, token in roles.items()}
    template = config.get(TEMPLATE_KEY)
    if isinstance(template, list):  # several by name, as releases 4.38 and later of transformers wrote them
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, Mapping)}
        template = named.get("default")
    if template is None and file.is_file() and file.stat().st_size <= MAX_BYTES:
        template = file.read_text(encoding="utf-8", errors="replace")
    found |= {TEMPLATE_KEY: template} if isinstance(template, str) else {}
    return found | ({CHAT_KEY: config[CHAT_KEY]} if config.get(CHAT_KEY) else {})


def chat_format(config: Mapping[str, Any], tokenizer: Tokenizer, where: Path) -> ChatFormat:
    """The format of a model, from its tokenizer_config; trivium's own if it has none.

    Raises ArtefactError if there is a chat template that no format expresses, or a description of a format that is none.
    """
    if CHAT_KEY in config:
        return _described(config[CHAT_KEY], f"{where / CONFIG}: {CHAT_KEY}")
    if TEMPLATE_KEY not in config:
        return PLAIN
    names = {role: name for role, name in config.items() if role.endswith("_token") and isinstance(name, str)}
    found = recognise(config[TEMPLATE_KEY], tokenizer.special, names)
    if found is None:
        raise ArtefactError(
            f"{where}: its chat template does more than write fixed words around the turns, so its form is not recognised;"
            f" describe the form by control, start, opening, closing and system in '{CHAT_KEY}' of {CONFIG},"
            f" or remove the template ({TEMPLATE_KEY}, {TEMPLATE_FILE}) to use trivium's own form"
        )
    return found


def templated(name: Template, own: ChatFormat, tokenizer: Tokenizer, folder: Path) -> ChatFormat:
    """The format called `name` with the control tokens of the model in a folder; its own for `model`.

    Raises ArtefactError if the model has no token that ends a text.
    """
    if name == "model":
        return own
    config = read_tokenizer_config(base_of(folder))
    if "eos_token" not in config:
        raise ArtefactError(f"{folder}: {CONFIG} names no eos_token, which would end the answers of template '{name}'; use template=model")
    found = form(name, start=config.get("bos_token", ""), end=config["eos_token"])
    for token in found.control:
        tokenizer.id_of(token)  # it must be one of its control tokens
    return found


def _described(options: Any, where: str) -> ChatFormat:
    if not isinstance(options, Mapping):
        raise ArtefactError(f"{where} is {str(options)[:80]}; it must be an object")
    try:
        return build(ChatFormat, options, where=where)
    except ConfigError as error:
        raise ArtefactError(str(error)) from None
