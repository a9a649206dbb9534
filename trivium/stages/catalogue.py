"""All stages by the kind that a recipe names."""

from typing import Annotated, get_args

from pydantic import Field

from trivium.stages.annotate import Annotate
from trivium.stages.arithmetic import Arithmetic
from trivium.stages.critique import Critique
from trivium.stages.curate import Curate
from trivium.stages.demonstrate import Demonstrate
from trivium.stages.evaluate import Evaluate
from trivium.stages.facts import Facts
from trivium.stages.feedback import Feedback
from trivium.stages.finetune import Finetune
from trivium.stages.magpie import Magpie
from trivium.stages.matches import Matches
from trivium.stages.pages import Pages
from trivium.stages.plant import Plant
from trivium.stages.prefer import Prefer
from trivium.stages.prepare import Prepare
from trivium.stages.pretrain import Pretrain
from trivium.stages.proxy import Proxy
from trivium.stages.rank import Rank
from trivium.stages.reinforce import Reinforce
from trivium.stages.reward import Reward
from trivium.stages.route import Route
from trivium.stages.sample import Sample
from trivium.stages.self_instruct import SelfInstruct
from trivium.stages.synthesize import Synthesize
from trivium.stages.tokenize import Tokenize

AnyStage = Annotated[
    Prepare
    | Plant
    | Tokenize
    | Pages
    | Synthesize
    | Pretrain
    | Demonstrate
    | Arithmetic
    | Facts
    | Finetune
    | Annotate
    | Sample
    | Magpie
    | Curate
    | SelfInstruct
    | Critique
    | Feedback
    | Reward
    | Reinforce
    | Prefer
    | Proxy
    | Evaluate
    | Matches
    | Rank
    | Route,
    Field(discriminator="kind"),
]
STAGES: dict[str, type] = {str(stage.kind): stage for stage in get_args(get_args(AnyStage)[0])}
RANKED = {"pretrain", "finetune", "reward", "prefer", "reinforce"}  # what all ranks do together; the rest rank 0 does, while they wait
