"""Stages: what a user runs. One stage a file: options, checks, and a program one reads top to bottom.

A stage's options load no torch. What it computes with is in `computing/`, which does, and is imported only while a stage runs.
`planning/` says beforehand what a recipe takes; `use/` talks to what it left, and looks back at how that came about.
"""
