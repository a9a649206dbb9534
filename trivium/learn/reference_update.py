"""How a reference follows the policy that is trained against it (TR-DPO)."""

from pydantic import Field

from trivium.core.config import component


@component
class ReferenceUpdate:
    """Every `every` updates the reference becomes share x policy + (1 - share) x itself.

    Gorbatovski et al. 2024, arXiv:2404.09656, section 3: soft updates take share 0.6 and about 512 steps between them, hard ones share 1.
    """

    every: int = Field(default=512, gt=0)
    share: float = Field(default=0.6, gt=0, le=1)
