"""The suite of models of several sizes that saw the same rows in the same order, which several studies look at."""

from trivium.studies.study import Preset, Trial

# On a GPU a published shape stands for each of the laptop's, with its rate (stages/pretrain.toml)
GPU = {
    "size_156k": ("pythia-14m", 1e-3),
    "size_412k": ("pythia-70m", 1e-3),
    "size_841k": ("pythia-160m", 6e-4),
    "size_1_7m": ("pythia-410m", 3e-4),
}


def suite(preset: Preset) -> Trial:
    """The run of the recipe pythia-laptop; on a GPU with larger shapes, batches and vocabulary, and longer."""
    if preset == "laptop":
        return Trial("pythia-laptop")
    longer = {"batch_tokens": 129 * 256, "micro_batch_rows": 256, "steps": 3000, "keep_every": 500}
    sizes = {stage: {"preset": shape, "optimizer": {"lr": lr}, **longer} for stage, (shape, lr) in GPU.items()}
    return Trial("pythia-laptop", {"tokenize": {"vocab_size": 16384}, **sizes})
