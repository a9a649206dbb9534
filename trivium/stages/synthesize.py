"""synthesize: texts get questions with answers that a synthesizer reads out of them, and become text for pre-training."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from trivium.core.config import KEEPS_REST, component
from trivium.core.errors import ConfigError, DataError
from trivium.core.progress import counted
from trivium.core.run import Run
from trivium.generate.sampling import Sampling
from trivium.nn.flops import num_parameters
from trivium.stages.base import Foresight, Work, check_data, check_model, data_source, known_model, whole_model
from trivium.stages.synthesized import known_chains, leave
from trivium.stages.tokenize import documents_of
from trivium.synth.template import MARKERS
from trivium.text.read import read_documents, read_readings
from trivium.text.records.readings import Reading
from trivium.text.tokenizer import Tokenizer

WRITES = Sampling(temperature=0, max_new_tokens=400)
ROWS = 128


@component
class Synthesize:
    """Leaves `@synthesize/corpus` (train and heldout, for `tokenize`), and texts with their pairs in `@synthesize/readings`.

    model: one that `finetune template=synthesizer` left. corpus: documents, or the folder that `prepare` leaves, of which train is read.
    rounds: M of M-shot: from the second on, texts are shown the one before them with its pairs, and what was shown so becomes one text.
    Killed, it goes on where it was. Instead of model and corpus, data: texts with questions that are known, or the readings of an earlier
    `synthesize`; pairs=shuffled gives each text the pairs of another, which is the control for what reading them is worth.
    heldout_share: of the new texts. rows: texts that are read together. docs/synthesis.md.
    """

    kind: Literal["synthesize"] = "synthesize"
    model: str = ""
    corpus: str = ""
    data: str = ""
    pairs: Literal["own", "shuffled"] = "own"
    rounds: int = Field(default=2, ge=1, le=16)
    heldout_share: float = Field(default=0.01, gt=0, lt=1)
    sampling: Annotated[Sampling, KEEPS_REST] = WRITES
    rows: int = Field(default=ROWS, gt=0)

    def __post_init__(self) -> None:
        if bool(self.model) != bool(self.corpus) or bool(self.model) == bool(self.data):
            raise ValueError("give model and corpus, to synthesize, or data=FILE of texts with questions, to write those; not both")
        if self.model and self.pairs == "shuffled":
            raise ValueError("pairs=shuffled needs pairs that are there; synthesize first, then give data=.../readings/readings.jsonl.zst")

        if self.data and (self.sampling, self.rows) != (WRITES, ROWS):
            raise ValueError("sampling and rows are about what a synthesizer writes; with data nothing is, so leave them out")

    def check(self) -> None:
        if self.model:
            check_model(self.model)
        for source, kind in ((self.corpus, "documents"), (self.data, "readings")):
            check_data(source or "@", kind)
        if self.model and not self.model.startswith("@") and Path(self.model).is_dir():
            special = Tokenizer.load(whole_model(Path(self.model))).special
            missing = [name for name in MARKERS if name not in special]
            if missing:
                raise ConfigError(
                    f"{self.model}: its tokenizer has no control token {missing[0]}, so it is no synthesizer; make one of it:"
                    f" trivium finetune template=synthesizer model={self.model} data=FILE steps=N"
                )

    def foresee(self, name: str, known: Foresight) -> Work:
        if not self.model:
            return Work(seconds=5.0)
        config = known_model(known, self.model)
        texts = known.num_prompts.get(self.corpus, 1000)
        note = f"{texts:,} texts (assumed)" if self.corpus not in known.num_prompts else f"{texts:,} texts"
        tokens = texts * self.sampling.max_new_tokens  # at most
        return Work(tokens_generated=tokens, parameters_sampled=num_parameters(config), notes=(note,))

    def run(self, run: Run) -> Mapping[str, Any]:
        if self.model:
            from trivium.stages.computing.synthesizing import written

            chains = written(self, run, lambda: self._texts(run))
        else:
            source = data_source(run, self.data)
            chains = known_chains(lambda: read_readings(source), self.rounds, is_shuffled=self.pairs == "shuffled", seed=run.seed)
        tally = leave(run, chains, self.heldout_share)
        for reason, count in tally.dropped.most_common():
            run.log(f"left out {count:,}: {reason}")
        if not tally.pairs:
            raise DataError(
                f"none of {counted(tally.texts, 'text')} has a pair; {run.folder / 'funnel.json'} shows what was written instead"
            )
        run.log(
            f"{tally.texts:,} texts, {tally.texts_with_pairs:,} with pairs, {tally.pairs:,} pairs; {tally.documents:,} new texts,"
            f" {tally.instruction_share:.1%} of their bytes are pairs"
        )
        return tally.facts()

    def _texts(self, run: Run) -> Iterator[Reading]:
        """The texts of the corpus, without pairs; empty ones are no texts."""
        source = data_source(run, self.corpus)
        corpus = Path(source)
        is_prepared = corpus.is_dir() and any(corpus.glob("train*.jsonl.zst"))
        documents = documents_of(corpus, "train") if is_prepared else read_documents(source)
        return (Reading(each.text, (), each.source, {"id": each.id}) for each in documents if each.text.strip())
