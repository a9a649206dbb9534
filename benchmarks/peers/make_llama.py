"""Write a Llama with random weights as a Hugging Face directory: make_llama.py SHAPE FOLDER, the shape as JSON."""

import json
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def main():
    """Write the folder."""
    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig(**json.loads(sys.argv[1]))).save_pretrained(sys.argv[2])


if __name__ == "__main__":
    main()
