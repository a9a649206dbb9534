"""`trivium plan RECIPE --gpus 64 --gpu h100`: what each stage takes on a cluster, and what all of them take together."""

from dataclasses import dataclass, replace
from functools import cached_property

from trivium.core.config import plain
from trivium.core.errors import ConfigError
from trivium.learn.objectives.preference import TDPO
from trivium.nn.flops import HEAD_CHUNK
from trivium.plan.calibration import LayerFit
from trivium.plan.devices import GPUS_PER_NODE, Cluster, devices
from trivium.plan.failures import Reliability, reliability
from trivium.plan.figures import Tag
from trivium.plan.memory import FREE_SHARE
from trivium.plan.sampling import Replica, switch_seconds, sync_seconds
from trivium.plan.search import Choice, Training, best
from trivium.plan.step import efficiency
from trivium.plan.timeline import Batch, Timeline, asynchronous, colocated, one_step_off
from trivium.stages.base import Work
from trivium.stages.finetune import ByReward, Finetune
from trivium.stages.machine import Machine
from trivium.stages.planning.jobs import Job, extra_flops, shape_of
from trivium.stages.prefer import Prefer
from trivium.stages.reinforce import Reinforce
from trivium.stages.samplers import Servers

MEAN_SHARE, VARIATION = 0.25, 0.9  # assumed of answers: their mean in longest answers, and how far they are spread
ROWS = 64  # that a sampler answers at one time, where a stage does not say
SAVE_BYTES_PER_S, LEAST_SAVE_S = 10e9, 1.0  # assumed: states are copied to the host, and written while training goes on
OTHERS = ("A100", "H100", "H200", "B200", "MI300X")  # kinds that alternatives are looked for among
STATE_BYTES = 12  # of a weight that a checkpoint holds: itself and Adam's moments
LAG = 4  # phases, where the recipe has none
IN_TURNS, ONE_OFF, STREAM = "all GPUs sample, then train", "one step off", "asynchronous"
WAYS = {  # to share GPUs in a phase: the options of the stage for each
    IN_TURNS: "engine=in_process",
    ONE_OFF: "engine=vllm engine.max_lag=1",
    STREAM: f"engine=vllm engine.max_lag={LAG} engine.in_flight=true",
}


@dataclass(frozen=True, slots=True)
class Split:
    """A way to share the GPUs of a phase between sampling and training. samplers: GPUs, 0 if all do both."""

    name: str
    samplers: int
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage on a cluster. splits: of reinforcement learning, first the fastest as the recipe has it, then others by their time."""

    job: Job
    seconds: float
    choice: Choice | None = None
    splits: tuple[Split, ...] = ()


@dataclass(frozen=True)
class ClusterPlan:
    """All stages one after the other."""

    cluster: Cluster
    stages: tuple[StagePlan, ...]
    share_tag: Tag

    @cached_property
    def main(self) -> StagePlan | None:
        """The stage that computes most of those that train."""
        return max((each for each in self.stages if each.choice), key=lambda each: each.job.work.flops, default=None)

    @property
    def save_s(self) -> float:
        """How long a checkpoint holds training up."""
        if self.main is None or self.main.job.config is None:
            return LEAST_SAVE_S
        return max(LEAST_SAVE_S, STATE_BYTES * shape_of(self.main.job.config).parameters / self.cluster.gpus / SAVE_BYTES_PER_S)

    @property
    def reliability(self) -> Reliability:
        """Of the cluster, with such checkpoints."""
        return reliability(self.cluster.gpus, save_s=self.save_s)

    @property
    def seconds(self) -> float:
        """Of all stages, with what stops cost."""
        return sum(each.seconds for each in self.stages) / max(self.reliability.goodput, 1e-3)

    @property
    def gpu_hours(self) -> float:
        """Of the whole cluster all the time."""
        return self.seconds * self.cluster.gpus / 3600

    @property
    def cost(self) -> float:
        """Dollars at the table's price."""
        return self.gpu_hours * self.cluster.device.price


def machine_for(cluster: Cluster) -> Machine:
    """A machine as fast as the cluster, for dials that are set by time."""
    return Machine(
        device="cuda", threads=1, precision="bfloat16", ceiling=cluster.device.bf16 * cluster.gpus, compile="on", kernels="torch",
        products="full",
    )  # fmt: skip


