"""What is dropped or cut for other documents: the first stays, everything is counted, and documents on disk give what a list gives."""

import numpy as np

from tests.text.settled import settled
from trivium.core.types import Document
from trivium.text.dedup import LineDedup, MinHash, NearDedup, SubstringDedup
from trivium.text.marks import Marks
from trivium.text.pipeline import DUPLICATE, Funnel
from trivium.text.store import stored
from trivium.text.whole import (
    COPY,
    NEAR_DUPLICATE,
    SHARED_LINES,
    cluster_rows,
    cut_copies,
    cut_shared_lines,
    drop_duplicates,
    drop_near_duplicates,
    signatures,
)  # fmt: skip

BASE = " ".join(f"word{number}" for number in range(200))


def documents() -> list[Document]:
    texts = [BASE, "something else that stands for itself", f"{BASE} end", BASE.replace("word100", "other"), "and another text of its own"]
    return [Document(text, f"id{number}") for number, text in enumerate(texts)]


def test_the_first_stays_and_the_funnel_adds_up():
    funnel = Funnel()
    given = settled(documents(), funnel=funnel)
    kept, clusters = drop_near_duplicates(given, NearDedup(), funnel=funnel)
    assert [document.id for document in kept] == ["id0", "id1", "id4"]
    assert funnel.dropped[NEAR_DUPLICATE].documents == 2
    assert funnel.read.bytes == funnel.kept.bytes + funnel.dropped[NEAR_DUPLICATE].bytes
    assert [sample["id"] for sample in funnel.samples[NEAR_DUPLICATE]] == ["id2", "id3"]
    assert list(cluster_rows(given, clusters)) == [{"id": "id0", "size": 3, "duplicates": ["id2", "id3"]}]


def test_a_second_pass_drops_nothing():
    kept, _ = drop_near_duplicates(documents(), NearDedup(), funnel=Funnel())
    again, clusters = drop_near_duplicates(kept, NearDedup(), funnel=Funnel())
    assert list(again) == list(kept)
    assert not list(cluster_rows(kept, clusters))


def test_an_empty_corpus_has_no_signatures():
    assert signatures([], MinHash()).shape == (0, 128)
    assert list(drop_near_duplicates([], NearDedup(), funnel=Funnel())[0]) == []


MENU = "Home | About us | Contact | Imprint"
PASSAGE = "a passage that is long enough to be a copy of another one in this corpus "


def counted(texts: list[str]) -> tuple[list[Document], Funnel]:
    funnel = Funnel()
    return settled([Document(text, str(number)) for number, text in enumerate(texts)], funnel=funnel), funnel


def adds_up(kept: list[Document], funnel: Funnel) -> bool:
    size = sum(len(document.text.encode()) for document in kept)
    gone = sum(count.bytes for count in [*funnel.dropped.values(), *funnel.cut.values()])
    return funnel.kept.bytes == size and funnel.read.bytes == size + gone and funnel.kept.documents == len(kept)


def test_shared_lines_are_cut_and_a_document_of_nothing_else_goes():
    documents, funnel = counted([f"{MENU}\none", f"{MENU}\ntwo", MENU, "three"])
    kept = list(cut_shared_lines(documents, LineDedup(min_documents=3), funnel=funnel))
    assert [document.text for document in kept] == [f"{MENU}\none", "two", "three"]
    assert funnel.cut[SHARED_LINES].documents == 1
    assert funnel.samples[SHARED_LINES] == [{"id": "1", "text": f"{MENU}\n"}]
    assert funnel.dropped[f"nothing but a {SHARED_LINES}"].documents == 1
    assert adds_up(kept, funnel)


def test_copies_are_cut_from_the_later_document():
    documents, funnel = counted([f"first {PASSAGE}end", f"second {PASSAGE}more", PASSAGE])
    kept = list(cut_copies(documents, SubstringDedup(min_chars=40), funnel=funnel))
    assert [document.text.split() for document in kept] == [documents[0].text.split(), ["second", "more"]]
    assert funnel.cut[COPY].documents == 1
    assert adds_up(kept, funnel)


def test_exact_duplicates_go_by_their_digests():
    documents, funnel = counted(["one", "two", " one ", "one", "three"])
    kept = drop_duplicates(documents, Marks.of([document.text for document in documents], None).digest_D, funnel=funnel)
    assert [document.text for document in kept] == ["one", "two", "three"]
    assert funnel.dropped[DUPLICATE].documents == 2
    assert adds_up(list(kept), funnel)


def test_documents_on_disk_give_the_same(tmp_path):
    texts = [f"{MENU}\n{PASSAGE}{number % 3}" for number in range(9)]
    results = []
    for number, make in enumerate((list, lambda documents: stored(documents, tmp_path / "store"))):
        documents, funnel = counted(texts)
        kept = list(cut_shared_lines(make(documents), LineDedup(min_documents=3), funnel=funnel))
        left = list(cut_copies(kept if number == 0 else stored(kept, tmp_path / "lines"), SubstringDedup(min_chars=40), funnel=funnel))
        results.append((left, funnel))
    assert results[0] == results[1]
    assert {SHARED_LINES, COPY} <= set(results[0][1].cut)
    assert np.array_equal(signatures(left, MinHash()), signatures(stored(left, tmp_path / "left"), MinHash()))
