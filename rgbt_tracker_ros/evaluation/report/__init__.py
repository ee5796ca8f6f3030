"""The report: one HTML page that needs nothing else; `write_report` makes it of `ReportRun`s."""
from rgbt_tracker_ros.evaluation.report.page import ReportOptions, write_report
from rgbt_tracker_ros.evaluation.report.run import ReportRun

__all__ = ['ReportOptions', 'ReportRun', 'write_report']
