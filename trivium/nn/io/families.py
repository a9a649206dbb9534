"""The families that are read and written. A new one is a table in a file of its own and a line here (and in `nn.config.Family`)."""

from trivium.nn.io.gpt_neox import GPT_NEOX
from trivium.nn.io.llama import LLAMA
from trivium.nn.io.qwen3 import QWEN3
from trivium.nn.io.table import FamilyTable

FAMILIES: dict[str, FamilyTable] = {table.model_type: table for table in (LLAMA, QWEN3, GPT_NEOX)}
