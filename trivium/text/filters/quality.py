"""Quality: keeps documents that a trained classifier finds like those it was shown as good."""

from typing import Literal

from pydantic import Field

from trivium.core.config import component
from trivium.text.classifier import check_classifier, load_classifier
from trivium.text.signals import Reasons, Signals, first_of


@component
class Quality:
    """The probability that a text is one of the good ones, both sides being equally many: a document below min_score is dropped.

    classifier: a folder that `trivium quality GOOD OTHER FOLDER` has made from texts of the user's choice; none is shipped. Raise min_score
    to keep less: what remains is closer to the good texts, and has less in it. Brown et al. 2020, arXiv:2005.14165, appendix A.
    """

    kind: Literal["quality"] = "quality"
    classifier: str
    min_score: float = Field(default=0.5, ge=0, le=1)

    def __post_init__(self) -> None:
        check_classifier(self.classifier)

    def judge(self, signals: Signals) -> Reasons:
        """The reason to drop each document, or None."""
        return first_of(("not like the good texts", load_classifier(self.classifier).scores(signals) < self.min_score))
