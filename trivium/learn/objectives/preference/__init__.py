"""Preference losses: answers that people compared change the policy, without a reward model. One loss a file."""

from typing import Annotated

from pydantic import Field

from trivium.learn.objectives.preference.aot import AOT
from trivium.learn.objectives.preference.apo import APO
from trivium.learn.objectives.preference.bco import BCO
from trivium.learn.objectives.preference.cpl import CPL
from trivium.learn.objectives.preference.cpo import CPO
from trivium.learn.objectives.preference.discopop import DiscoPOP
from trivium.learn.objectives.preference.dpo import DPO
from trivium.learn.objectives.preference.exo import EXO
from trivium.learn.objectives.preference.fdpo import FDPO
from trivium.learn.objectives.preference.gpo import GPO
from trivium.learn.objectives.preference.ipo import IPO
from trivium.learn.objectives.preference.kto import KTO
from trivium.learn.objectives.preference.lddpo import LDDPO
from trivium.learn.objectives.preference.nca import NCA
from trivium.learn.objectives.preference.odpo import ODPO
from trivium.learn.objectives.preference.orpo import ORPO
from trivium.learn.objectives.preference.rdpo import RDPO
from trivium.learn.objectives.preference.robust_dpo import RobustDPO
from trivium.learn.objectives.preference.rrhf import RRHF
from trivium.learn.objectives.preference.simpo import SimPO
from trivium.learn.objectives.preference.slic import SLiC
from trivium.learn.objectives.preference.sppo import SPPO
from trivium.learn.objectives.preference.tdpo import TDPO
from trivium.learn.objectives.preference.wpo import WPO
from trivium.learn.objectives.preference.xpo import XPO

StepWide = AOT | BCO | KTO  # look at all of a step before it: `of_step`
OfAnswers = BCO | KTO  # take single answers, good or bad; all others take pairs, RRHF whole rankings
OfflineLoss = (
    DPO | IPO | AOT | APO | BCO | CPL | CPO | DiscoPOP | EXO | FDPO | GPO | KTO
    | LDDPO | NCA | ODPO | ORPO | RDPO | RobustDPO | RRHF | SimPO | SLiC | SPPO | TDPO | WPO
)  # fmt: skip
PreferenceLoss = OfflineLoss | XPO  # which needs answers of the reference, sampled beside the policy's
PreferenceObjective = Annotated[OfflineLoss, Field(discriminator="kind")]

__all__ = [
    "AOT", "APO", "BCO", "CPL", "CPO", "DPO", "DiscoPOP", "EXO", "FDPO", "GPO", "IPO", "KTO", "LDDPO", "NCA", "ODPO", "ORPO",
    "OfAnswers", "PreferenceLoss", "PreferenceObjective", "RDPO", "RRHF", "RobustDPO", "SLiC", "SPPO", "SimPO", "StepWide", "TDPO",
    "WPO", "XPO",
]  # fmt: skip
