"""Models as Hugging Face directories, in and out: `directory.py` is the door, a file a family holds its names."""
