"""What `trivium plan RECIPE --gpus N` says: the figures of a cluster's plan in sections, each with where it comes from."""

from collections.abc import Iterator
from dataclasses import replace

from trivium.nn.flops import flops_per_token
from trivium.plan.calibration import LayerFit
from trivium.plan.devices import Cluster, Device, device, network_of
from trivium.plan.figures import Figure, Section, Tag
from trivium.plan.launch import launch_lines, options_of
from trivium.plan.law import FLOPS_PER, REFITTED
from trivium.plan.repeated_data import plan as plan_data
from trivium.plan.sampling import Replica
from trivium.plan.search import Choice
from trivium.plan.step import mfu, tokens_to_hide
from trivium.report.units import count, duration, flops, share, size
from trivium.stages.planning.cluster import WAYS, ClusterPlan, StagePlan, alternatives, machine_for, others_than, plan_cluster
from trivium.stages.planning.jobs import Asked, Job, jobs_of, shape_of
from trivium.stages.planning.layers import layer_fit
from trivium.stages.reinforce import Reinforce

TOKENS_PER_CORE_S = 1e12 / (2 * 1000 * 3600)  # datatrove #106: signatures of 1T tokens took 1,000 cores 2 hours
MOST_EPOCHS = 4  # that are worth nearly as much as new text (Muennighoff et al. 2023, arXiv:2305.16264)
LAW_FLOPS = 1e17  # below, the law is far from what it was fitted to


def plan_of(asked: Asked, *, gpus: int, gpu: str, net: str, with_calibration: bool = False) -> list[Section]:
    """The plan for so many GPUs of a name. Raises ConfigError: an unknown name, a model that does not fit."""
    cluster = Cluster(device(gpu), gpus, network_of(net))
    jobs = jobs_of(replace(asked.recipe, machine=machine_for(cluster)))
    fit = layer_fit(jobs, cluster.device, with_calibration=with_calibration)
    return told(asked, plan_cluster(jobs, cluster, fit), jobs, fit)


def told(asked: Asked, plan: ClusterPlan, jobs: list[Job], fit: LayerFit | None) -> list[Section]:
    """All of it."""
    sections = [_stages(plan)]
    if plan.main is not None and plan.main.choice is not None:
        sections += [_memory(plan.main, plan.main.choice, fit), _speed(plan.main, plan.main.choice, plan, fit)]
    sections += [_split(each, plan.cluster.device) for each in plan.stages if each.splits]
    sections.append(_together(plan))
    sections += [Section("text", figures, lines) for figures, lines in _text(asked, plan) if figures]
    sections.append(_others(plan, jobs, fit))
    return [*sections, Section("to start it", lines=[f"  {line}" for line in _lines(asked, plan)])]


def _lines(asked: Asked, plan: ClusterPlan) -> Iterator[str]:
    """For servers, if the recipe samples on some, and for the ranks, which are on the other GPUs then."""
    samplers = 0
    for each in plan.stages:
        if each.splits and isinstance(each.job.stage, Reinforce) and each.splits[0].samplers:
            samplers, stage = each.splits[0].samplers, each.job.stage
            yield from (f"{note}   # on {samplers} of the GPUs" for note in stage.engine.notes(stage.model, stage.seq_len))
    trainers = replace(plan.cluster, gpus=plan.cluster.gpus - samplers)
    yield from launch_lines([*asked.words, *_layout_words(asked, plan.main)], trainers)


def _layout_words(asked: Asked, main: StagePlan | None) -> list[str]:
    """What the command is told for the layout of the stage that computes most."""
    if main is None or main.choice is None:
        return []
    owner = "" if asked.is_shape else f"{main.job.name}."
    # elsewhere rows must hold whole groups, such as all answers to a prompt
    rows = [f"{owner}micro_batch_rows={main.choice.layout.rows}"] if main.job.stage.kind == "pretrain" else []
    return [*rows, *options_of(main.choice.layout)]


def _stages(plan: ClusterPlan) -> Section:
    cluster = plan.cluster
    title = f"stages on {cluster.gpus} x {cluster.device.name}, {cluster.network / 1e9:.0f} Gb/s for each between nodes"
    return Section(title, [_stage(each, plan) for each in plan.stages])


def _stage(each: StagePlan, plan: ClusterPlan) -> Figure:
    tag: Tag = plan.share_tag if each.choice and not each.splits else "assumed"
    busy = each.choice.cluster.gpus if each.choice else plan.cluster.gpus
    idle = f"{busy} of {plan.cluster.gpus} GPUs have work: an update has {count(each.job.update_tokens)} tokens"
    notes = [idle] if busy < plan.cluster.gpus else []
    trained = [f"{count(each.job.work.tokens_trained)} tokens in {each.job.updates:,} updates"] if each.job.is_training else []
    return Figure(each.job.name, each.seconds, duration(each.seconds), tag, "; ".join(trained + notes))


