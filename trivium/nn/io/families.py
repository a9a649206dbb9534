"""The families that are read and written. A new one is a table in a file of its own and a line here (and in `nn.config.Family`)."""

from trivium.nn.io.gemma import GEMMA2, GEMMA3
from trivium.nn.io.gpt2 import GPT2
from trivium.nn.io.gpt_neox import GPT_NEOX
from trivium.nn.io.llama import LLAMA
from trivium.nn.io.mistral import MISTRAL
from trivium.nn.io.olmo2 import OLMO2
from trivium.nn.io.own import OWN
from trivium.nn.io.qwen2 import QWEN2
from trivium.nn.io.qwen3 import QWEN3
from trivium.nn.io.smollm3 import SMOLLM3
from trivium.nn.io.table import FamilyTable

TABLES = (LLAMA, MISTRAL, SMOLLM3, QWEN2, QWEN3, OLMO2, GEMMA2, GEMMA3, GPT_NEOX, GPT2, OWN)
FAMILIES: dict[str, FamilyTable] = {table.model_type: table for table in TABLES}
