"""Data that models write: what is asked of them, what they wrote, and which of it is worth learning from."""