def _memory(each: StagePlan, choice: Choice, fit: LayerFit | None) -> Section:
    found, tag = choice.memory, "calibrated" if fit and fit.margin else "assumed"
    terms = {
        "states": (found.states, "weights, gradients and Adam's moments in fp32, sharded"),
        "whole weights": (found.whole, "in fp32, while they are sampled from or spread: not at the time of the last three"),
        "models beside": (found.beside, "that are only read, and frozen weights, in fp32"),
        "gathered weights": (found.gathered, "two layers under way, embedding and head, and their gradients"),
        "activations": (found.activations, f"recomputed: {choice.layout.recompute}"),
        "logits": (found.logits, "of a chunk of positions"),
    }
    sure = ("states", "whole weights", "models beside")
    figures = [
        Figure(name, value, size(value), "exact" if name in sure else "assumed", note) for name, (value, note) in terms.items() if value
    ]
    margin = f"the last three x {found.margin:.2f}; right to about 15 % where it was checked (docs/plan.md)"
    free = 1 - found.total / choice.cluster.device.memory_bytes
    return Section(
        f"memory of each GPU in {each.job.name}",
        [
            *figures,
            Figure("together", found.total, size(found.total), tag, margin),
            Figure("left free", free, share(free), tag, f"of {choice.cluster.device.memory_gib:.0f} GiB"),
        ],
    )


def _speed(each: StagePlan, choice: Choice, plan: ClusterPlan, fit: LayerFit | None) -> Section:
    layout, step, peak, tag = choice.layout, choice.step, choice.cluster.device.bf16, plan.share_tag
    assert each.job.config is not None
    shape, per_gpu = shape_of(each.job.config), step.tokens_per_s / choice.cluster.gpus
    by_palm = shape.flops_per_token(layout.seq_len, is_causal=False)
    causal = flops_per_token(each.job.config, layout.seq_len)
    mesh = f"{layout.replicate} x {layout.shard} x {layout.context} x {layout.tensor}"
    rows = f"{layout.rows} rows of {layout.seq_len:,} on a rank, {step.accumulate} times an update"
    return Section(
        f"speed of {each.job.name}",
        [
            Figure("parameters", shape.parameters, count(shape.parameters), "exact"),
            Figure("replicas x shards x context x tensor", mesh, mesh, "exact", rows),
            Figure("tokens/s", step.tokens_per_s, f"{step.tokens_per_s:,.0f}", tag, f"{per_gpu:,.0f} on each GPU"),
            Figure("MFU, PaLM's count", *_percent(mfu(per_gpu, by_palm, peak)), tag, f"{flops(by_palm)} a token"),
            Figure("MFU, causal", *_percent(mfu(per_gpu, causal, peak)), tag, f"{flops(causal)} a token, masked positions left out"),
            Figure("an update", step.seconds, duration(step.seconds), tag, _times(choice)),
            _hidden(choice),
        ],
    )  # fmt: skip


def _percent(value: float) -> tuple[float, str]:
    return value, share(value)


def _times(choice: Choice) -> str:
    step = choice.step
    parts = {"arithmetic": step.compute, "sharded weights": step.gather, "tensor ranks": step.tensor, "context ranks": step.context}
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts.items() if seconds >= 0.005)


def _hidden(choice: Choice) -> Figure:
    step, layout = choice.step, choice.layout
    if not step.gather:
        return Figure("communication hidden", "yes", "yes", "exact", "one GPU keeps all weights")
    wire = choice.cluster.bytes_per_s(layout.shard * layout.context * layout.tensor)
    rule = tokens_to_hide(step.flops_per_s, wire)
    word, sign = ("yes", ">=") if step.is_hidden else ("no", "<")
    note = f"{count(layout.tokens)} tokens {sign} {count(step.enough_tokens)} on each GPU at a time"
    where = "between nodes" if wire == choice.cluster.network_bytes_per_s and layout.shard > 1 else "within a node"
    return Figure("communication hidden", word, word, "assumed", f"{note}; of any model {count(rule)} at {wire / 1e9:.0f} GB/s {where}")


