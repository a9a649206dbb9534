"""The classifier: by hand, on texts that differ in one habit, through a folder, and as a filter."""

import numpy as np
import pytest

from tests.text.filters.test_filters import PROSE
from trivium.core.errors import ArtefactError, ConfigError, DataError
from trivium.core.seeds import generator
from trivium.core.types import Document
from trivium.text.classifier import Classifier, Features, HeldOut, features, load_classifier, save_classifier, train
from trivium.text.filters import Quality
from trivium.text.judge import reason_of
from trivium.text.signals import Signals


def documents(habit, count, seed):
    """Prose in random order with a word of its own now and then."""
    draw = generator(seed, habit)
    return [Document(" ".join(draw.choice([*PROSE, habit], 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def trained():
    return train(documents("thus", 200, 1), documents("click", 600, 2))


def test_features_are_words_in_any_case_and_pairs_within_a_document():
    given = features(Signals([Document("The cat, the cat"), Document(""), Document("CAT")]))
    assert np.diff(given.first_D).tolist() == [7, 0, 1]
    assert given.bucket_F[7] in given.bucket_F[:4]
    part = given.of(np.array([2, 0]))
    assert np.diff(part.first_D).tolist() == [1, 7]
    assert part.bucket_F.tolist() == [given.bucket_F[7], *given.bucket_F[:7].tolist()]


def test_the_score_is_the_logistic_function_of_the_sum_over_the_root_of_the_number():
    classifier = Classifier(np.array([1.0, 2.0, 0.5], np.float32))
    given = Features(np.array([0, 0, 1, 1], np.int32), np.array([0, 4, 4]))
    np.testing.assert_allclose(classifier.scores_of(given), [1 / (1 + np.exp(-(6 / 2 + 0.5))), 1 / (1 + np.exp(-0.5))], rtol=1e-6)


def test_it_tells_habits_apart_that_it_has_not_seen_in_these_texts(trained):
    classifier, held_out = trained
    assert (held_out.num_good, held_out.num_other) == (20, 60)
    assert held_out.accuracy > 0.9
    scores = classifier.scores(Signals(documents("thus", 30, 3) + documents("click", 30, 4)))
    assert (scores[:30] > 0.5).mean() > 0.9
    assert (scores[30:] < 0.5).mean() > 0.9


def test_the_same_texts_and_seed_give_the_same_weights(trained):
    again, held_out = train(documents("thus", 200, 1), documents("click", 600, 2))
    assert np.array_equal(again.weights, trained[0].weights)
    assert held_out == trained[1]


def test_it_is_kept_in_a_folder_and_used_as_a_filter(trained, tmp_path):
    save_classifier(tmp_path / "c", *trained)
    assert np.array_equal(load_classifier(str(tmp_path / "c")).weights, trained[0].weights)
    rule = Quality(classifier=str(tmp_path / "c"))
    assert reason_of(rule, Document("thus " * 40)) is None
    assert reason_of(rule, Document("click " * 40)) == "not like the good texts"
    assert reason_of(Quality(classifier=str(tmp_path / "c"), min_score=0), Document("")) is None


def test_another_classifier_in_the_same_place_is_read_again(trained, tmp_path):
    save_classifier(tmp_path / "c", *trained)
    before = load_classifier(str(tmp_path / "c"))
    save_classifier(tmp_path / "c", Classifier(-before.weights), trained[1])
    assert np.array_equal(load_classifier(str(tmp_path / "c")).weights, -before.weights)


def test_a_damaged_one_is_named(trained, tmp_path):
    save_classifier(tmp_path / "c", *trained)
    file = tmp_path / "c" / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"weights.safetensors"):
        reason_of(Quality(classifier=str(tmp_path / "c")), Document("a"))


def test_one_that_is_not_there_says_what_makes_it():
    with pytest.raises(ConfigError, match="trivium quality GOOD OTHER"):
        Quality(classifier="nowhere")


def test_too_few_texts_are_refused():
    with pytest.raises(DataError, match="other texts are 3 documents"):
        train(documents("thus", 20, 1), documents("click", 3, 2))


def test_accuracy_is_the_mean_over_classes():
    assert HeldOut(1.0, 0.5, 10, 90).accuracy == 0.75
