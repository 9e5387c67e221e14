"""Reading records that clients send: ``parsing`` reads texts, ``schema`` checks columns, ``fields`` values.

Every family reports wrong fields as `FieldError`, so that all routes answer with faults of one form.
"""

from prediction.records.fields import FieldError, RecordFault
from prediction.records.parsing import CsvRecords, NumberedRecord, ParsedRecords, TableRows, UnreadableLine
from prediction.records.schema import RecordSchema

__all__ = [
    "CsvRecords",
    "FieldError",
    "NumberedRecord",
    "ParsedRecords",
    "RecordFault",
    "RecordSchema",
    "TableRows",
    "UnreadableLine",
]