def _split(each: StagePlan, kind: Device) -> Section:
    chosen, figures, seen = each.splits[0], [], set[str]()
    for split in each.splits:
        if split.name in seen:
            continue
        seen.add(split.name)
        line = split.timeline
        where = f"{split.samplers} GPUs sample, " if split.samplers else ""
        lag = f", answers are {line.mean_lag:.1f} updates old, at most {line.most_lag}" if line.mean_lag else ""
        note = f"{WAYS[split.name]}: {where}samplers idle {line.idle_sampling:.0%}, trainer idle {line.idle_training:.0%}{lag}"
        figures.append(Figure(split.name, line.seconds, duration(line.seconds), "assumed", note))
    assert each.job.config is not None
    shape = shape_of(each.job.config)
    replica = Replica.of(shape, kind)
    slots = replica.slots(max(1, each.job.sequence_tokens))
    figures.append(
        Figure("weights of a sampler", 2 * shape.parameters, size(2 * shape.parameters), "exact", f"in bf16, on {replica.gpus} GPU(s)")
    )
    figures.append(Figure("answers at one time", slots, f"{slots:,}", "assumed", f"each keeps {size(shape.kv_bytes)} a token"))
    return Section(f"a phase of {each.job.name}, simulated; taken: {chosen.name}, as the recipe has it", figures)


def _together(plan: ClusterPlan) -> Section:
    found, price = plan.reliability, plan.cluster.device.price
    return Section(
        "together",
        [
            Figure("time", plan.seconds, duration(plan.seconds), plan.share_tag, "stages one after the other, stops among it"),
            Figure("GPU-hours", plan.gpu_hours, f"{plan.gpu_hours:,.1f}", plan.share_tag),
            Figure("cost", plan.cost, _dollars(plan.cost), "assumed", f"${price:.2f} for a GPU and hour"),
            Figure("a stop every", found.stop_every_s, duration(found.stop_every_s), "assumed", "50,000 GPU-hours between stops (Llama 3)"),
            Figure("save every", found.save_every_s, duration(found.save_every_s), "assumed", f"saving holds up {plan.save_s:.1f} s"),
            Figure("goodput", *_percent(found.goodput), "assumed", "of the time that is not lost to saves and stops"),
        ],
    )


def _dollars(value: float) -> str:
    return f"${value:,.0f}" if value >= 100 else f"${value:.2f}"


def _text(asked: Asked, plan: ClusterPlan) -> Iterator[tuple[list[Figure], list[str]]]:
    """Of pre-training: text, cores to clean it, and what is best for the budget."""
    for each in plan.stages:
        if each.job.stage.kind != "pretrain" or each.job.config is None:
            continue
        tokens = float(each.job.work.tokens_trained)
        fresh = min(tokens, asked.unique_tokens or tokens)
        budget = float(each.job.work.flops)
        best = plan_data(REFITTED, budget, asked.unique_tokens or float("inf"))
        hours = fresh / TOKENS_PER_CORE_S / 3600
        figures = [
            Figure("tokens", tokens, count(tokens), "exact", f"{tokens / (budget / tokens / FLOPS_PER):.3g} for each parameter"),
            Figure("core-hours to clean it", hours, f"{hours:,.1f}", "assumed", "139,000 tokens/s a core (datatrove #106)"),
        ]
        if budget >= LAW_FLOPS:
            figures += [
                Figure(
                    "best parameters", best.parameters, count(best.parameters), "assumed", f"for {flops(budget)} (Besiroglu et al. 2024)"
                ),
                Figure("best tokens", best.tokens, count(best.tokens), "assumed", f"loss {best.loss:.3f} nats by the law"),
            ]
        lines = []
        if asked.unique_tokens and tokens > MOST_EPOCHS * asked.unique_tokens:
            epochs = tokens / asked.unique_tokens
            lines.append(
                f"  warning: {count(asked.unique_tokens)} tokens of text are read {epochs:.0f} times; beyond {MOST_EPOCHS} repeats are"
                " worth less and less (Muennighoff et al. 2023): find more text, or train a larger model for fewer tokens"
            )
        yield figures, lines


def _others(plan: ClusterPlan, jobs: list[Job], fit: LayerFit | None) -> Section:
    figures: list[Figure] = []
    for name, other in alternatives(jobs, plan, others_than(plan.cluster), fit):
        cost, time = other.cost / plan.cost - 1, other.seconds / plan.seconds - 1
        figures.append(
            Figure(name, other.cost, _dollars(other.cost), "assumed", f"{duration(other.seconds)}: cost {cost:+.0%}, time {time:+.0%}")
        )
    none = ["  nothing in the table is cheaper or faster"]
    return Section("cheaper or faster", figures, none if not figures else [])
