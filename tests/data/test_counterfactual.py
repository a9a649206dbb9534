"""Rows with other words: the same places, the same other tokens, the same length."""

import numpy as np
import pytest

from trivium.data.counterfactual import Counterfactual
from trivium.data.sources import Corpus
from trivium.text.pronouns import feminine, feminine_edits, same_edits
from trivium.text.tokenizer import train_bpe

TEXTS = [
    "The man said that he lost his hat. Then he found it himself, and the hat was his.",
    "A naïve café owner told him a “history” — he’d laugh. 東京 he said.",
    "Nothing here but a river and the theatre.",
    "She gave him her book; his own was old.",
] * 6


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe([*TEXTS, *map(feminine, TEXTS)], 330)


def stream(tokenizer):
    start = tokenizer.id_of("<|endoftext|>")
    return np.concatenate([np.concatenate([[start], ids]) for ids in tokenizer.encode_batch(TEXTS)]).astype(np.int32)


def sources(tokenizer, edits, first_step=0, seq_len=48):
    corpus = Corpus(stream(tokenizer), seq_len=seq_len, rows_per_step=2, seed=1)
    return corpus, Counterfactual(corpus, tokenizer, edits, first_step=first_step)


def rows(source, step):
    return [item for group in source(step) for item in group]


def test_the_same_words_in_their_own_place_change_no_token_and_no_mask(tokenizer):
    corpus, changed = sources(tokenizer, same_edits)
    touched = 0.0
    for step in range(12):
        for before, after in zip(rows(corpus, step), rows(changed, step), strict=True):
            assert before.tokens.tolist() == after.tokens.tolist()
            assert before.loss_mask.tolist() == after.loss_mask.tolist()
        touched += changed.changed
        assert changed.fitted == 0
    assert touched > 0  # it did put something there


def test_rows_are_feminine_from_the_first_step_on_and_as_they_were_before(tokenizer):
    corpus, changed = sources(tokenizer, feminine_edits, first_step=3)
    for step in range(10):
        for before, after in zip(rows(corpus, step), rows(changed, step), strict=True):
            assert len(after.tokens) == len(after.loss_mask) == 48
            assert after.loss_mask[0] == 0
            if step < 3:
                assert before is after or before.tokens.tolist() == after.tokens.tolist()
                continue
            text = tokenizer.decode(after.tokens[after.loss_mask > 0])
            words = [edit for edit in feminine_edits(text) if edit.start > 0 and edit.end < len(text)]
            assert len(words) <= 1  # a word whose document, or character, the edge of the row cuts
    assert changed.changed > 0


def test_a_whole_row_is_the_feminine_text_of_the_same_tokens(tokenizer):
    text = TEXTS[0]
    ids = np.concatenate([[tokenizer.id_of("<|endoftext|>")], tokenizer.encode(text), tokenizer.encode(" The end of it.")]).astype(np.int32)
    corpus = Corpus(ids, seq_len=len(ids), rows_per_step=1, seed=1)
    changed = Counterfactual(corpus, tokenizer, feminine_edits, first_step=0)
    [row] = rows(changed, 0)
    kept = row.tokens[: int(np.flatnonzero(row.loss_mask)[-1]) + 1]
    assert feminine(f"{text} The end of it.").startswith(tokenizer.decode(kept))
    assert tokenizer.decode(kept).startswith("The man said that she lost her hat. Then she found it herself")
    assert changed.fitted == abs(len(tokenizer.encode(feminine(f"{text} The end of it."))) + 1 - len(ids))
    again = tokenizer.encode(tokenizer.decode(kept))
    assert again.tolist() == kept[1:].tolist()  # as if the text had been so from the beginning


def test_what_looks_back_sees_the_rows_as_they_were_cut(tokenizer):
    corpus, changed = sources(tokenizer, feminine_edits)
    assert changed.rows_at(0, 5).tolist() == corpus.rows_at(0, 5).tolist()
    assert changed.row(3).tokens.tolist() == corpus.row(3).tokens.tolist()
    assert changed.spans(3) == corpus.spans(3)
    assert (changed.num_rows, changed.seq_len, changed.filled) == (corpus.num_rows, corpus.seq_len, 1.0)
    span = corpus.spans(3)[0]
    assert changed.rows_with(span).tolist() == corpus.rows_with(span).tolist()
    assert changed.places_of(changed.rows_with(span), 10).tolist() == corpus.places_of(corpus.rows_with(span), 10).tolist()
