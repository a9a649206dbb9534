"""Questions that a user can ask of their own runs: each with a rule that is written before running, and a page that says what was seen."""
