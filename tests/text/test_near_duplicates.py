"""Near duplicates of a corpus: the first stays, what goes is counted, and clusters are told."""

from trivium.core.types import Document
from trivium.text.dedup import MinHash, NearDedup
from trivium.text.near_duplicates import NEAR_DUPLICATE, cluster_rows, drop_near_duplicates, signatures
from trivium.text.pipeline import Funnel, clean

BASE = " ".join(f"word{number}" for number in range(200))


def documents() -> list[Document]:
    texts = [BASE, "something else that stands for itself", f"{BASE} end", BASE.replace("word100", "other"), "and another text of its own"]
    return [Document(text, f"id{number}") for number, text in enumerate(texts)]


def test_the_first_stays_and_the_funnel_adds_up():
    funnel = Funnel()
    given = list(clean(documents(), [], None, funnel=funnel))
    kept, clusters = drop_near_duplicates(given, NearDedup(), funnel=funnel)
    assert [document.id for document in kept] == ["id0", "id1", "id4"]
    assert funnel.dropped[NEAR_DUPLICATE].documents == 2
    assert funnel.read.bytes == funnel.kept.bytes + funnel.dropped[NEAR_DUPLICATE].bytes
    assert [sample["id"] for sample in funnel.samples[NEAR_DUPLICATE]] == ["id2", "id3"]
    assert list(cluster_rows(given, clusters)) == [{"id": "id0", "size": 3, "duplicates": ["id2", "id3"]}]


def test_a_second_pass_drops_nothing():
    kept, _ = drop_near_duplicates(documents(), NearDedup(), funnel=Funnel())
    again, clusters = drop_near_duplicates(kept, NearDedup(), funnel=Funnel())
    assert again == kept
    assert not list(cluster_rows(kept, clusters))


def test_an_empty_corpus_has_no_signatures():
    assert signatures([], MinHash()).shape == (0, 128)
    assert drop_near_duplicates([], NearDedup(), funnel=Funnel())[0] == []
