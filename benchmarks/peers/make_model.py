"""Turn a GGUF file into a Hugging Face directory in float32, which both sides then load: make_model.py FILE FOLDER."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main():
    """Write the folder."""
    source, folder = Path(sys.argv[1]), sys.argv[2]
    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    plain = GgufConfig(dequantize=True)
    AutoModelForCausalLM.from_pretrained(**place, quantization_config=plain, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


if __name__ == "__main__":
    main()
