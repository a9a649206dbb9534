"""Check the import of SmolLM2 against transformers: `python -m scripts.check_smollm2 [TEXT]`, about two minutes on two cores.

TEXT is any source of documents (a file, a folder, an asset); without it the documentation strings of the installed packages.
It needs transformers and gguf (`pip install 'trivium[hf,gguf]'`) and, the first time, the network. On a busy machine set
OMP_WAIT_POLICY=PASSIVE, as the command line does.
Prints one line for each check and ends with 1 if one of them fails.
"""

import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from trivium.core.types import Message
from trivium.generate.engine import Engine
from trivium.generate.sampling import Sampling
from trivium.nn.io.directory import load_model
from trivium.nn.io.gguf_read import read_gguf
from trivium.nn.model import Model
from trivium.stages.computing.models import Speaker
from trivium.stages.machine import Machine
from trivium.stages.use.exchange import export_model, model_path
from trivium.text.assets import fetch
from trivium.text.read import read_documents

transformers.utils.logging.disable_progress_bar()  # one line for each check

Result = tuple[bool, str]  # whether it is right, and what was found
NUM_SENTENCES, MAX_TOKENS, TOLERANCE = 100, 256, 1e-4
HALF_STEP = 2**-11  # relative to a weight
EIGHT_BIT_STEP = 0.5 / 127 + 2**-11  # relative to the largest of its block of 32, whose scale is rounded to fp16 besides
DIGITS = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
)


def sentences(source: str) -> list[str]:
    """The first 100 sentences of 40 to 600 characters, at most three of a document."""
    found: list[str] = []
    for document in read_documents(source):
        text = re.sub(r"\s+", " ", document.text)
        found += islice((each for each in re.findall(r"[A-Z][^.!?]{39,599}[.!?]", text)), 3)
        if len(found) >= NUM_SENTENCES:
            break
    return found[:NUM_SENTENCES]


@torch.inference_mode()
def our_logits(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Logits of every position, (L, V)."""
    hidden_BLD = model.trunk(ids[None], torch.arange(len(ids))[None])
    return torch.nn.functional.linear(hidden_BLD, model.trunk.head.weight)[0]


@torch.inference_mode()
def their_logits(model: transformers.PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    """Logits of every position, (L, V)."""
    return model(ids[None]).logits[0]


def largest_gap(ours_LV: torch.Tensor, theirs_LV: torch.Tensor, ids: torch.Tensor) -> float:
    """Largest difference between two models' log-probs of the tokens after the first."""
    ours, theirs = (each[:-1].log_softmax(-1).gather(1, ids[1:, None]) for each in (ours_LV, theirs_LV))
    return (ours - theirs).abs().max().item()


def largest_errors(model: Model, written: Model) -> tuple[float, float]:
    """Largest difference of two models' weights: relative to the weight, and to the largest of its 32 neighbours in the row."""
    relative = of_block = 0.0
    for name, tensor in model.state_dict().items():
        error = (written.state_dict()[name] - tensor).abs()
        relative = max(relative, (error / tensor.abs().clamp_min(1e-4)).max().item())  # smaller ones are subnormal in fp16
        if tensor.dim() == 2:
            blocks = tensor.unflatten(-1, (-1, 32))
            of_block = max(of_block, (error.unflatten(-1, (-1, 32)) / blocks.abs().amax(-1, keepdim=True).clamp_min(1e-4)).max().item())
    return relative, of_block


def check_answer(speaker: Speaker) -> Result:
    """(a) The capital of France, greedily."""
    prompt = speaker.prompt((Message("user", "What is the capital of France?"),))
    [answer] = Engine(speaker.model, stop_ids=speaker.stop_ids).generate([prompt], Sampling(temperature=0, max_new_tokens=32), seed=1)
    said = speaker.text_of(answer)
    return "Paris" in said and answer.meta["stopped"] is True, f"the capital of France: {said!r}"


def check_tokenizer(speaker: Speaker, file: Path, texts: list[str]) -> Result:
    """(d) Ids, with the documents as they are and with runs of spaces before every digit."""
    reference = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    spaced = texts + [re.sub(r"(?=\d)", "   ", text) for text in texts] + ["a  1", "x = [\n    1,\n    22]", "\t 7", "é 漢字 🙂   2026"]
    before = [reference(text, add_special_tokens=False).input_ids for text in spaced]
    reference.backend_tokenizer.pre_tokenizer = DIGITS
    theirs = [reference(text, add_special_tokens=False).input_ids for text in spaced]
    ours = [speaker.tokenizer.encode(text).tolist() for text in spaced]
    same, unfixed = (sum(a == b for a, b in zip(ours, other, strict=True)) for other in (theirs, before))
    messages = [{"role": "user", "content": "Count to 3."}]
    prompt = reference.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    is_prompt = prompt == speaker.prompt((Message("user", "Count to 3."),)).tolist()
    told = f"ids of {same} of {len(spaced)} texts equal the reference's ({unfixed} before its splitting rule is mended)"
    return same == len(spaced) and is_prompt, f"{told}; chat prompt equal: {is_prompt}"


def from_gguf(file: Path) -> transformers.PreTrainedModel:
    """What transformers makes of a GGUF file, in fp32."""
    dequantised = GgufConfig(dequantize=True)
    return AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=dequantised
    ).eval()


