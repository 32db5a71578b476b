"""The exceptions a user may meet. Each message says what is wrong, where, and the next thing to do.

    BackhaulError
    ├── SourceError          a file cannot be read or recognised
    │   └── MappingError     a mapping file is wrong; names its line
    ├── ContractError        a canonical table is not what the contract says
    ├── CheckFailed          a blocking check found rows; carries the first five
    ├── FactorMissing        an emission factor or cost parameter is not in data/
    ├── SettingError         a setting of the environment cannot be read
    ├── MemoryShort          what was asked for needs more memory or temporary space than there is
    ├── WarehouseMissing     nothing has been published yet
    ├── WarehouseLocked      another load is writing
    ├── WarehouseDamaged     something the warehouse holds is damaged, lost or of a newer version
    ├── ModelMissing         no model expects returns in this build
    ├── UnknownMetric        no metric has that key
    ├── UnknownDimension     a metric cannot be cut that way
    ├── UnknownValue         nothing has the value a filter asks for
    ├── ExportError          a file cannot be exported, or is no export
    ├── ActionError          an action cannot be logged, or there is none of that number
    ├── WorkError            a row of a work list cannot be changed as asked; names the field
    ├── QuarantineError      a quarantined row cannot be found, or not be fixed as asked; names the column
    ├── HistoryError         a build cannot be compared with another, or not be rolled back to
    ├── AlertError           a rule cannot speak, or an address cannot be told
    ├── SubscriptionError    a subscription can never be sent, or there is none of that number; names the field
    ├── PlanError            a target, a note or a saved view cannot be kept, or there is none of that number
    ├── PolicyError          a policy cannot be read, found or published
    ├── ForgetError          a customer cannot be forgotten as asked
    ├── CopyError            a build cannot be copied for other tools
    ├── BackupError          a warehouse cannot be copied, or a copy cannot be restored
    ├── PullError            nothing more can be pulled; what was got is kept
    ├── ServeError           the endpoint or the receiver cannot be opened as asked
    ├── ScheduleError        a schedule cannot be read; names the line
    ├── AccessError          somebody may not see or do this, or the file of readers is wrong
    └── Stopped              somebody stopped it: Ctrl-C, or SIGTERM

The command line prints one line and exits with the class's `exit_code`; the dashboard turns `WarehouseMissing` into a
page.
"""

from typing import Any


class BackhaulError(Exception):
    """Base of everything a user may meet; `exit_code` says to a script what kind of end it is."""

    exit_code = 1


LONGEST = 300  # characters of a message about a file


class SourceError(BackhaulError):
    """A file cannot be read or recognised; `is_of_file` where the file is at fault by itself, whatever others hold."""

    is_of_file = True

    def __init__(self, message: str, *, is_of_file: bool | None = None) -> None:
        super().__init__(message if len(message) < LONGEST else message[: LONGEST - 4] + "...")
        if is_of_file is not None:
            self.is_of_file = is_of_file


class MappingError(SourceError):
    """A mapping file is wrong; the message names its line."""

    is_of_file = False


class ContractError(BackhaulError):
    """A canonical table is not what the contract says."""


class CheckFailed(BackhaulError):
    """A blocking check found rows.

    `rows` holds the first five.
    """

    def __init__(self, message: str, rows: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.rows = rows or []


class FactorMissing(BackhaulError):
    """An emission factor or cost parameter is not in data/."""


class SettingError(BackhaulError):
    """A setting of the environment cannot be read."""


class MemoryShort(BackhaulError):
    """What was asked for needs more memory, or more temporary space, than there is."""

    exit_code = 4


class WarehouseMissing(BackhaulError):
    """Nothing has been published yet."""

    exit_code = 4


class WarehouseLocked(BackhaulError):
    """Another load is writing."""

    exit_code = 3


class WarehouseDamaged(BackhaulError):
    """Something that the warehouse holds is damaged, lost or of a newer version, and cannot be made again."""

    exit_code = 4


class ModelMissing(BackhaulError):
    """No model expects returns in this build."""

    exit_code = 4


class UnknownMetric(BackhaulError):
    """No metric has that key."""


class UnknownDimension(BackhaulError):
    """A metric cannot be cut that way."""


class UnknownValue(BackhaulError):
    """Nothing has the value a filter asks for."""


class ExportError(BackhaulError):
    """A file cannot be exported, or is no export."""


class ActionError(BackhaulError):
    """An action cannot be logged, or there is none of that number."""


class WorkError(BackhaulError):
    """A row of a work list cannot be changed as asked; `field` is the field that is wrong, empty for none of them."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class QuarantineError(BackhaulError):
    """A quarantined row cannot be found, or not be fixed as asked; `field` is the column that is wrong, or empty."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class HistoryError(BackhaulError):
    """A build cannot be compared with another, or not be rolled back to."""


class AlertError(BackhaulError):
    """A rule cannot speak, or an address cannot be told."""


class SubscriptionError(BackhaulError):
    """A subscription can never be sent, or there is none of that number; `field` names what is wrong."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class PlanError(BackhaulError):
    """A target, a note or a saved view cannot be kept, or there is none of that number."""


class PolicyError(BackhaulError):
    """A policy cannot be read, found or published."""


class PullError(BackhaulError):
    """An interface cannot be pulled from; what was got before is kept."""


class ServeError(BackhaulError):
    """The endpoint or the receiver cannot be opened as asked."""


class ScheduleError(BackhaulError):
    """A schedule cannot be read; the message names its line."""


class AccessError(BackhaulError):
    """Somebody may not see or do this, or who may cannot be read."""


class ReportError(BackhaulError):
    """A report cannot be made, or a month cannot be closed."""


class ScenarioError(BackhaulError):
    """A scenario cannot be read, saved or found."""


class ForgetError(BackhaulError):
    """A customer cannot be forgotten as asked, or is still found."""


class BackupError(BackhaulError):
    """A warehouse cannot be copied, or a copy cannot be restored."""


class CopyError(BackhaulError):
    """A build cannot be copied for other tools as asked."""


class Stopped(BackhaulError):
    """Somebody stopped it, with Ctrl-C or SIGTERM."""

    exit_code = 130
