"""The papers' tables as data, and the ledger of the rows that have been run."""

from recurseg.experiments.ledger import Ledger, Result
from recurseg.experiments.rows import reproduce, stored
from recurseg.experiments.table import Table, find_table, list_tables

__all__ = ["Ledger", "Result", "Table", "find_table", "list_tables", "reproduce", "stored"]
