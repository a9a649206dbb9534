"""All stages by the kind that a recipe names."""

from typing import Annotated

from pydantic import Field

from trivium.stages.annotate import Annotate
from trivium.stages.arithmetic import Arithmetic
from trivium.stages.curate import Curate
from trivium.stages.demonstrate import Demonstrate
from trivium.stages.evaluate import Evaluate
from trivium.stages.finetune import Finetune
from trivium.stages.magpie import Magpie
from trivium.stages.prefer import Prefer
from trivium.stages.prepare import Prepare
from trivium.stages.pretrain import Pretrain
from trivium.stages.reinforce import Reinforce
from trivium.stages.reward import Reward
from trivium.stages.sample import Sample
from trivium.stages.self_instruct import SelfInstruct
from trivium.stages.tokenize import Tokenize

AnyStage = Annotated[
    Prepare | Tokenize | Pretrain | Demonstrate | Arithmetic | Finetune | Annotate | Sample | Reward | Reinforce | Prefer | Evaluate
    | Magpie | SelfInstruct | Curate,
    Field(discriminator="kind"),
]  # fmt: skip
STAGES: dict[str, type] = {
    "prepare": Prepare, "tokenize": Tokenize, "pretrain": Pretrain, "demonstrate": Demonstrate, "arithmetic": Arithmetic,
    "finetune": Finetune, "annotate": Annotate, "sample": Sample, "reward": Reward, "reinforce": Reinforce, "prefer": Prefer,
    "evaluate": Evaluate, "magpie": Magpie, "self_instruct": SelfInstruct, "curate": Curate,
}  # fmt: skip
