"""Readings to the sequences that a synthesizer is trained on: as many of one set after another as fit, each an example for the next."""

from collections.abc import Iterable, Sequence

import numpy as np

from trivium.core.seeds import generator
from trivium.synth.template import Template
from trivium.text.chat import Rendered
from trivium.text.records.readings import Reading


def sequences(readings: Iterable[Reading], template: Template, *, longest: int, seed: int) -> tuple[list[Rendered], int]:
    """Sequences of at most `longest` tokens, and how many readings are in them; what is longer alone, or has no pair, is left out.

    Cheng et al. 2024, arXiv:2406.14491, section 2.1: examples of the same data set are concatenated, so the synthesizer learns to follow
    the patterns of earlier ones. Which stand together is drawn by lot.
    """
    by_source: dict[str, list[Rendered]] = {}
    for reading in readings:
        rendered = template.example([reading])
        if reading.pairs and len(rendered.tokens) <= longest:
            by_source.setdefault(reading.source, []).append(rendered)
    found = []
    for source, items in sorted(by_source.items()):
        order = generator(seed, f"shots {source}").permutation(len(items))
        found += _filled([items[i] for i in order], longest)
    return found, sum(map(len, by_source.values()))


def _filled(items: Sequence[Rendered], longest: int) -> list[Rendered]:
    rows: list[list[Rendered]] = []
    room = 0
    for item in items:
        if len(item.tokens) > room:
            rows.append([])
            room = longest
        rows[-1].append(item)
        room -= len(item.tokens)
    return [Rendered(np.concatenate([item.tokens for item in row]), np.concatenate([item.loss_mask for item in row])) for row in rows]
