"""All stages by the kind that a recipe names."""

from typing import Annotated

from pydantic import Field

from trivium.stages.annotate import Annotate
from trivium.stages.arithmetic import Arithmetic
from trivium.stages.demonstrate import Demonstrate
from trivium.stages.evaluate import Evaluate
from trivium.stages.finetune import Finetune
from trivium.stages.pages import Pages
from trivium.stages.prefer import Prefer
from trivium.stages.prepare import Prepare
from trivium.stages.pretrain import Pretrain
from trivium.stages.reinforce import Reinforce
from trivium.stages.reward import Reward
from trivium.stages.sample import Sample
from trivium.stages.synthesize import Synthesize
from trivium.stages.tokenize import Tokenize

AnyStage = Annotated[
    Prepare
    | Tokenize
    | Pretrain
    | Demonstrate
    | Arithmetic
    | Pages
    | Finetune
    | Synthesize
    | Annotate
    | Sample
    | Reward
    | Reinforce
    | Prefer
    | Evaluate,
    Field(discriminator="kind"),
]
STAGES: dict[str, type] = {
    "prepare": Prepare, "tokenize": Tokenize, "pretrain": Pretrain, "demonstrate": Demonstrate, "arithmetic": Arithmetic, "pages": Pages,
    "finetune": Finetune, "synthesize": Synthesize, "annotate": Annotate, "sample": Sample, "reward": Reward, "reinforce": Reinforce,
    "prefer": Prefer, "evaluate": Evaluate,
}  # fmt: skip
