"""route: which model for which prompt: routers that learn from matches, measured on held-out prompts, and kept for decisions."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from trivium.core.config import component, plain, read_toml
from trivium.core.errors import ConfigError, DataError
from trivium.core.run import Run
from trivium.core.types import Match
from trivium.report.reading import CALIBRATION, ROUTING
from trivium.score.ranking.leaderboard import heldout_prompts
from trivium.score.ranking.table import MatchTable, check_connected, tabulate
from trivium.score.routing.costs import costs_of
from trivium.score.routing.features import PromptSpace
from trivium.score.routing.routers import (
    AnyRouter,
    Arrays,
    Classifier,
    LanguageModel,
    LearnedRouter,
    Lesson,
    Matrix,
    Preference,
    Random,
    Similarity,
)  # fmt: skip
from trivium.score.routing.routers.lesson import CHECK_SHARE, gain_of_scores
from trivium.score.routing.store import save_routers
from trivium.stages.base import Foresight, Work, check_data, check_model, resolve
from trivium.stages.routing_table import Asked, measured, results, verdict_of
from trivium.text.read import read_matches

MIN_PROMPTS = 10


@component
class Route:
    """Leaves `@route/router` (all routers, for `trivium route --router`), routing.json and results.json, a column a router.

    data: matches with prompts, or what answers were worth (docs/ranking.md). heldout: the same of other prompts; without it heldout_share
    of the prompts. model: whose hidden states the prompts' features are; without it hashed words. dim: axes of the features. strong, weak:
    the two models that PGR, APGR and CPT are about; of two the better one is strong. costs: price of an answer by model. share: of prompts
    that are to go to the strong model; budget: the mean price instead.
    """

    kind: Literal["route"] = "route"
    data: str
    heldout: str = ""
    heldout_share: float = Field(default=0.25, gt=0, lt=1)
    model: str = ""
    dim: int = Field(default=32, gt=0)
    routers: tuple[AnyRouter, ...] = (Random(), Similarity(), Matrix(), Classifier(), Preference())
    strong: str = ""
    weak: str = ""
    costs: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    share: float = Field(default=0.3, ge=0, le=1)
    budget: float | None = None

    def check(self) -> None:
        for source in (self.data, self.heldout):
            check_data(source or "@", "matches")
        for model in (self.model, *(router.model for router in self.routers if isinstance(router, LanguageModel))):
            if model:
                check_model(model)
        kinds = [router.kind for router in self.routers]
        if "random" not in kinds or len(set(kinds)) < len(kinds):
            raise ConfigError("routers must have 'random', which the others are measured against, and each kind once")
        if bool(self.strong) != bool(self.weak):
            raise ConfigError("strong and weak go together: name both models, or none")
        if self.strong and self.strong == self.weak:
            raise ConfigError(f"strong and weak are both '{self.strong}'; name two models")
        if self.budget is not None and not self.costs:
            raise ConfigError("budget is a mean price; give costs, a price for every model")

    def foresee(self, name: str, known: Foresight) -> Work:
        return Work(seconds=60.0)

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.embedding import embedded

        train, test = self._tables(run)
        strong, weak = self._pair(train)
        if self.costs:
            costs_of(train.models, self.costs)
        share = self._share(strong, weak)
        raw = embedded(run, self.model, [*train.prompts, *test.prompts])
        raw_PR, raw_QR = raw[: train.num_prompts], raw[train.num_prompts :]
        space = PromptSpace.of(raw_PR, self.dim, is_words=not self.model)
        z_QD = space(raw_QR)
        lesson = Lesson(train, space(raw_PR), heldout_prompts(train, CHECK_SHARE, run.seed + 1), run.seed)
        learned: dict[str, Arrays] = {}
        strengths: dict[str, np.ndarray] = {}
        for router in self.routers:
            if isinstance(router, LanguageModel):
                strengths[router.kind] = self._by_name(run, router.model, lesson, test)
                continue
            learned[router.kind] = router.learn(lesson)
            strengths[router.kind] = router.strengths(learned[router.kind], z_QD)
        asked = Asked(test, strong, weak, share, self.costs, run.seed)
        found = measured(asked, strengths)
        facts = self._facts(train, test, asked, found)
        for line in verdict_of(found, facts["published"]):
            run.log(line)
        options: dict[str, LearnedRouter] = {router.kind: router for router in self.routers if not isinstance(router, LanguageModel)}
        save_routers(run.folder / "router", self._kept(train, asked, found, options), space, options, learned)
        run.leave(ROUTING, facts)
        run.leave("results.json", results(found))
        best = min((one["prediction"] for one in found["routers"].values()), key=lambda prediction: prediction["log_loss"][0])
        run.leave(CALIBRATION, best["calibration"])
        return {"matches": len(train) + len(test), "models": train.num_models, "prompts": train.num_prompts + test.num_prompts}

    def _by_name(self, run: Run, model: str, lesson: Lesson, test: MatchTable) -> np.ndarray:
        """Strengths on held-out prompts by a reward model's scores of names, times what makes them odds on the prompts set aside.

        `reward` leaves scores of deviation 1, which are no log-odds. It has seen the prompts set aside, so the odds are a little too sure.
        """
        from trivium.stages.computing.embedding import name_scores

        table = lesson.table
        checked = np.flatnonzero(lesson.is_check_P)
        scores = name_scores(run, model, [*(table.prompts[place] for place in checked.tolist()), *test.prompts], table.models)
        known_PM = np.zeros((table.num_prompts, table.num_models))
        known_PM[checked] = scores[: len(checked)]
        set_aside = table.where(~lesson.fit_N)
        return gain_of_scores(set_aside, known_PM) * scores[len(checked) :]

    def _tables(self, run: Run) -> tuple[MatchTable, MatchTable]:
        """Training and held-out matches; no prompt is in both."""
        found = self._read(run, self.data)
        if self.heldout:
            held = self._read(run, self.heldout)
            prompts = {match.prompt for match in held}
            rest = [match for match in found if match.prompt not in prompts]
            if len(rest) < len(found):
                run.log(f"{len(found) - len(rest):,} of {len(found):,} training matches are on held-out prompts and are left out")
        else:
            whole = tabulate(found)
            held_N = heldout_prompts(whole, self.heldout_share, run.seed)[whole.prompt_N]
            held = [match for match, is_held in zip(found, held_N, strict=True) if is_held]
            rest = [match for match, is_held in zip(found, held_N, strict=True) if not is_held]
        if not rest or not held:
            raise DataError(f"{self.data}: {len(rest):,} matches are left to learn from and {len(held):,} to measure on; more are needed")
        train = tabulate(rest)
        if train.num_prompts < MIN_PROMPTS:
            raise DataError(f"{self.data}: {train.num_prompts} prompts are left to learn from; at least {MIN_PROMPTS} are needed")
        check_connected(train)
        return train, tabulate(held, train.models)

    def _read(self, run: Run, source: str) -> list[Match]:
        found = list(read_matches(resolve(run, source)))
        known = [match for match in found if match.prompt]
        if len(known) < len(found):
            run.log(f"{len(found) - len(known):,} of {len(found):,} matches of {source} have no prompt and are left out")
        if not known:
            raise DataError(
                f"{source}: no match has a prompt, and without one there is nothing to route by; `trivium rank` ranks such matches"
            )
        return known

    def _pair(self, train: MatchTable) -> tuple[str, str]:
        """The strong and the weak model; none of more than two that are not named."""
        if self.strong:
            for name in (self.strong, self.weak):
                train.number(name)
            return self.strong, self.weak
        if train.num_models > 2:
            return "", ""
        ahead = np.where(train.first_N == 0, train.score_N, 1 - train.score_N).mean()
        return (train.models[0], train.models[1]) if ahead >= 0.5 else (train.models[1], train.models[0])

    def _share(self, strong: str, weak: str) -> float:
        """The share of strong calls that is asked for, or that the budget pays for."""
        if self.budget is None:
            return self.share
        if not strong:
            raise ConfigError("budget is for two models; name strong and weak")
        low, high = self.costs[weak], self.costs[strong]
        if not low <= self.budget <= high:
            raise ConfigError(f"budget is {self.budget:g}, but an answer costs {low:g} ({weak}) to {high:g} ({strong})")
        return (self.budget - low) / (high - low) if high > low else 1.0

    def _facts(self, train: MatchTable, test: MatchTable, asked: Asked, found: Mapping[str, Any]) -> dict[str, Any]:
        published = read_toml(Path(str(resources.files("trivium"))) / "stages" / "published_routers.toml")["routers"]
        return {
            "models": list(train.models), "strong": asked.strong, "weak": asked.weak, "costs": dict(self.costs),
            "features": f"hidden states of {self.model}" if self.model else "hashed words",
            "train": {"matches": len(train), "prompts": train.num_prompts}, "heldout": {"matches": len(test), "prompts": test.num_prompts},
            **found, "published": published,
        }  # fmt: skip

    def _kept(self, train: MatchTable, asked: Asked, found: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """What decisions need."""
        by_worth: Sequence[str] = [kind for kind in found["ranked"] if kind in options]
        kept = {kind: {"score_quantiles": found["routers"][kind]["score_quantiles"]} for kind in options}
        return {
            "models": list(train.models), "embedding": self.model, "strong": asked.strong, "weak": asked.weak, "costs": dict(self.costs),
            "share": asked.share, "best": by_worth[0], "routers": kept, "trained_with": plain(self.routers),
        }  # fmt: skip
