"""What a study found, as tables and one page; nothing here needs torch."""

from patchlens.studies.report.make import make_report as make_report
from patchlens.studies.report.tables import Report as Report
from patchlens.studies.report.tables import Table as Table
from patchlens.studies.report.write import Written as Written
from patchlens.studies.report.write import write_report as write_report
