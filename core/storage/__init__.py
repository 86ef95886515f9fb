"""The session file: records, journal, SQLite, search, crash recovery, export, old contents of files.

Imports what stands below it down to `base`, and `operations` for the words of events.
"""
