"""How much that is: tokens in books and words, comparisons in pairs, the data sets that are quoted, and where sources disagree.

The conversions are those the field quotes (Huyen 2023, "RLHF: Reinforcement Learning from Human Feedback"). They are of English in a
tokenizer of some 50,000 ids: a tokenizer's own words a token are `words_per_token`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from trivium.core.errors import DataError
from trivium.report import units

WORDS_A_BOOK = 50_000
TOKENS_A_BOOK = 67_000


def books(tokens: float) -> float:
    """How many books so many tokens are.

    >>> round(books(1e12) / 1e6, 1)
    14.9
    """
    return tokens / TOKENS_A_BOOK


def tokens_of(books: float) -> float:
    """How many tokens so many books are."""
    return books * TOKENS_A_BOOK


def words_per_token(words: int, tokens: int) -> float:
    """Of a tokenizer on a text of its own. Raises DataError if there are no tokens."""
    if tokens <= 0:
        raise DataError(f"{words:,} words in {tokens:,} tokens; words a token need a token")
    return words / tokens


def in_books(tokens: float) -> str:
    """So many tokens for people: about 14.9M books."""
    number = books(tokens)
    return (
        f"about {units.count(number)} {'book' if round(number) == 1 else 'books'}" if number >= 0.95 else f"{units.share(number)} of a book"
    )


def pairs(answers: int) -> int:
    """Pairs that a strict ranking of so many answers says something about: K (K - 1) / 2 (Ouyang et al. 2022, section 3.5)."""
    return answers * (answers - 1) // 2


def pairs_of(groups: Iterable[int]) -> int:
    """The same of a ranking with ties, by the sizes of its groups of equals: a pair inside a group says nothing.

    >>> pairs_of([2, 1, 1])
    5
    """
    sizes = list(groups)
    return pairs(sum(sizes)) - sum(map(pairs, sizes))


@dataclass(frozen=True, slots=True)
class Corpus:
    """A data set that is often quoted: tokens as they are quoted, those that were there, those that a model was trained on."""

    name: str
    quoted: float
    there: float | None
    trained: float | None
    note: str = ""


CORPORA = (
    Corpus("GPT-3", 0.5e12, 499e9, 300e9, "Brown et al. 2020, table 2.2"),
    Corpus("Gopher", 1e12, 2.35e12, 300e9, "MassiveText, Rae et al. 2021: the quoted 1T is of a secondary source"),
    Corpus("RedPajama v1", 1.2e12, 1.21e12, None, "the sum of its seven parts"),
    Corpus("LLaMA", 1.4e12, None, 1.4e12, "Touvron et al. 2023: two epochs of Wikipedia and books, less than one of GitHub"),
    Corpus("Pile, near duplicates removed", 207e9, 207e9, 299_892_736_000, "Biderman et al. 2023: about 1.5 epochs"),
)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Where what is quoted and what was published, or two publications, do not agree."""

    about: str
    quoted: str
    checked: str


DISCREPANCIES = (
    Discrepancy("Alpaca", "answers of ChatGPT", "its teacher is text-davinci-003"),
    Discrepancy("InstructGPT, demonstrations", "14.5k", "12,725 for training; the rest is for validation"),
    Discrepancy("Gopher", "1T tokens", "MassiveText has about 2.35T, Gopher was trained on 300B of them"),
    Discrepancy("InstructGPT, prompts for RL", "40,000", "31,144 for training and 16,185 for validation: 47,329"),
    Discrepancy("InstructGPT, prompts for the reward model", "50,000", "33,207 for training and 17,887 for validation: 51,094"),
    Discrepancy("hh-rlhf", "161k comparisons (README of 2022)", "160,800 for training and 8,552 for testing: 169,352"),
    Discrepancy("RLHF and hallucination", "better than GPT-3", "worse than SFT in InstructGPT's own table"),
    Discrepancy("Constitutional AI", "318K comparisons", "135,296 by people (helpful) and 182,831 by a model (harmless): 318,127"),
    Discrepancy("Pythia 1B", "lr 3e-4, bf16 (README)", "its configuration has lr 2.5e-4 and an fp16 block"),
    Discrepancy("Pythia v0, 160M, 410M, 1.4B", "step 1000", "step 500 of batches twice as large: the names were rescaled"),
    Discrepancy("Pythia 6.9B, 12B", "the suite's initialisation", "their configurations leave it out, so the library's defaults hold"),
    Discrepancy("Chinchilla, constants", "20 tokens a parameter", "the constants as printed give 93 at Gopher's budget; a fit again, 18"),
    Discrepancy("Data stock, released code", "words are 4/5 of tokens", "multiplied in one place and not in another; not used here"),
    Discrepancy("IPO in TRL", "Azar et al. 2023: sums of log-probs", "means over the length of the answer"),
    Discrepancy("Online DPO and Nash-MD in TRL", "the published gradients", "ties and the mixture's gradient are treated differently"),
    Discrepancy("Pythia, term frequency", "how often a number occurs", "the released notebook also counts 10 where it looks for 1"),
    Discrepancy("InstructGPT, appendix", "one table of settings", "'lowest log prob' and rows that stand there twice"),
    Discrepancy("Pythia, batch size", "doubling it does no harm", "neutral from 1B on; a cost at 410M and below"),
)
