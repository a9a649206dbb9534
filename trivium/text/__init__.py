"""Documents and tokens: reading, cleaning, tokenizing, chats, shards. Never imports torch."""

from trivium.text.chat import CHATML, PLAIN, ChatFormat, Rendered, jinja, render, stop_ids
from trivium.text.chat_log import longest_chats
from trivium.text.decontaminate import Contamination, Evaluations, without_evaluations
from trivium.text.dedup import ExactDedup, LineDedup, MinHash, NearDedup, SubstringDedup
from trivium.text.dialogue import dialogues
from trivium.text.few_shot import few_shot
from trivium.text.filters import C4, Filter, FineWeb, GopherQuality, GopherRepetition, Language, Length, Quality, Toxicity, Url
from trivium.text.pipeline import Funnel, clean
from trivium.text.prompt_log import LoggedPrompt, PromptHygiene, split_of
from trivium.text.read import (
    check_head,
    read_conversations,
    read_definitions,
    read_documents,
    read_preferences,
    read_prompt_log,
    read_prompts,
    read_texts,
)
from trivium.text.shards import Shard, ShardDocument, write_shard
from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe
from trivium.text.whole import cut_copies, cut_shared_lines, drop_duplicates, drop_near_duplicates

__all__ = [
    "C4",
    "CHATML",
    "PLAIN",
    "SPECIALS",
    "ChatFormat",
    "Contamination",
    "Evaluations",
    "ExactDedup",
    "Filter",
    "FineWeb",
    "Funnel",
    "GopherQuality",
    "GopherRepetition",
    "Language",
    "Length",
    "LineDedup",
    "LoggedPrompt",
    "MinHash",
    "NearDedup",
    "PromptHygiene",
    "Quality",
    "Rendered",
    "Shard",
    "ShardDocument",
    "SubstringDedup",
    "Tokenizer",
    "Toxicity",
    "Url",
    "check_head",
    "clean",
    "cut_copies",
    "cut_shared_lines",
    "dialogues",
    "drop_duplicates",
    "drop_near_duplicates",
    "few_shot",
    "jinja",
    "longest_chats",
    "read_conversations",
    "read_definitions",
    "read_documents",
    "read_preferences",
    "read_prompt_log",
    "read_prompts",
    "read_texts",
    "render",
    "split_of",
    "stop_ids",
    "train_bpe",
    "without_evaluations",
    "write_shard",
]
