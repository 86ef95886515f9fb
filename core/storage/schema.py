"""The tables of the file of sessions, as the migrations that make them.

A migration that was once released is never changed: a change of the tables is a further one. `user_version`
of a file is the number of those it has been through.
"""

from __future__ import annotations

from core.values import dataclass

APPLICATION_ID = 0x43535241
"""In the header of each file of ours: "CSRA"."""


@dataclass(frozen=True, slots=True)
class Schema:
    """`migrations` are run in their order, each a number of statements; after all of them `tables` exist."""

    migrations: tuple[tuple[str, ...], ...]
    tables: frozenset[str]


_SESSIONS = """
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
"""

_STEPS = """
    CREATE TABLE steps (
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        turn INTEGER NOT NULL,
        data TEXT NOT NULL,
        UNIQUE (session, seq)
    )
"""

# `message` is the prompt as the model got it, for as long as the turn has no outcome.
_TURNS = """
    CREATE TABLE turns (
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        turn INTEGER NOT NULL,
        data TEXT NOT NULL,
        message TEXT,
        UNIQUE (session, turn)
    )
"""

_COMPACTIONS = """
    CREATE TABLE compactions (
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        upto INTEGER NOT NULL,
        data TEXT NOT NULL,
        UNIQUE (session, number)
    )
"""

# Rows are only ever added until the step is over: what a draft costs does not grow with it.
_DRAFTS = """
    CREATE TABLE drafts (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        data TEXT NOT NULL
    )
"""

_BLOBS = "CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL)"

_PREIMAGES = """
    CREATE TABLE preimages (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        turn INTEGER NOT NULL,
        path BLOB NOT NULL,
        before TEXT REFERENCES blobs (sha256),
        after TEXT NOT NULL,
        mode INTEGER
    )
"""

# Where the texts of the search come from; narrow, for a search goes through thousands of them.
_PLACES = """
    CREATE TABLE places (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
        step INTEGER
    )
"""

_SEARCH = """
    CREATE VIRTUAL TABLE search USING fts5 (
        text, tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'
    )
"""

_INDEXES = (
    "CREATE INDEX sessions_by_time ON sessions (updated_at)",
    "CREATE INDEX sessions_by_workspace ON sessions (workspace, updated_at)",
    "CREATE INDEX drafts_of_session ON drafts (session)",
    "CREATE INDEX preimages_of_session ON preimages (session, turn)",
    "CREATE INDEX preimages_by_content ON preimages (before)",
    "CREATE INDEX places_of_session ON places (session)",
)

SCHEMA = Schema(
    migrations=(
        (
            *(_SESSIONS, _STEPS, _TURNS, _COMPACTIONS, _DRAFTS, _BLOBS, _PREIMAGES, _PLACES, _SEARCH),
            *_INDEXES,
        ),
    ),
    tables=frozenset(
        {"sessions", "steps", "turns", "compactions", "drafts", "blobs", "preimages", "places", "search"}
    ),
)

INDEX_ANEW = (
    # An index that is badly damaged cannot even be told to rebuild itself: an empty one can.
    "CREATE VIRTUAL TABLE temp.empty USING fts5 (text)",
    "DELETE FROM search_data",
    "INSERT INTO search_data SELECT * FROM temp.empty_data",
    "DROP TABLE temp.empty",
    "INSERT INTO search (search) VALUES ('rebuild')",
)
"""What makes the index of the search anew from its texts."""
