"""The only training loop: a source of groups, one or more trainers, and hooks."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trivium.core.errors import DivergedError
from trivium.core.interrupt import Interrupted, Interrupts
from trivium.core.progress import describe
from trivium.core.run import Run
from trivium.core.types import Group
from trivium.data.digest import digest_of
from trivium.data.pack import in_full_rows, pack
from trivium.data.sources import Source
from trivium.nn.batch import Batch
from trivium.train.checkpoint import Checkpoints
from trivium.train.meter import Meter, Yardstick
from trivium.train.parallel import own_shares
from trivium.train.ranks import agreed, heard
from trivium.train.trainer import Trainer

Hook = Callable[[int, dict[str, float]], str | None]  # (steps done, metrics so far); may add metrics, and say why to stop
MAX_SKIPPED = 3  # non-finite updates in a row before going back to a checkpoint
SHOWN = ("loss", "bits_per_byte", "accuracy", "reward", "kl", "entropy")


@dataclass(frozen=True, slots=True)
class Layout:
    """The size of a micro-batch: rows of `length` positions. Results do not depend on it, memory and speed do."""

    rows: int
    length: int

    def packed(self, groups: Sequence[Group]) -> list[Batch]:
        """Micro-batches of these groups."""
        return pack(in_full_rows(groups, self.length), rows=self.rows, length=self.length)


def fit(
    run: Run, source: Source, trainers: Sequence[Trainer], *, steps: int, layout: Layout,
    checkpoints: Checkpoints, hooks: Sequence[Hook] = (), save_multiple: int = 1, yardstick: Yardstick = Yardstick(), first_step: int = 0,  # noqa: B008
) -> None:  # fmt: skip
    """Train until `steps` steps are done, from the newest good checkpoint if there is one.

    A hook that gives a reason ends the training there. save_multiple: saves before the end happen only after a multiple of this many steps
    (a phase of on-policy data). yardstick: what the speed is compared with. first_step: updates that the model had before, which are
    counted. With several ranks all call it, with the same source, of whose groups each takes a share; they stop and save at the same step,
    for a reason where rank 0 has one: what a hook of another finds in numbers of its own does not count.
    Raises DivergedError, and Interrupted after saving.
    """
    done = checkpoints.restore(trainers) or first_step
    if checkpoints.why_stopped:
        run.log(f"stopped after step {done} of {steps}: {checkpoints.why_stopped}")
        return
    if done > first_step:
        run.log(f"going on after step {done} of {steps}")
    guard = _Guard(run, checkpoints)
    with checkpoints, Interrupts() as interrupts, run.progress(steps) as progress:
        progress.start_at(done)
        meter = Meter(run, yardstick)
        while done < steps:
            groups = source(done)
            parts = [layout.packed(part) for part in own_shares(groups, trainers[0].shares)]
            batches, sizes = [batch for part in parts for batch in part], [len(part) for part in parts]
            metrics: dict[str, float] = {}
            for trainer in trainers:
                trainer.let_go()
            for trainer in trainers:
                report = trainer.step(done, batches, sizes)
                metrics |= report if trainer is trainers[0] else {f"{trainer.name}_{name}": value for name, value in report.items()}
            back = guard.check(done, trainers, metrics)
            if back is not None:
                done = back
                continue
            done += 1
            why_stop = next(filter(None, [hook(done, metrics) for hook in hooks]), None)
            run.record(done, {name: value for name, value in metrics.items() if math.isfinite(value)}, digest=digest_of(groups))
            progress.update(done, f"{describe({name: metrics[name] for name in SHOWN if name in metrics})}  {meter.update(done, groups)}")
            signal_number, is_due, is_over = agreed([interrupts.received or 0, checkpoints.is_due(), why_stop is not None])
            why_stop = heard(why_stop) if is_over else None
            is_wanted = is_due or signal_number
            # not between skipped updates: the checkpoint to go back to is the one before the first of them
            if done == steps or why_stop or (is_wanted and done % save_multiple == 0 and guard.in_a_row == 0):
                checkpoints.save(done, trainers, why_stopped=why_stop)
                if signal_number and done < steps:
                    checkpoints.wait()
                    heard(None)  # all have saved
                    raise Interrupted(signal_number, f"saved after step {done} of {steps}; the same command goes on from there")
            if why_stop:
                run.log(f"stopped after step {done} of {steps}: {why_stop}")
                return


class _Guard:
    """Watches for updates that were skipped because they were not finite."""

    def __init__(self, run: Run, checkpoints: Checkpoints) -> None:
        self.run, self.checkpoints, self.in_a_row, self.went_back = run, checkpoints, 0, False

    def check(self, step: int, trainers: Sequence[Trainer], metrics: dict[str, float]) -> int | None:
        """None to go on; a step number to go on from an older checkpoint."""
        if not any(name.endswith("skipped") for name in metrics):
            self.in_a_row = 0
            return None
        self.in_a_row += 1
        self.run.log(f"step {step}: the gradient is not finite (loss {metrics['loss']}), update skipped")
        if self.in_a_row < MAX_SKIPPED:
            return None
        if self.went_back or not heard(self.checkpoints.has_any()):
            before = "again after going back to a checkpoint" if self.went_back else "before there was a checkpoint to go back to"
            raise DivergedError(
                f"{self.run.stage}: {MAX_SKIPPED} updates in a row were not finite up to step {step}, {before}; "
                "look at the batch of that step, or lower the learning rate"
            )
        self.went_back, self.in_a_row = True, 0
        back = self.checkpoints.restore(trainers)
        if back == 0:  # what was there turned out to be damaged: the weights are those of now, not of step 0
            raise DivergedError(
                f"{self.run.stage}: {MAX_SKIPPED} updates in a row were not finite, and there is no good checkpoint to go back to"
            )
        self.run.log(f"going back to step {back}")
        return back
