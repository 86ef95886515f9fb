"""The tables of the session file, as the migrations that create them.

A released migration is never changed; a change of the tables is a new migration. `user_version` of a file
counts the migrations that it has been through.
"""

from __future__ import annotations

from core.base.values import Value

APPLICATION_ID = 0x43535241
"""Marks our files, in the header of SQLite: "CSRA"."""


class Schema(Value):
    """Migrations in order, each a list of statements, and the tables that exist after all of them."""

    migrations: tuple[tuple[str, ...], ...]
    tables: frozenset[str]


_VERSION_1 = (
    """
    CREATE TABLE sessions (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL DEFAULT '',
        -- Names of folders and files are bytes, which need not be text.
        workspace BLOB NOT NULL,
        model TEXT NOT NULL,
        parent TEXT,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        steps INTEGER NOT NULL DEFAULT 0,
        input_tokens INTEGER NOT NULL DEFAULT 0,
        output_tokens INTEGER NOT NULL DEFAULT 0,
        cached_tokens INTEGER NOT NULL DEFAULT 0,
        reasoning_tokens INTEGER NOT NULL DEFAULT 0,
        cost REAL NOT NULL DEFAULT 0,
        cost_unknown INTEGER NOT NULL DEFAULT 0,
        queue TEXT NOT NULL DEFAULT '[]',
        queue_paused INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE steps (
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        data TEXT NOT NULL,
        UNIQUE (session, seq)
    )
    """,
    # `message` is the prompt that was sent to the model. It is null when the turn has an outcome.
    """
    CREATE TABLE turns (
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        turn INTEGER NOT NULL,
        data TEXT NOT NULL,
        message TEXT,
        UNIQUE (session, turn)
    )
    """,
    """
    CREATE TABLE compactions (
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        upto INTEGER NOT NULL,
        data TEXT NOT NULL,
        UNIQUE (session, number)
    )
    """,
    # Rows are only added until the step ends, so the cost of a write does not grow with the draft.
    """
    CREATE TABLE drafts (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        data TEXT NOT NULL
    )
    """,
    "CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL)",
    """
    CREATE TABLE preimages (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        turn INTEGER NOT NULL,
        path BLOB NOT NULL,
        before TEXT REFERENCES blobs (sha256),
        after TEXT NOT NULL,
        mode INTEGER
    )
    """,
    # The source of each text in the search index. Rows are small because a search reads thousands of them.
    """
    CREATE TABLE places (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        step INTEGER
    )
    """,
    """
    CREATE VIRTUAL TABLE search USING fts5 (
        text, tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'
    )
    """,
    "CREATE INDEX sessions_by_time ON sessions (updated_at)",
    "CREATE INDEX sessions_by_workspace ON sessions (workspace, updated_at)",
    "CREATE INDEX drafts_of_session ON drafts (session)",
    "CREATE INDEX preimages_of_session ON preimages (session, turn)",
    "CREATE INDEX preimages_by_content ON preimages (before)",
    "CREATE INDEX places_of_session ON places (session)",
)

SCHEMA = Schema(
    migrations=(_VERSION_1,),
    tables=frozenset(
        {"sessions", "steps", "turns", "compactions", "drafts", "blobs", "preimages", "places", "search"}
    ),
)

REBUILD_INDEX = (
    # A badly damaged index refuses the command to rebuild, so it is replaced by an empty one first.
    "CREATE VIRTUAL TABLE temp.empty USING fts5 (text)",
    "DELETE FROM search_data",
    "INSERT INTO search_data SELECT * FROM temp.empty_data",
    "DROP TABLE temp.empty",
    "INSERT INTO search (search) VALUES ('rebuild')",
)
"""Statements that rebuild the search index from the stored texts."""
