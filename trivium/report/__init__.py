"""The report room: what a run did, as one page that opens offline, and the intervals that its tables need."""

from trivium.report.intervals import mean_interval, paired_bootstrap, share_interval
from trivium.report.page import write_report

__all__ = ["mean_interval", "paired_bootstrap", "share_interval", "write_report"]
