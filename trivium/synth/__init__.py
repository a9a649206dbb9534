"""Data that models write: instruction-response pairs from raw text."""
