"""llama.cpp decoding greedily, one sequence a row of the batch, a request a tick; all rows of a request are equally long."""

import tempfile
from pathlib import Path

import llama_cpp as llama
import numpy as np
from rounds import Rounds, options, versions


class Decoder:
    """A context for `rows` sequences of at most `length` tokens."""

    def __init__(self, model, rows, length, threads):
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max, settings.n_batch = rows * length, rows, max(512, rows * length)
        settings.n_threads = settings.n_threads_batch = threads
        self.context = llama.llama_init_from_model(model, settings)
        self.num_ids = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        self.rows, self.batch = rows, llama.llama_batch_init(rows * length, 0, 1)

    def decode(self, tokens, first):
        """Read tokens, (rows, L), at positions from `first` on; the likeliest next token of each row."""
        length = len(tokens[0])
        self.batch.n_tokens = self.rows * length
        for i in range(self.batch.n_tokens):
            row, at = divmod(i, length)
            self.batch.token[i], self.batch.pos[i], self.batch.n_seq_id[i] = int(tokens[row][at]), first + at, 1
            self.batch.seq_id[i][0], self.batch.logits[i] = row, at == length - 1
        code = llama.llama_decode(self.context, self.batch)
        if code:
            raise RuntimeError(f"llama_decode returned {code}")
        ends = range(length - 1, self.rows * length, length)
        return [np.ctypeslib.as_array(llama.llama_get_logits_ith(self.context, i), (self.num_ids,)).argmax() for i in ends]

    def generate(self, prompts, num_new):
        """Answer a prompt in every row; all are equally long."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        tokens = self.decode(prompts, 0)
        for number in range(num_new - 1):
            tokens = self.decode([[token] for token in tokens], len(prompts[0]) + number)


def as_8_bit(source, target):
    """Write the model once more with 8-bit weights."""
    settings = llama.llama_model_quantize_default_params()
    settings.ftype, settings.allow_requantize = llama.LLAMA_FTYPE_MOSTLY_Q8_0, True
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), settings):
        raise RuntimeError("llama.cpp could not write 8-bit weights")


def main():
    """Answer until nothing more is wanted."""
    want = options()
    llama.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(want["gguf"])
        if want["bits"] == 8:
            file = Path(folder) / "model-q8_0.gguf"
            as_8_bit(want["gguf"], file)
        model = llama.llama_model_load_from_file(str(file).encode(), llama.llama_model_default_params())
    decoders, rounds = {}, Rounds(versions=versions("llama-cpp-python"))
    while True:
        request = rounds.tick()
        rows, new = len(request["lengths"]), request["lengths"][0]
        if rows not in decoders:
            decoders[rows] = Decoder(model, rows, len(request["prompts"][0]) + new, want["threads"])
        decoders[rows].generate(request["prompts"], new)


if __name__ == "__main__":
    main()
