"""A reward model for others: gain and bias become part of the weights, as far as a head without a bias can hold them."""

import torch

from trivium.nn.model import Model


def fold(model: Model) -> float:
    """Put the gain of a scalar head into its weight, and its bias into that of the norm before it, in place; what is left is returned.

    transformers' score is w x without a bias, x the output of the last norm. Where the norm has a bias b (GPT-2, GPT-NeoX), b + c w / |w|^2
    adds c to every score. An RMS norm has none: then the bias stays where it was, and is what is to be added to transformers' scores.
    Differences of scores, which rankings and policies learn from, do not depend on it.
    """
    head, norm = model.scalar_head, model.trunk.final_norm
    if head is None:
        raise RuntimeError("this model has no scalar head")
    with torch.no_grad():
        head.weight.mul_(head.gain)
        head.gain.fill_(1.0)
        square = head.weight.double().square().sum()
        if norm.bias is not None and square > 0:
            norm.bias.add_((head.bias / square * head.weight).to(norm.bias.dtype))
            head.bias.zero_()
    return float(head.bias)
