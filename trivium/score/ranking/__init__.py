"""Which model is better, from matches: Elo, Bradley-Terry, win rates against a baseline, and who is not to be believed."""

from trivium.score.ranking.attack import Flag, flags
from trivium.score.ranking.leaderboard import Anchor, How, Leaderboard, Place, heldout_accuracy, heldout_prompts, leaderboard
from trivium.score.ranking.table import MatchTable, tabulate
from trivium.score.ranking.win_rate import WinRate, win_rates

__all__ = [
    "Anchor", "Flag", "How", "Leaderboard", "MatchTable", "Place", "WinRate", "flags", "heldout_accuracy", "heldout_prompts",
    "leaderboard", "tabulate", "win_rates",
]  # fmt: skip
