"""What is cut from documents is counted: nothing disappears silently."""

from trivium.core.types import Document
from trivium.text.dedup import LineDedup, SubstringDedup
from trivium.text.pipeline import Funnel, clean
from trivium.text.repeated import COPY, SHARED_LINES, cut_copies, cut_shared_lines

MENU = "Home | About us | Contact | Imprint"
PASSAGE = "a passage that is long enough to be a copy of another one in this corpus "


def counted(texts: list[str]) -> tuple[list[Document], Funnel]:
    funnel = Funnel()
    return list(clean([Document(text, str(number)) for number, text in enumerate(texts)], [], None, funnel=funnel)), funnel


def adds_up(kept: list[Document], funnel: Funnel) -> bool:
    size = sum(len(document.text.encode()) for document in kept)
    gone = sum(count.bytes for count in [*funnel.dropped.values(), *funnel.cut.values()])
    return funnel.kept.bytes == size and funnel.read.bytes == size + gone and funnel.kept.documents == len(kept)


def test_shared_lines_are_cut_and_a_document_of_nothing_else_goes():
    documents, funnel = counted([f"{MENU}\none", f"{MENU}\ntwo", MENU, "three"])
    kept = cut_shared_lines(documents, LineDedup(min_documents=3), funnel=funnel)
    assert [document.text for document in kept] == [f"{MENU}\none", "two", "three"]
    assert funnel.cut[SHARED_LINES].documents == 1
    assert funnel.samples[SHARED_LINES] == [{"id": "1", "text": f"{MENU}\n"}]
    assert funnel.dropped[f"nothing but a {SHARED_LINES}"].documents == 1
    assert adds_up(kept, funnel)


def test_copies_are_cut_from_the_later_document():
    documents, funnel = counted([f"first {PASSAGE}end", f"second {PASSAGE}more", PASSAGE])
    kept = cut_copies(documents, SubstringDedup(min_chars=40), funnel=funnel)
    assert [document.text.split() for document in kept] == [documents[0].text.split(), ["second", "more"]]
    assert funnel.cut[COPY].documents == 1
    assert adds_up(kept, funnel)