def plan_cluster(jobs: list[Job], cluster: Cluster, fit: LayerFit | None = None, *, is_fp8: bool = False) -> ClusterPlan:
    """fit: of one and two layers, measured on such a GPU. Raises ConfigError for a stage that does not fit, saying what would."""
    stages = tuple(_stage(job, cluster, fit, is_fp8) for job in jobs)
    return ClusterPlan(cluster, stages, "calibrated" if fit else "assumed")


def training_of(job: Job, fit: LayerFit | None = None, *, is_fp8: bool = False) -> Training:
    """What a training stage asks of a cluster."""
    assert job.config is not None
    copies, wholes, reads, apart = 1, 0, int(isinstance(job.stage, Prefer) and job.stage.keeps_reference), False
    if isinstance(job.stage, Prefer) and isinstance(job.stage.objective, TDPO) and job.lora is None:
        wholes, apart = 1, True  # whole until the trainer cuts it
    if isinstance(job.stage, Reinforce):
        copies, reads = 1 + job.stage.has_critic, 1 + len(job.stage.reward_model)
        # an engine of ours in a process of its own has the weights whole too, on the same device
        apart = job.stage.is_read_in_parts
        wholes = 0 if apart and isinstance(job.stage.engine, Servers) else 1 if apart else copies
    elif isinstance(job.stage, Finetune):  # whose answers are scored, or whose vocabulary may grow
        wholes = int(isinstance(job.stage.select, ByReward) or job.stage.template == "synthesizer")
    trained = None if job.lora is None else job.lora.num_parameters(job.config)
    return Training(
        shape_of(job.config), int(plain(job.stage)["seq_len"]), job.update_tokens, head_tokens=HEAD_CHUNK,
        trained=trained, copies=copies, wholes=wholes if trained is None else copies,  # adapters are small,
        read_only=reads * (trained is None and not apart), read_apart=reads * apart, is_fp8=is_fp8,  # and share the weights below
        share=fit.share if fit else 0.0, margin=fit.margin if fit else 0.0,
    )  # fmt: skip


def _stage(job: Job, cluster: Cluster, fit: LayerFit | None, is_fp8: bool) -> StagePlan:
    work = job.work
    rest = work.seconds + _reading(job, extra_flops(job), cluster, fit)
    if not job.is_training or job.config is None:
        return StagePlan(job, rest + _sampling(work, job, cluster))
    choice = best(training_of(job, fit, is_fp8=is_fp8), cluster)
    if isinstance(job.stage, Reinforce):
        asked, found = way_of(job.stage), _splits(job.stage, job, cluster, choice, fit)
        splits = tuple(sorted(found, key=lambda each: (each.name != asked, each.timeline.seconds)))
        if splits[0].name != asked:
            raise ConfigError(
                f"{job.name} samples on GPUs of its own, but {cluster.gpus} x {cluster.device.name} do not hold servers and trainers apart;"
                " take more of them, or engine=in_process"
            )
        return StagePlan(job, job.stage.phases * splits[0].timeline.seconds, choice, splits)
    return StagePlan(job, rest + job.updates * choice.step.seconds + _sampling(work, job, cluster), choice)


def way_of(stage: Reinforce) -> str:
    """How its recipe shares GPUs in a phase. Our own process samples on the trainer's."""
    if not isinstance(stage.engine, Servers):
        return IN_TURNS
    return STREAM if stage.engine.in_flight else ONE_OFF if stage.engine.max_lag else IN_TURNS


def _reading(job: Job, flops: float, cluster: Cluster, fit: LayerFit | None) -> float:
    """Seconds of forward passes, spread over all GPUs."""
    if job.config is None or not flops:
        return 0.0
    share = fit.share if fit else efficiency(shape_of(job.config).parameters)
    return flops / (cluster.gpus * cluster.device.bf16 * share)


