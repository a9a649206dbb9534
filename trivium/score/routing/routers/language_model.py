"""A language model as a router: a reward model that was trained to prefer, as the answer to a prompt, the name of the model that won."""

from typing import Literal

from trivium.core.config import component


@component
class LanguageModel:
    """The strength of a model on a prompt is the score that a reward model gives its name as the answer to the prompt.

    Ong et al. 2024, arXiv:2406.18665, section 4.2, let Llama 3 8B generate a label of five; here it is a causal model with a scalar head,
    trained by `trivium reward` on pairs of names (`matches` leaves them as pairs.jsonl), so it is antisymmetric and takes any number of
    models. model: that reward model.
    """

    kind: Literal["language_model"] = "language_model"
    model: str
