"""reinforce: the policy learns from the scores of its own answers, on a leash to where it started."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import Texts, component
from trivium.core.errors import ConfigError
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.learn.credit import GAE, CreditRule
from trivium.learn.kl import AdaptiveKL
from trivium.learn.objectives.policy import PolicyGradient, PolicyLoss
from trivium.learn.objectives.preference import ODPO, TDPO, PreferenceLoss, StepWide
from trivium.learn.objectives.value import Value
from trivium.learn.optim.recipes import AdamW
from trivium.learn.schedules import Schedule
from trivium.nn.flops import flops_per_token
from trivium.nn.lora import LoRA
from trivium.score.answers import AnswerRule
from trivium.score.rewards import AnyReward
from trivium.score.rewards.opened import check_rules
from trivium.stages.base import Foresight, Work, check_model, known_model, resolve
from trivium.stages.guard import Guard
from trivium.stages.training import foresee_training, save
from trivium.text.read import check_head


@component
class Reinforce:
    """PPO, RLOO, REINFORCE++, ReMax, GRPO and its variants, online DPO: credit x objective x reduction; leaves `@reinforce/model`.

    Ouyang et al. 2022, section 3.5, without the pre-training term. In a recipe and on the command line method=NAME stands for the options
    of a known combination (`trivium/stages/methods.toml`), over which one's own go. reward_model: one or several, whose scores are
    averaged less disagreement_coef standard deviations; rewards: rules, which are added. kl_coef: price of one nat from the starting
    model, taken off the reward. adaptive_kl moves kl_coef so that the KL stays near its target. An answer that is cut off gets
    missing_end_penalty, or is left out of the loss (missing_end=mask); overlong_margin: within so many tokens of max_new_tokens an answer
    loses up to 1. An update is one minibatch; a phase samples prompts_per_phase prompts and makes passes x minibatches updates. refill:
    prompts whose answers all got the same reward are replaced. A preference loss as objective learns from the best and worst answer to a
    prompt, without credit and kl_coef. truth: the rule behind the preferences where it is known; its score is reported, never trained on.
    lora: see finetune; policy and reference share their frozen weights then, and so do critic and judge.
    """

    kind: Literal["reinforce"] = "reinforce"
    model: str
    reward_model: Texts = ()
    disagreement_coef: float = Field(default=0.0, ge=0)
    rewards: tuple[AnyReward, ...] = ()
    prompts: str
    phases: int = Field(gt=0)
    prompts_per_phase: int = Field(default=64, gt=0)
    answers: int = Field(default=1, gt=0)
    passes: int = Field(default=2, gt=0)
    minibatches: int = Field(default=2, gt=0)
    refill: bool = False
    credit: CreditRule = GAE()
    objective: Annotated[PolicyLoss | PreferenceLoss, Field(discriminator="kind")] = PolicyGradient()
    value: Value = Value()
    kl_coef: float = Field(default=0.05, ge=0)
    adaptive_kl: AdaptiveKL | None = None
    missing_end: Literal["penalty", "mask"] = "penalty"
    missing_end_penalty: float = -1.0
    overlong_margin: int = Field(default=0, ge=0)
    sampling: Sampling = Sampling(max_new_tokens=40)
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
    def has_critic(self) -> bool:
        """Whether a critic is trained beside the policy."""
        return self.credit.needs_critic and not self.is_paired

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
        if not self.reward_model and not self.rewards:
            raise ConfigError("there is no reward: name a reward_model, or rules as rewards=[{ kind = 'numeric' }]")
        self._check_combination()
        check_rules(self.rewards)
        check_model(self.model)
        for reward_model in (*self.reward_model, *self.guard.models):
            check_model(reward_model)
        if not self.prompts.startswith("@"):
            check_head(self.prompts, "prompts", field="asked" if self.truth else "")

    def _check_combination(self) -> None:
        """Refuse what cannot be learned from, or would silently be something else."""
        if not self.is_paired and self.answers < self.credit.min_answers:
            raise ConfigError(
                f"'answers' is {self.answers}, but credit {self.credit.kind} compares answers to one prompt; set answers to 4 or more,"
                " or credit=gae"
            )
        if self.refill and self.answers < 2:
            raise ConfigError("refill looks for prompts whose answers differ in reward, so it needs 'answers' of 2 or more")
        if isinstance(self.objective, PreferenceLoss):
            if self.objective.takes != "pairs" or isinstance(self.objective, StepWide | TDPO | ODPO):
                raise ConfigError(f"objective {self.objective.kind} does not learn from answers as they come; use it with `trivium prefer`")
            if self.adaptive_kl is not None or self.missing_end == "mask":
                raise ConfigError(
                    f"objective {self.objective.kind} has neither a KL in the reward nor a mask; leave adaptive_kl and missing_end out"
                )
            if self.answers < 2:
                raise ConfigError(f"objective {self.objective.kind} compares answers to one prompt; set answers to 2 or more")
        elif self.kl_coef and self.objective.kl_coef:
            raise ConfigError("the KL is priced twice, in the reward (kl_coef) and in the loss (objective.kl_coef); set one of them to 0")
        elif self.adaptive_kl is not None and not self.kl_coef:
            raise ConfigError("adaptive_kl moves kl_coef, which is 0; begin with 0.1 or so")
        elif self.objective.kind == "reinforce" and self.passes * self.minibatches > 1:
            raise ConfigError("objective reinforce is right for one update a phase only; set passes=1 and minibatches=1")

    def foresee(self, name: str, known: Foresight) -> Work:
        config = known_model(known, self.model)
        sampled = self.phases * self.prompts_per_phase * self.answers * known.sequence_tokens
        networks = 2 if self.has_critic else 1
        work = foresee_training(self, name, config, known, tokens=sampled * self.passes * networks, lora=self.lora)
        judges = len(self.reward_model) + len(self.guard.models)
        reading = sampled * (networks + judges) / 3 * flops_per_token(config, self.seq_len)  # forward only, with the reference
        return replace(
            work,
            tokens_generated=sampled,
            parameters_sampled=work.parameters,
            flops=work.flops + reading,
            memory_bytes=networks * work.memory_bytes,
        )

    def run(self, run: Run) -> Mapping[str, Any]:
        from trivium.nn.adapter import frozen_reference
        from trivium.stages.judges import Judges
        from trivium.stages.models import Speaker, check_room, engine_of, machine_of, say_what_is_slower
        from trivium.stages.rollouts import Rollouts
        from trivium.stages.watch import Watch
        from trivium.train.annotate import column_of, logprobs, values
        from trivium.train.checkpoint import Checkpoints
        from trivium.train.fit import Layout, fit
        from trivium.train.trainer import Trainer

        policy = Speaker.load(resolve(run, self.model), machine_of(run)).adapt(self.lora, run.seed)
        say_what_is_slower(run, policy.model)
        size = {"rows": self.micro_batch_rows, "length": self.seq_len}
        judges = Judges.load(self, run, policy, **size)
        check_room(judges.prompt_ids, self.sampling, self.seq_len)
        reference, critic = frozen_reference(policy.model), judges.critic
        temperature = self.sampling.temperature
        rollouts = Rollouts(
            options=self,
            engine=engine_of(run, policy, rows=self.prompts_per_phase * self.answers),
            prompts=judges.prompt_ids,
            seed=run.seed,
            score=judges.score,
            reference=lambda answers: column_of(reference, answers, logprobs, temperature=temperature, **size),
            values=(lambda answers: column_of(critic, answers, values, **size)) if critic is not None else None,
            parts=judges.means if self.rewards else None,
            truth=judges.true_score if self.truth else None,
            watched=judges.heldout_score if self.guard.models else None,
        )
        common = {"schedule": self.schedule, "steps": self.steps, "max_grad_norm": self.max_grad_norm}
        longest = self.sampling.max_new_tokens
        trainers = [
            Trainer(
                "policy", policy.model, self.objective, self.optimizer(policy.model), temperature=temperature, max_length=longest, **common
            )
        ]
        if critic is not None:
            trainers.append(Trainer("critic", critic, self.value, self.critic_optimizer(critic), **common))
        watch = Watch(self.guard)
        fit(
            run, rollouts, trainers, steps=self.steps, layout=Layout(**size), checkpoints=Checkpoints(run, companions=[watch, rollouts]),
            hooks=[rollouts.report, watch], save_multiple=rollouts.steps_per_phase,
        )  # fmt: skip
        save(run, policy, self.lora)
        episodes = self.phases * self.prompts_per_phase * self.answers
        return {"parameters": policy.model.num_parameters, "episodes": episodes, "updates": self.steps}
