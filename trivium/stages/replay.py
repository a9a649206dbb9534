"""What a policy goes on learning beside its rewards: text of pre-training (PPO-ptx), or demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.core.run import Run
from trivium.data.sources import Corpus, Groups, Source
from trivium.stages.base import check_data, data_source, resolve
from trivium.text.read import read_conversations
from trivium.text.shards import Shard

if TYPE_CHECKING:
    from trivium.stages.computing.models import Speaker


@component
class Replay:
    """Adds coef x the mean cross-entropy a token of other text to the loss of each update.

    tokens: a folder that `tokenize` made, whose rows of seq_len tokens are read in an order of their own (PPO-ptx: Ouyang et al. 2022,
    arXiv:2203.02155, eq. 2, where gamma, coef here, is 27.8, and 8 rows of text come with each answer: section 3.5 and appendix C.4).
    demonstrations: a file of conversations instead. The paper does not say what its two gradients are means over; here the policy's is
    what its reduction says, that of the text a mean over tokens.
    """

    tokens: str = ""
    demonstrations: str = ""
    coef: float = Field(default=27.8, gt=0)
    rows_per_answer: int = Field(default=8, gt=0)

    def __post_init__(self) -> None:
        if bool(self.tokens) == bool(self.demonstrations):
            raise ValueError("give either tokens=FOLDER (replay.tokens=@tokenize) or demonstrations=FILE, and not both")

    def check(self) -> None:
        """Look at the head of what is named."""
        if self.tokens and not self.tokens.startswith("@"):
            Shard.open(f"{self.tokens}/train", check=False)
        check_data(self.demonstrations or "@", "conversations")

    def source(self, run: Run, speaker: Speaker, *, seq_len: int, rows: int) -> Source:
        """`rows` rows or conversations a step.

        Raises ArtefactError for text of another tokenizer, DataError where nothing fits in seq_len tokens.
        """
        longest = min(seq_len, speaker.model.config.max_seq_len)
        if self.tokens:
            shard = Shard.open(resolve(run, self.tokens) / "train", speaker.tokenizer.fingerprint)
            return Corpus(shard.tokens, seq_len=longest, rows_per_step=rows, seed=run.seed, purpose="replay")
        found = [speaker.demonstration(each) for each in read_conversations(data_source(run, self.demonstrations))]
        kept = [item for item in found if len(item.tokens) <= longest and item.loss_mask.any()]
        if not kept:
            raise DataError(f"{self.demonstrations}: none of its {len(found):,} conversations has an answer and fits in {longest} tokens")
        return Groups([(item,) for item in kept], groups_per_step=rows, seed=run.seed, purpose="replay")
