"""The database's tables, as migrations that are applied one after another."""

import sqlite3
from collections.abc import Iterator

MIGRATIONS = (
    """
    CREATE TABLE videos (
        video_id TEXT PRIMARY KEY,
        content_hash TEXT NOT NULL UNIQUE,
        path TEXT NOT NULL,
        title TEXT NOT NULL,
        duration_s REAL NOT NULL,
        facts TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        checkpoint TEXT NOT NULL,
        prompt_version TEXT NOT NULL,
        plan TEXT NOT NULL,
        incomplete TEXT NOT NULL,
        added_at TEXT NOT NULL,
        indexed_at TEXT NOT NULL,
        seconds_spent REAL NOT NULL
    );
    CREATE TABLE captions (
        caption_id INTEGER PRIMARY KEY AUTOINCREMENT,
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        text TEXT NOT NULL,
        source TEXT NOT NULL
    );
    CREATE INDEX captions_by_video ON captions (video_id, start_s);
    CREATE VIRTUAL TABLE words USING fts5 (
        text, content = 'captions', content_rowid = 'caption_id', tokenize = 'porter unicode61'
    );
    CREATE TABLE generation (number INTEGER NOT NULL);
    INSERT INTO generation VALUES (0);
    CREATE TRIGGER caption_added AFTER INSERT ON captions BEGIN
        INSERT INTO words (rowid, text) VALUES (new.caption_id, new.text);
        UPDATE generation SET number = number + 1;
    END;
    CREATE TRIGGER caption_removed AFTER DELETE ON captions BEGIN
        INSERT INTO words (words, rowid, text) VALUES ('delete', old.caption_id, old.text);
        UPDATE generation SET number = number + 1;
    END;
    CREATE TABLE answers (
        answer_id INTEGER PRIMARY KEY AUTOINCREMENT,
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        question TEXT NOT NULL,
        text TEXT NOT NULL,
        evidence TEXT NOT NULL,
        checkpoint TEXT NOT NULL,
        prompt_version TEXT NOT NULL,
        plan TEXT NOT NULL,
        asked_at TEXT NOT NULL
    );
    CREATE INDEX answers_by_video ON answers (video_id);
    CREATE TABLE known_files (
        path TEXT PRIMARY KEY,
        size_bytes INTEGER NOT NULL,
        modified_ns INTEGER NOT NULL,
        content_hash TEXT NOT NULL
    );
    """,
    """
    ALTER TABLE videos ADD COLUMN summary TEXT NOT NULL DEFAULT '';
    ALTER TABLE videos ADD COLUMN chapters TEXT NOT NULL DEFAULT '[]';
    """,
)
"""Applied in order, each once; `PRAGMA user_version` counts them. Append only."""


def statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction around them."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
