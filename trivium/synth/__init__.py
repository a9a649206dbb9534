"""Data that models write."""
