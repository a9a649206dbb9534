"""reinforce: the policy learns from the scores of its own answers, on a leash to where it started."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import Texts, component, is_set
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.learn.credit import GAE, CreditRule, Distillation, GroupMean, Versus
from trivium.learn.kl import AdaptiveKL
from trivium.learn.objectives import GKD
from trivium.learn.objectives.policy import REINFORCE, PolicyGradient, PolicyLoss
from trivium.learn.objectives.preference import ODPO, RRHF, TDPO, XPO, PreferenceLoss, StepWide
from trivium.learn.objectives.value import Value
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.flops import flops_per_token
from trivium.nn.lora import LoRA
from trivium.score.answers import AnswerRule
from trivium.score.rewards import AnyReward
from trivium.score.rewards.opened import check_rules, judges_of
from trivium.stages.base import Foresight, Work, check_data, check_model, known_model
from trivium.stages.guard import Guard
from trivium.stages.machine import Machine
from trivium.stages.replay import Replay
from trivium.stages.samplers import AnyEngine, InProcess, Servers
from trivium.stages.training import foresee_training, save


@component
class Reinforce:
    """PPO, RLOO, REINFORCE++, ReMax, GRPO and its variants, online DPO, XPO, Nash-MD, on-policy distillation; leaves `@reinforce/model`.

    Each is credit x objective x reduction. Ouyang et al. 2022, section 3.5. In a recipe and on the command line method=NAME stands for the
    options of a known combination (`trivium/stages/methods.toml`), over which one's own go. reward_model: one or several, whose scores are
    averaged less disagreement_coef standard deviations; rewards: rules, which are added. A teacher is learned from instead of a reward, by
    credit=distillation or objective=gkd. kl_coef: price of one nat from the starting model, taken off the reward. adaptive_kl moves kl_coef
    so that the KL stays near its target. An answer that is cut off gets missing_end_penalty, or is left out of the loss
    (missing_end=mask); overlong_margin: within so many tokens of max_new_tokens an answer loses up to 1. An update is one minibatch; a
    phase samples prompts_per_phase prompts and makes passes x minibatches updates. refill: prompts whose answers all got the same reward
    are replaced. A preference loss as objective learns from the best and worst answer to a prompt, without credit and kl_coef; gkd
    from the teacher alone, without these and missing_end_penalty. replay: text of pre-training (PPO-ptx) or demonstrations that each
    update learns as well. engine: where answers are sampled: in_process, native (another process) or vllm (servers), the last two with
    a lag if it is given (docs/separate-samplers.md). sampler: the precision that our kernels sample in, auto: the trainer's; in fewer
    bits it is faster, and corrected for. rollouts: a folder; answers that are there are learned from without sampling, others are left
    there. truth: the rule behind the preferences where it is known; its score is reported, never trained
    on. lora: see finetune; policy and reference share their frozen weights then, and so do critic and judge. A run ends if for five phases
    no answer got another reward than those it is compared with: all others, those to its prompt, the greedy one or an opponent's.
    """

    kind: Literal["reinforce"] = "reinforce"
    model: str
    reward_model: Texts = ()
    disagreement_coef: float = Field(default=0.0, ge=0)
    rewards: tuple[AnyReward, ...] = ()
    teacher: str = ""
    prompts: str
    phases: int = Field(gt=0)
    prompts_per_phase: int = Field(default=64, gt=0)
    answers: int = Field(default=1, gt=0)
    passes: int = Field(default=2, gt=0)
    minibatches: int = Field(default=2, gt=0)
    refill: bool = False
    credit: CreditRule = GAE()
    objective: Annotated[PolicyLoss | PreferenceLoss | GKD, Field(discriminator="kind")] = PolicyGradient()
    replay: Replay | None = None
    value: Value = Value()
    kl_coef: float = Field(default=0.05, ge=0)
    adaptive_kl: AdaptiveKL | None = None
    missing_end: Literal["penalty", "mask"] = "penalty"
    missing_end_penalty: float = -1.0
    overlong_margin: int = Field(default=0, ge=0)
    sampling: Sampling = Sampling(max_new_tokens=40)
    sampler: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    engine: AnyEngine = InProcess()
    rollouts: str = ""
    guard: Guard = Guard()
    optimizer: AdamW = AdamW(lr=1e-4, eps=1e-5)
    critic_optimizer: AdamW = AdamW(lr=3e-4, eps=1e-5)
    schedule: Schedule = Schedule()
    max_grad_norm: float = Field(default=1.0, gt=0)
    seq_len: int = Field(default=128, ge=8)
    micro_batch_rows: int = Field(default=16, gt=0)
    truth: AnswerRule | None = None
    lora: LoRA | None = None

    @property
    def is_paired(self) -> bool:
        """Whether it learns from pairs of answers instead of advantages."""
        return isinstance(self.objective, PreferenceLoss)

    @property
    def has_credit(self) -> bool:
        """Whether it learns from advantages."""
        return not isinstance(self.objective, PreferenceLoss | GKD)

    @property
    def needs_kl(self) -> bool:
        """Whether something learns from the KL to the starting model, or stops the run by it; else it is measured on some answers."""
        is_learned_from = self.is_paired or bool(self.kl_coef) or (isinstance(self.objective, PolicyLoss) and self.objective.kl_coef > 0)
        return is_learned_from or self.guard.max_kl < math.inf

    @property
    def is_read_again(self) -> bool:
        """Whether the trainer reads the answers too, since the sampler's log-probs are not its own, or no anchor for an update."""
        has_no_ratio = self.has_credit and isinstance(self.objective, REINFORCE)
        is_far = self.engine.max_lag > (0 if has_no_ratio else 1) and self.has_credit
        return self.sampler != "auto" or isinstance(self.engine, Servers) or is_far

    @property
    def is_read_in_parts(self) -> bool:
        """Whether ranks have parts of every model: nobody samples from one here, and no adapter stands on what others read."""
        return not isinstance(self.engine, InProcess) and self.opponent is None and self.lora is None

    @property
    def has_critic(self) -> bool:
        """Whether a critic is trained beside the policy."""
        return self.credit.needs_critic and self.has_credit

    @property
    def is_taught(self) -> bool:
        """Whether it learns from a teacher instead of a reward."""
        return isinstance(self.objective, GKD) or (self.has_credit and isinstance(self.credit, Distillation))

    @property
    def opponent(self) -> float | None:
        """The reference's share in the opponent that answers beside the policy, if there is one."""
        if isinstance(self.objective, XPO):
            return 1.0
        return self.credit.mixture if self.has_credit and isinstance(self.credit, Versus) else None

    @property
    def rows_replayed(self) -> int:
        """Rows of text, or demonstrations, of an update."""
        return -(-self.prompts_per_phase * self.answers // self.minibatches) * (self.replay.rows_per_answer if self.replay else 0)

    @property
    def steps(self) -> int:
        """Updates of each trainer."""
        return self.phases * self.passes * self.minibatches

    def check(self) -> None:
        if not self.sampling.is_whole:
            raise ConfigError(
                "sampling: reinforcement learning needs the whole distribution; set temperature above 0, top_k=0, top_p=1, min_p=0"
                " and repetition_penalty=1"
            )
        self._check_reward()
        self._check_combination()
        self._check_unread()
        check_rules(self.rewards)
        self._check_kl()
        self._check_engine()
        for model in (self.model, *self.reward_model, *judges_of(self.rewards), *self.guard.models, self.teacher or "@"):
            check_model(model)
        if self.replay is not None:
            self.replay.check()
        check_data(self.prompts, "prompts", field="asked" if self.truth else "")

    def _check_engine(self) -> None:
        """Servers have their own precision, and an address."""
        if isinstance(self.engine, Servers):
            self.engine.endpoints()
            if self.sampler != "auto":
                raise ConfigError(f"sampler is '{self.sampler}', which only our kernels have; with engine=vllm the server says (--dtype)")
        if self.engine.in_flight and not self.engine.max_lag:
            raise ConfigError("engine.in_flight changes weights under answers in work, and with max_lag=0 there are none; set max_lag to 1")

    def check_sampler(self, machine: Machine) -> None:
        """Raise ConfigError if it samples in what only our kernels have, and the machine's settings switch these off."""
        if self.sampler in ("bfloat16", "int8") and machine.kernels == "torch":
            raise ConfigError(
                f"sampler is '{self.sampler}', which only the C++ kernels have, but machine.kernels is 'torch'; use sampler=auto"
            )

    def _check_reward(self) -> None:
        """Either a reward or a teacher."""
        if self.is_taught:
            if not self.teacher:
                raise ConfigError("there is no teacher: name the model that is to be learned from, teacher=MODEL")
            if self.reward_model or self.rewards or self.refill or self.overlong_margin:
                raise ConfigError(
                    "a teacher is learned from instead of a reward; leave reward_model, rewards, refill and overlong_margin out"
                )
        elif self.teacher:
            raise ConfigError("teacher is learned from by credit=distillation or objective=gkd; choose one of them, or leave teacher out")
        elif not self.reward_model and not self.rewards:
            raise ConfigError("there is no reward: name a reward_model, or rules as rewards=[{ kind = 'numeric' }]")

    def _check_combination(self) -> None:
        """Refuse what cannot be learned from, or would silently be something else."""
        self._check_amounts()
        if self.has_credit and self.answers < self.credit.min_answers:
            raise ConfigError(
                f"'answers' is {self.answers}, but credit {self.credit.kind} compares answers to one prompt; set answers to 4 or more,"
                " or credit=gae"
            )
        if self.refill and self.answers < 2:
            raise ConfigError("refill looks for prompts whose answers differ in reward, so it needs 'answers' of 2 or more")
        if self.has_credit and isinstance(self.credit, GroupMean) and self.credit.scale == "beta":
            is_within = self.missing_end == "mask" or 0 <= self.missing_end_penalty <= 1
            if self.kl_coef or self.overlong_margin or not is_within:
                raise ConfigError(
                    "credit.scale=beta takes rewards from 0 to 1; set kl_coef=0, overlong_margin=0 and missing_end_penalty=0"
                    " (a KL in the loss is objective.kl_coef)"
                )
        if isinstance(self.objective, PreferenceLoss):
            if "prob" in self.objective.needs:
                raise ConfigError(
                    "objective.has_probs reads from a file how sure people were, which nobody says of answers as they come; leave it out,"
                    " or use it with `trivium prefer`"
                )
            if isinstance(self.objective, StepWide | ODPO | RRHF | TDPO):
                raise ConfigError(f"objective {self.objective.kind} does not learn from answers as they come; use it with `trivium prefer`")
            if self.answers < 2 and self.opponent is None:
                raise ConfigError(f"objective {self.objective.kind} compares answers to one prompt; set answers to 2 or more")
        elif self.objective.kind == "reinforce" and self.passes * self.minibatches > 1:
            raise ConfigError("objective reinforce is right for one update a phase only; set passes=1 and minibatches=1")

    def _check_amounts(self) -> None:
        """Refuse amounts that would silently do nothing, or to everything."""
        if self.minibatches > self.prompts_per_phase:
            raise ConfigError(
                f"'minibatches' is {self.minibatches}, more than prompts_per_phase, {self.prompts_per_phase}: some would be empty"
            )
        if self.overlong_margin > self.sampling.max_new_tokens:
            raise ConfigError(
                f"'overlong_margin' is {self.overlong_margin}, more than sampling.max_new_tokens, {self.sampling.max_new_tokens}:"
                " every answer would be too long"
            )
        if self.disagreement_coef and len(self.reward_model) < 2:
            raise ConfigError("disagreement_coef is for several reward models, which can disagree; name two or more, or leave it out")

    def _check_unread(self) -> None:
        """Refuse what was set and nobody would read."""
        for name, why in self._unread():
            if is_set(self, name):
                raise ConfigError(f"'{name}' is set, but {why}, so nobody would read it; leave it out")

    def _unread(self) -> Iterator[tuple[str, str]]:
        """Options that nobody reads in this combination, and why; a price or penalty of 0 is none."""
        kind = self.objective.kind
        if not self.has_credit:
            yield "credit", f"objective {kind} has no advantages"
            yield "adaptive_kl", f"objective {kind} has no KL in the reward"
            if self.kl_coef:
                yield "kl_coef", f"objective {kind} has no KL in the reward (the leash of a preference loss is its beta)"
        if self.is_paired:
            yield "missing_end", f"objective {kind} has no mask"
        if not self.has_critic:
            yield "value", "there is no critic (credit=gae has one)"
            yield "critic_optimizer", "there is no critic (credit=gae has one)"
        if self.missing_end_penalty and self.missing_end == "mask":
            yield "missing_end_penalty", "missing_end=mask leaves such answers out of the loss"
        elif self.missing_end_penalty and self.is_taught:
            yield "missing_end_penalty", "a teacher is learned from instead of a reward"

    def _check_kl(self) -> None:
        """A KL penalty stands in one place, where its estimate has the slope of what it says (learn/kl.py)."""
        if isinstance(self.objective, PreferenceLoss | GKD):
            return
        loss = self.objective
        if self.kl_coef and loss.kl_coef:
            raise ConfigError("the KL is priced twice, in the reward (kl_coef) and in the loss (objective.kl_coef); set one of them to 0")
        if self.adaptive_kl is not None and not self.kl_coef:
            raise ConfigError("adaptive_kl moves kl_coef, which is 0; begin with 0.1 or so")
        if loss.kl == "k3" and self._is_grpo:
            return
        if is_set(loss, "kl") and not loss.kl_coef:
            raise ConfigError(
                f"objective.kl is '{loss.kl}', but objective.kl_coef is 0, so nobody would read it; set a price, or kl=k2, its default"
            )
        if loss.kl == "k3":
            raise ConfigError(
                "objective.kl=k3 has the slope of KL(reference || policy), and is here for GRPO as published alone (method=grpo, with its"
                " credit, ratio and reduction); set objective.kl to ratio_k3, or to k2 for one update a phase"
            )
        lag = 0 if self.is_read_again else self.engine.max_lag
        if loss.kl_coef and loss.kl == "k2" and (self.passes * self.minibatches > 1 or lag):
            where = f"answers of {lag} phase before" if lag else f"{self.passes * self.minibatches} updates a phase"
            raise ConfigError(
                f"objective.kl=k2 has the slope of the KL only where the policy is still the one that sampled, not with {where};"
                " set objective.kl to ratio_k3, or passes=1, minibatches=1 and engine.max_lag=0"
            )

    @property
    def _is_grpo(self) -> bool:
        """Whether it is GRPO as published (method=grpo), but for amounts."""
        return (
            isinstance(self.credit, GroupMean) and self.credit.scale == "std" and isinstance(self.objective, PolicyGradient)
            and self.objective.ratio == "token" and self.objective.reduction == "sequence"
        )  # fmt: skip

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        sampled = self.phases * self.prompts_per_phase * self.answers * known.sequence_tokens
        networks = 2 if self.has_critic else 1
        replayed = self.steps * self.rows_replayed * self.seq_len
        work = foresee_training(self, name, config, known, tokens=sampled * self.passes * networks + replayed, lora=self.lora)
        judges, sides = len(self.reward_model) + len(self.guard.models), 1 if self.opponent is None else 2
        read_again = self.is_read_again + isinstance(self.objective, XPO)  # by the trainer, and the opponent's by the reference
        readings = networks + judges * sides + read_again  # forward only, with the reference
        reading = sampled * readings / 3 * flops_per_token(config, self.seq_len)
        if self.teacher:  # once for the answers of a phase, and in each update if its distributions are compared
            readings = 1 + isinstance(self.objective, GKD) * self.passes
            reading += sampled * readings / 3 * flops_per_token(known_model(known, self.teacher), self.seq_len)
        return replace(
            work, tokens_generated=sampled * sides, parameters_sampled=work.parameters, flops=work.flops + reading,
            memory_bytes=networks * work.memory_bytes, notes=(*work.notes, *self.engine.notes(self.model, self.seq_len)),
        )  # fmt: skip

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.stages.computing.judges import Judges
        from trivium.stages.computing.models import Speaker, check_room, say_what_is_slower
        from trivium.stages.computing.partners import teacher_of
        from trivium.stages.computing.separate import separate
        from trivium.train.mesh import arrangement

        if arrangement().tensor > 1:
            run.log_once("parallel.tensor is above 1: log-probs differ in their last bits from those of a sampler that is not spread so")
        policy = Speaker.of(run, self.model, is_later=self.is_read_in_parts).adapt(self.lora, run.seed)
        say_what_is_slower(run, policy.model)
        size = {"rows": self.micro_batch_rows, "length": self.seq_len}
        judges = Judges.load(self, run, policy, **size)
        check_room(judges.prompt_ids, self.sampling, self.seq_len)
        teacher = teacher_of(self, run, policy, judges.prompt_ids)
        with separate(self, run, policy, judges) as samplers:
            self._learn(run, policy, judges, teacher, samplers)
        save(run, policy, self.lora)
        episodes = self.phases * self.prompts_per_phase * self.answers
        return {"parameters": policy.model.num_parameters, "episodes": episodes, "updates": self.steps}

    def _learn(self, run: Run, policy: Any, judges: Any, teacher: Any, samplers: Any) -> None:
        from trivium.stages.computing.models import machine_of
        from trivium.stages.computing.partners import beside_of, rollouts_of
        from trivium.stages.computing.watch import Watch
        from trivium.train.checkpoint import Checkpoints
        from trivium.train.fit import Layout, fit
        from trivium.train.trainer import Trainer

        rollouts = rollouts_of(self, run, policy, judges, teacher, samplers)
        common: dict[str, Any] = {"schedule": self.schedule, "steps": self.steps, "max_grad_norm": self.max_grad_norm}
        common["is_exact"] = machine_of(run).exact
        trainers = [
            Trainer(
                "policy", policy.model, self.objective, self.optimizer(policy.model), temperature=self.sampling.temperature,
                max_length=self.sampling.max_new_tokens, reference=teacher if isinstance(self.objective, GKD) else None,
                beside=beside_of(self, run, policy), **common,
            )
        ]  # fmt: skip
        critic = judges.critic
        if critic is not None:
            trainers.append(Trainer("critic", critic, self.value, self.critic_optimizer(critic), **common))
        watch = Watch(self.guard)
        companions = [watch, rollouts, *([] if samplers is None else [samplers])]
        fit(
            run, rollouts, trainers, steps=self.steps, layout=Layout(self.micro_batch_rows, self.seq_len),
            checkpoints=Checkpoints(run, companions=companions), hooks=[rollouts.report, watch],
            save_multiple=rollouts.steps_per_phase,
        )  # fmt: skip