def check_export(folder: Path, place: Path, ids: list[torch.Tensor]) -> Iterator[Result]:
    """What we write as GGUF: read back by us, and the log-probs of transformers from it."""
    model = load_model(folder)
    for dtype in ("f16", "q8_0"):
        file = export_model(folder, place / f"{dtype}.gguf", to="gguf", dtype=dtype)
        ours, theirs = read_gguf(file).model, from_gguf(file)
        relative, of_block = largest_errors(model, ours)
        apart = max(largest_gap(our_logits(ours, each), their_logits(theirs, each), each) for each in ids)
        is_close = relative <= HALF_STEP if dtype == "f16" else of_block <= EIGHT_BIT_STEP
        told = f"{relative:.1e} of a weight" if dtype == "f16" else f"{of_block:.1e} of the largest weight in a block"
        yield is_close and apart <= TOLERANCE, f"{dtype} file: error at most {told}; log-probs apart from transformers' by {apart:.1e}"


def check_logits(speaker: Speaker, folder: Path, file: Path, ids: list[torch.Tensor]) -> Iterator[Result]:
    """(b), (c) Our log-probs and those of transformers from our directory, both compared with transformers from the asset."""
    theirs, back = from_gguf(file), AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    apart, num_equal = 0.0, 0
    for each in ids:
        reference = their_logits(theirs, each)
        apart = max(apart, largest_gap(our_logits(speaker.model, each), reference, each))
        num_equal += torch.equal(their_logits(back, each), reference)
    told = f"log-probs of {len(ids)} sentences, {sum(map(len, ids)):,} tokens: apart from transformers' by {apart:.1e} at most"
    yield apart <= TOLERANCE, told
    yield num_equal == len(ids), f"transformers from our directory: identical logits in {num_equal} of {len(ids)} sentences"


def results() -> Iterator[Result]:
    """Every check."""
    texts = sentences(sys.argv[1] if len(sys.argv) > 1 else "docstrings")
    file, folder = fetch("smollm2"), model_path("smollm2")
    speaker = Speaker.load(folder, Machine(precision="float32").measured())
    ids = [torch.from_numpy(speaker.tokenizer.encode(text)[:MAX_TOKENS].astype("int64")) for text in texts]
    yield check_answer(speaker)
    yield from check_logits(speaker, folder, file, ids)
    yield check_tokenizer(speaker, file, texts)
    with tempfile.TemporaryDirectory() as place:
        yield from check_export(folder, Path(place), ids[:20])


def main() -> int:
    """Print every result as it comes."""
    warnings.simplefilter("ignore")
    is_right = True
    for is_this_right, told in results():
        print("ok   " if is_this_right else "FAIL ", told, flush=True)
        is_right &= is_this_right
    return int(not is_right)


if __name__ == "__main__":
    sys.exit(main())
