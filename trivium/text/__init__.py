"""Documents and tokens: reading, cleaning, tokenizing, chats, shards. Never imports torch."""

from trivium.text.chat import CHATML, PLAIN, ChatFormat, Rendered, jinja, render, stop_ids
from trivium.text.decontaminate import Contamination, Evaluations, without_evaluations
from trivium.text.dedup import ExactDedup, LineDedup, MinHash, NearDedup, SubstringDedup
from trivium.text.filters import C4, Filter, FineWeb, GopherQuality, GopherRepetition, Language, Length, Quality, Toxicity, Url
from trivium.text.pipeline import Funnel, clean
from trivium.text.read import check_head, read_conversations, read_definitions, read_documents, read_preferences, read_prompts, read_texts
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
    "MinHash",
    "NearDedup",
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
    "drop_duplicates",
    "drop_near_duplicates",
    "jinja",
    "read_conversations",
    "read_definitions",
    "read_documents",
    "read_preferences",
    "read_prompts",
    "read_texts",
    "render",
    "stop_ids",
    "train_bpe",
    "without_evaluations",
    "write_shard",
]