def _sampling(work: Work, job: Job, cluster: Cluster) -> float:
    """Seconds to generate what a stage does, with as many samplers as there is room for."""
    if not work.tokens_generated or job.config is None:
        return 0.0
    replica = Replica.of(shape_of(job.config), cluster.device)
    samplers = max(1, cluster.gpus // replica.gpus)
    return work.tokens_generated / samplers / replica.tokens_per_s(ROWS, job.sequence_tokens)


def _splits(stage: Reinforce, job: Job, cluster: Cluster, choice: Choice, fit: LayerFit | None) -> list[Split]:
    """Every way to share the GPUs, an eighth of them at a time, and whole nodes where there are several."""
    assert job.config is not None
    shape = shape_of(job.config)
    replica = Replica.of(shape, cluster.device)
    longest = stage.sampling.max_new_tokens
    passes = 1 + len(stage.reward_model)
    batch = Batch(
        stage.prompts_per_phase * stage.answers, max(1.0, MEAN_SHARE * longest), VARIATION, longest,
        prompt_tokens=max(1.0, job.sequence_tokens / 2), passes=passes,
    )  # fmt: skip
    # what the chosen layout reaches, its updates' own costs among it
    steps = stage.passes * stage.minibatches * (2 if stage.has_critic else 1)
    per_update = choice.step.seconds - choice.step.compute
    reached = choice.step.tokens * 6 * shape.multiplied / max(choice.step.compute, 1e-9) / choice.layout.gpus
    train_gpu_s = batch.train_gpu_seconds(shape.multiplied, reached) * stage.passes * (2 if stage.has_critic else 1)
    train_gpu_s += steps * per_update * cluster.gpus
    # one GPU samples with the trainer's own weights
    together, switch = max(cluster.gpus, replica.gpus), switch_seconds(shape) if cluster.gpus > 1 else 0.0
    found = [Split(IN_TURNS, 0, colocated(batch, replica, together, train_gpu_s, switch_s=switch))]
    sync = sync_seconds(shape, is_packed=cluster.nodes == 1)
    least = GPUS_PER_NODE if cluster.nodes > 1 else 1
    unit, lag = max(replica.gpus, -(-(cluster.gpus // 8) // least) * least), stage.engine.max_lag or LAG
    training = training_of(job, fit)
    for samplers in range(unit, cluster.gpus, unit):
        trainers = cluster.gpus - samplers
        layout = replace(choice.layout, shard=max(1, trainers // (choice.layout.tensor * choice.layout.context)), replicate=1)
        uneven = trainers % (layout.tensor * layout.context)
        if uneven or training.memory(layout).total > (1 - FREE_SHARE) * cluster.device.memory_bytes:
            continue
        off = one_step_off(batch, replica, samplers, trainers, train_gpu_s, sync_s=sync)
        free = asynchronous(batch, replica, samplers, trainers, train_gpu_s, sync_s=sync, lag=lag)
        found += [Split(ONE_OFF, samplers, off), Split(STREAM, samplers, free)]
    return found


def alternatives(jobs: list[Job], plan: ClusterPlan, others: list[Cluster], fit: LayerFit | None) -> list[tuple[str, ClusterPlan]]:
    """Up to three other clusters that are cheaper or faster: the cheapest, the fastest, and the best product of both."""
    found: list[tuple[str, ClusterPlan]] = []
    wishes = [(f"{each.gpus} x {each.device.name}", each, False) for each in others]
    if plan.cluster.device.fp8:
        wishes.append((f"{plan.cluster.gpus} x {plan.cluster.device.name} with products in fp8", plan.cluster, True))
    for name, cluster, is_fp8 in wishes:
        try:
            kept = fit if cluster.device == plan.cluster.device else None
            found.append((name, plan_cluster(jobs, cluster, kept, is_fp8=is_fp8)))
        except ConfigError:  # it does not fit there
            continue
    better = [each for each in found if each[1].cost < 0.98 * plan.cost or each[1].seconds < 0.98 * plan.seconds]
    keys = (lambda each: each[1].cost, lambda each: each[1].seconds, lambda each: each[1].cost * each[1].seconds)
    chosen: list[tuple[str, ClusterPlan]] = []
    for key in keys:
        chosen += [each for each in sorted(better, key=key) if each not in chosen][:1]
    return chosen


def others_than(cluster: Cluster) -> list[Cluster]:
    """Half and twice the GPUs, and as many of other kinds whose nodes have fast links."""
    counts = [count for count in (cluster.gpus // 2, cluster.gpus * 2) if count and (count < GPUS_PER_NODE or not count % GPUS_PER_NODE)]
    found = [replace(cluster, gpus=count) for count in counts]
    return found + [replace(cluster, device=each) for each in devices().values() if each.name in OTHERS and each != cluster.device]
