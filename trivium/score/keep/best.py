"""Best: the best answer to each prompt becomes a demonstration (best-of-n, rejection sampling)."""

from typing import ClassVar, Literal

from trivium.core.config import component
from trivium.score.keep.rule import Choose, Makes, Pool, demonstrations


@component
class Best:
    """The answer with the highest score that ended by itself.

    Rejection sampling of Llama 2 (Touvron et al. 2023, arXiv:2307.09288, section 3.2.3) and RAFT by prompt (Dong et al. 2023,
    arXiv:2304.06767, algorithm 1). With one answer to a prompt it is training on one's own answers.
    """

    makes: ClassVar[Makes] = "conversations"
    kind: Literal["best"] = "best"

    def __call__(self, pool: Pool) -> Choose:
        """The same for each prompt, whatever the others got."""
        return lambda asked: demonstrations(asked, asked.best_first[:1], "no answer ended by itself")
