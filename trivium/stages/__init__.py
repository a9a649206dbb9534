"""Stages: what a user runs. One stage a file: options, checks, and a program one reads top to bottom.

The options load no torch; `models.py` and `rollouts.py` do, and are imported only while a stage runs.
"""
