"""Is what reinforcement learning makes of a fine-tuned model preferred to it, by the rule behind the rankings that it learned from?

Ouyang et al. 2022, arXiv:2203.02155, section 4.1: people prefer PPO models to the SFT models that they began as. Difference: who prefers
is the true rule, which simulated annotators rank by with errors, so the gain is known and not judged. Equal scores are half a win.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from trivium.core.config import component
from trivium.core.errors import DataError
from trivium.report.intervals import paired_bootstrap
from trivium.report.svg import Interval, intervals
from trivium.stages.annotate import Annotate
from trivium.stages.evaluate import SCORES, Evaluate, true_scores
from trivium.stages.recipe import load_recipe
from trivium.stages.reinforce import Reinforce
from trivium.studies.finding import Cell, Control, Figure, Finding
from trivium.studies.study import Preset, Trial
from trivium.text.rows import rows

GAIN = 0.1  # of the win rate over an even one
SEED = 1
CONTROL = "control"  # how the names of stages begin whose reward model learned from rankings by lot
HEADER = (
    "run", "model", "began as", "prompts", "win rate", "low", "high",
    "true score before", "after", "gain in true score", "gain low", "gain high", "what was seen",
)  # fmt: skip
SEEN = {True: "preferred", False: "not preferred by so much", None: "cannot tell"}


@dataclass(frozen=True, slots=True)
class Pair:
    """True scores of the answers of a model, and of the one that it began as, to the same prompts; (N,) each."""

    run: str
    model: str
    start: str
    after_N: np.ndarray
    before_N: np.ndarray

    @property
    def is_control(self) -> bool:
        """Whether it should not be preferred."""
        return self.model.startswith(CONTROL)

    @property
    def win_rate(self) -> tuple[float, float, float]:
        """How often the later answer is the better one, a tie half, with its 95 % interval over prompts."""
        won_N = (np.sign(self.after_N - self.before_N) + 1) / 2
        return paired_bootstrap(won_N.tolist(), [0.0] * len(won_N), SEED)

    @property
    def gain(self) -> tuple[float, float, float]:
        """By how much the true score is higher, with its 95 % interval."""
        return paired_bootstrap(self.after_N.tolist(), self.before_N.tolist(), SEED)

    @property
    def is_preferred(self) -> bool | None:
        """The rule; None: cannot tell."""
        rate, low, high = self.win_rate
        if rate >= 0.5 + GAIN and low > 0.5 and self.gain[1] > 0:
            return True
        return False if high < 0.5 + GAIN else None


@component
class RLHF:
    """Looks at runs with an `evaluate` that knows the true rule, of models that were reinforced and of those that they began as; names of
    stages that learned from rankings by lot begin with 'control'."""

    name: ClassVar = "rlhf"
    claim: ClassVar = "reinforcement learning from rankings improves on imitation: its answers are preferred (Ouyang et al. 2022)"
    question: ClassVar = "Are answers preferred after RLHF to those of the fine-tuned model that it began as, by the rule that is true?"
    rule: ClassVar = (
        f"the claim is seen if of each reinforced model the win rate over its start is at least {0.5 + GAIN:.0%} and its 95 % interval"
        " above 1/2, and the interval of the gain in true score, prompt by prompt, above 0; it is not seen if the win rate's interval ends"
        f" below {0.5 + GAIN:.0%}; else one cannot tell"
    )
    expected: ClassVar = "a win rate of 60 % or more, and none with a reward model of rankings by lot"

    def trials(self, preset: Preset) -> Sequence[Trial]:
        larger = {"pretrain": {"depth": 8, "width": 0, "steps": 5000}, "demonstrate": {"num_comparisons": 4000}, "reward": {"steps": 400}}
        return [Trial("rlhf", larger if preset == "gpu" else {})]

    def find(self, folders: Sequence[Path]) -> Finding:
        pairs = [pair for folder in folders for pair in pairs_in(folder)]
        asked = [pair for pair in pairs if not pair.is_control]
        if not asked:
            raise DataError(
                f"{', '.join(map(str, folders))}: no `evaluate` with a `rule` has a reinforced model and the one that it began as; let the"
                " study make its own run: trivium study rlhf"
            )
        seen = [pair.is_preferred for pair in asked]
        known = [pair for folder in folders for pair in chosen_in(folder)] or [planted(0.2)]
        still = [pair for pair in pairs if pair.is_control] or [planted(0.0)]
        return Finding(
            f"{'; '.join(map(_told, pairs))}.",
            True if all(seen) else False if False in seen else None,
            HEADER,
            [_row(pair) for pair in pairs],
            [
                *(Control(f"true reward known: {pair.model}", is_positive=True, is_detected=bool(pair.is_preferred)) for pair in known),
                *(Control(f"{pair.run}/{pair.model}, rankings by lot", is_positive=False, is_detected=bool(pair.is_preferred))
                  for pair in still),
            ],
            [_figure(pairs)],
        )  # fmt: skip


def pairs_in(folder: Path) -> Iterator[Pair]:
    """Each reinforced model that a run evaluated beside the one that it began as."""
    stages = load_recipe(str(folder / "run.toml"), {}).stages
    for name, stage in stages.items():
        if not isinstance(stage, Evaluate) or stage.rule is None or not (folder / name / SCORES).is_file():
            continue
        scores, models = true_scores(folder / name), stage.named_models()
        for after, path in models.items():
            made = stages.get(path.removeprefix("@").split("/")[0]) if path.startswith("@") else None
            for before, start in models.items():
                if isinstance(made, Reinforce) and start == made.model:
                    yield Pair(folder.resolve().name, after, before, np.array(scores[after]), np.array(scores[before]))


def chosen_in(folder: Path) -> Iterator[Pair]:
    """Of the answers that annotators were shown, the best by the true score beside the first: it must be preferred."""
    for name, stage in load_recipe(str(folder / "run.toml"), {}).stages.items():
        truth = folder / name / "rankings" / "truth.jsonl"
        if isinstance(stage, Annotate) and truth.is_file() and not name.startswith(CONTROL):
            scores = [row.values["scores"] for row in rows(truth)]
            first, best = np.array([each[0] for each in scores]), np.array([max(each) for each in scores])
            yield Pair(folder.resolve().name, f"the best of the answers of {name}", stage.model, best, first)


def planted(gain: float, *, prompts: int = 300) -> Pair:
    """A model whose true scores are higher by so much than those of its start, both with noise of a tenth."""
    place_N = np.arange(prompts)
    wave_N = 0.1 * np.sin(place_N), 0.1 * np.cos(place_N)
    return Pair("planted", f"{gain:g} better", "planted", 0.5 + gain + wave_N[0], 0.5 + wave_N[1])


def _row(pair: Pair) -> list[Cell]:
    return [
        pair.run, pair.model, pair.start, len(pair.after_N), *pair.win_rate,
        float(pair.before_N.mean()), float(pair.after_N.mean()), *pair.gain, SEEN[pair.is_preferred],
    ]  # fmt: skip


def _told(pair: Pair) -> str:
    rate, low, high = pair.win_rate
    lot = ", which learned from rankings by lot," if pair.is_control else ""
    return (
        f"{pair.run}/{pair.model}{lot} wins {rate:.0%} [{low:.0%}, {high:.0%}] against {pair.start}, with a true score of"
        f" {pair.after_N.mean():.3f} after {pair.before_N.mean():.3f}: {SEEN[pair.is_preferred]}"
    )


def _figure(pairs: Sequence[Pair]) -> Figure:
    shown = [Interval(f"{pair.run} / {pair.model}", *pair.win_rate) for pair in pairs]
    return Figure("Win rate over the start", "by the true rule, with 95 % intervals", intervals("win rate over the start", shown))
