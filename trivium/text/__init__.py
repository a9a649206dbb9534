"""Documents and tokens: reading, cleaning, tokenizing, chats, shards. Never imports torch."""

from trivium.text.chat import CHATML, PLAIN, ChatFormat, Rendered, jinja, render, stop_ids
from trivium.text.dedup import ExactDedup
from trivium.text.filters import C4, Filter, FineWeb, GopherQuality, GopherRepetition, Language, Length, Quality, Toxicity, Url
from trivium.text.pipeline import Funnel, clean
from trivium.text.read import check_head, read_conversations, read_definitions, read_documents, read_preferences, read_prompts
from trivium.text.shards import Shard, ShardDocument, write_shard
from trivium.text.tokenizer import SPECIALS, Tokenizer, train_bpe

__all__ = [
    "C4",
    "CHATML",
    "PLAIN",
    "SPECIALS",
    "ChatFormat",
    "ExactDedup",
    "Filter",
    "FineWeb",
    "Funnel",
    "GopherQuality",
    "GopherRepetition",
    "Language",
    "Length",
    "Quality",
    "Rendered",
    "Shard",
    "ShardDocument",
    "Tokenizer",
    "Toxicity",
    "Url",
    "check_head",
    "clean",
    "jinja",
    "read_conversations",
    "read_definitions",
    "read_documents",
    "read_preferences",
    "read_prompts",
    "render",
    "stop_ids",
    "train_bpe",
    "write_shard",
]
