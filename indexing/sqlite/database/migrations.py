"""The migrations that make the database's tables, each once and in order."""


def _change_trigger(name: str, event: str, row: str, kind: str) -> str:
    """Return a trigger that gives a change of a video the next number. `row`: the row of the event, `new` or `old`.

    Nothing but plain statements: a policy for conflicts of the outer statement would replace one of the trigger.
    """
    return f"""
    CREATE TRIGGER {name} AFTER {event} BEGIN
        DELETE FROM changes WHERE video_id = {row}.video_id AND kind = '{kind}';
        INSERT INTO changes (video_id, kind) VALUES ({row}.video_id, '{kind}');
    END;
    """


_CHANGE_TRIGGERS = (
    ("video_added", "INSERT ON videos", "new", "video"),
    (
        "video_changed",
        "UPDATE OF path, title, duration_s, facts, summary, chapters, removed_at ON videos",
        "new",
        "video",
    ),
    ("video_watched", "UPDATE OF position_s ON videos", "new", "position"),
    ("video_deleted", "DELETE ON videos", "old", "video"),
    ("track_added", "INSERT ON tracks", "new", "video"),
    ("track_changed", "UPDATE ON tracks", "new", "video"),
    ("track_deleted", "DELETE ON tracks", "old", "video"),
    ("answer_added", "INSERT ON answers", "new", "conversation"),
    ("answer_changed", "UPDATE OF cleared_at ON answers", "new", "conversation"),
    ("answer_deleted", "DELETE ON answers", "old", "conversation"),
)

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
    # The names of tables, columns and plans follow those of the code.
    """
    ALTER TABLE generation RENAME TO revision;
    ALTER TABLE answers RENAME COLUMN text TO answer;
    ALTER TABLE answers RENAME COLUMN evidence TO citations;
    UPDATE videos SET plan = json_set(plan, '$.patch_period_s', json_extract(plan, '$.grain_s'))
        WHERE json_extract(plan, '$.grain_s') IS NOT NULL;
    UPDATE videos SET plan = json_set(plan, '$.timestamp_tokens', json_extract(plan, '$.stamp_tokens'))
        WHERE json_extract(plan, '$.stamp_tokens') IS NOT NULL;
    UPDATE videos SET plan = json_set(plan, '$.purpose', 'qa') WHERE json_extract(plan, '$.purpose') = 'watch';
    UPDATE videos SET plan = json_set(plan, '$.purpose', 'refine') WHERE json_extract(plan, '$.purpose') = 'look';
    UPDATE videos SET plan = json_remove(plan, '$.grain_s', '$.stamp_tokens');
    UPDATE answers SET plan = json_set(plan, '$.patch_period_s', json_extract(plan, '$.grain_s'))
        WHERE json_extract(plan, '$.grain_s') IS NOT NULL;
    UPDATE answers SET plan = json_set(plan, '$.timestamp_tokens', json_extract(plan, '$.stamp_tokens'))
        WHERE json_extract(plan, '$.stamp_tokens') IS NOT NULL;
    UPDATE answers SET plan = json_set(plan, '$.purpose', 'qa') WHERE json_extract(plan, '$.purpose') = 'watch';
    UPDATE answers SET plan = json_set(plan, '$.purpose', 'refine') WHERE json_extract(plan, '$.purpose') = 'look';
    UPDATE answers SET plan = json_remove(plan, '$.grain_s', '$.stamp_tokens');
    """,
    # The demo checkpoint's fingerprint covers the names of its files. They changed, and its weights did not.
    """
    UPDATE videos SET checkpoint = 'demo@e5dda8cbe513' WHERE checkpoint = 'demo@ad6fec58ad02';
    UPDATE answers SET checkpoint = 'demo@e5dda8cbe513' WHERE checkpoint = 'demo@ad6fec58ad02';
    """,
    # A video has tracks of segments. Passages of the tracks are searched.
    """
    CREATE TABLE tracks (
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        source TEXT NOT NULL,
        status TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        done_s REAL NOT NULL,
        checkpoint TEXT NOT NULL,
        prompt_version TEXT NOT NULL,
        plan TEXT NOT NULL,
        language TEXT,
        uncovered TEXT NOT NULL,
        note TEXT NOT NULL,
        seconds_spent REAL NOT NULL,
        updated_at TEXT NOT NULL,
        segment_counts TEXT NOT NULL DEFAULT '{}',
        PRIMARY KEY (video_id, source)
    );
    INSERT INTO tracks SELECT
        video_id, 'captions', CASE
            WHEN incomplete != '[]' AND NOT EXISTS (SELECT 1 FROM captions WHERE captions.video_id = videos.video_id)
            THEN 'declined' ELSE 'complete' END,
        start_s, end_s, end_s, checkpoint, prompt_version, plan, NULL, incomplete, '', seconds_spent, indexed_at,
        json_object('', (SELECT count(*) FROM captions WHERE captions.video_id = videos.video_id))
        FROM videos;
    CREATE TABLE segments (
        segment_id INTEGER PRIMARY KEY AUTOINCREMENT,
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        source TEXT NOT NULL,
        origin TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        text TEXT NOT NULL,
        language TEXT,
        confidence REAL,
        words TEXT
    );
    CREATE INDEX segments_by_video ON segments (video_id, source, start_s);
    INSERT INTO segments SELECT caption_id, video_id, 'captions', '', start_s, end_s, text, NULL, NULL, NULL FROM captions;
    DROP TRIGGER caption_added;
    DROP TRIGGER caption_removed;
    CREATE TABLE passages (
        passage_id INTEGER PRIMARY KEY AUTOINCREMENT,
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        source TEXT NOT NULL,
        language TEXT,
        position INTEGER NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        text TEXT NOT NULL
    );
    CREATE INDEX passages_by_video ON passages (video_id, source, position);
    DROP TABLE words;
    CREATE VIRTUAL TABLE passage_terms USING fts5 (terms, tokenize = 'unicode61 remove_diacritics 0');
    CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
        INSERT INTO passage_terms (rowid, terms) VALUES (new.passage_id, index_text(new.text));
        UPDATE revision SET number = number + 1;
    END;
    CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
        DELETE FROM passage_terms WHERE rowid = old.passage_id;
        UPDATE revision SET number = number + 1;
    END;
    INSERT INTO passages SELECT caption_id, video_id, 'captions', NULL,
        row_number() OVER (PARTITION BY video_id ORDER BY start_s, end_s, caption_id) - 1, start_s, end_s, text FROM captions;
    DROP TABLE captions;
    CREATE TABLE new_videos (
        video_id TEXT PRIMARY KEY,
        content_hash TEXT NOT NULL UNIQUE,
        path TEXT NOT NULL,
        title TEXT NOT NULL,
        duration_s REAL NOT NULL,
        facts TEXT NOT NULL,
        summary TEXT NOT NULL,
        chapters TEXT NOT NULL,
        added_at TEXT NOT NULL
    );
    INSERT INTO new_videos SELECT video_id, content_hash, path, title, duration_s, facts, summary, chapters, added_at FROM videos
        ORDER BY rowid;
    DROP TABLE videos;
    ALTER TABLE new_videos RENAME TO videos;
    """,
    # Lines of text on screen have a place in the frame, and their track counts the frames that were read.
    """
    ALTER TABLE segments ADD COLUMN box TEXT;
    ALTER TABLE tracks ADD COLUMN frames_read INTEGER NOT NULL DEFAULT 0;
    """,
    # Tracks have numbers, and remember more of what made them. Tracks that were replaced are kept.
    """
    CREATE TABLE new_tracks (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        source TEXT NOT NULL,
        status TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        done_s REAL NOT NULL,
        checkpoint TEXT NOT NULL,
        revision TEXT NOT NULL DEFAULT '',
        profile TEXT NOT NULL DEFAULT '',
        prompt_version TEXT NOT NULL,
        plan TEXT NOT NULL,
        language TEXT,
        uncovered TEXT NOT NULL,
        note TEXT NOT NULL,
        seconds_spent REAL NOT NULL,
        frames_read INTEGER NOT NULL,
        updated_at TEXT NOT NULL,
        segment_counts TEXT NOT NULL DEFAULT '{}',
        UNIQUE (video_id, source)
    );
    INSERT INTO new_tracks (video_id, source, status, start_s, end_s, done_s, checkpoint, prompt_version, plan, language,
        uncovered, note, seconds_spent, frames_read, updated_at, segment_counts)
        SELECT video_id, source, status, start_s, end_s, done_s, checkpoint, prompt_version, plan, language,
        uncovered, note, seconds_spent, frames_read, updated_at, segment_counts FROM tracks ORDER BY rowid;
    DROP TABLE tracks;
    ALTER TABLE new_tracks RENAME TO tracks;
    CREATE TABLE earlier_tracks (
        number INTEGER PRIMARY KEY,
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        source TEXT NOT NULL,
        status TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        done_s REAL NOT NULL,
        checkpoint TEXT NOT NULL,
        revision TEXT NOT NULL,
        profile TEXT NOT NULL,
        prompt_version TEXT NOT NULL,
        plan TEXT NOT NULL,
        language TEXT,
        uncovered TEXT NOT NULL,
        note TEXT NOT NULL,
        seconds_spent REAL NOT NULL,
        frames_read INTEGER NOT NULL,
        updated_at TEXT NOT NULL,
        segment_counts TEXT NOT NULL,
        summary TEXT NOT NULL,
        chapters TEXT NOT NULL,
        replaced_at TEXT NOT NULL
    );
    CREATE INDEX earlier_tracks_by_video ON earlier_tracks (video_id, source);
    CREATE TABLE earlier_segments (
        segment_id INTEGER PRIMARY KEY,
        number INTEGER NOT NULL REFERENCES earlier_tracks ON DELETE CASCADE,
        origin TEXT NOT NULL,
        start_s REAL NOT NULL,
        end_s REAL NOT NULL,
        text TEXT NOT NULL,
        language TEXT,
        confidence REAL,
        words TEXT,
        box TEXT
    );
    CREATE INDEX earlier_segments_by_track ON earlier_segments (number, start_s);
    ALTER TABLE answers ADD COLUMN revision TEXT NOT NULL DEFAULT '';
    ALTER TABLE answers ADD COLUMN profile TEXT NOT NULL DEFAULT '';
    """,
    # Indexing is a queue of jobs, every source can resume where it stopped, and a removed video can be brought back.
    """
    CREATE TABLE jobs (
        job_id INTEGER PRIMARY KEY AUTOINCREMENT,
        path TEXT NOT NULL,
        content_hash TEXT NOT NULL,
        title TEXT NOT NULL,
        options TEXT NOT NULL,
        settings TEXT NOT NULL,
        priority INTEGER NOT NULL,
        position REAL NOT NULL,
        status TEXT NOT NULL,
        request TEXT NOT NULL,
        owner TEXT NOT NULL,
        stage TEXT NOT NULL,
        fraction REAL NOT NULL,
        seconds_left REAL,
        partial_results INTEGER NOT NULL,
        reason TEXT NOT NULL,
        error_code TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        added_at TEXT NOT NULL,
        changed_at TEXT NOT NULL
    );
    CREATE INDEX jobs_by_status ON jobs (status, priority, position);
    CREATE INDEX jobs_by_path ON jobs (path);
    CREATE INDEX jobs_by_content ON jobs (content_hash);
    CREATE INDEX jobs_by_owner ON jobs (owner, status, changed_at);
    CREATE INDEX jobs_by_position ON jobs (position);
    CREATE TABLE caption_windows (
        video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE,
        position INTEGER NOT NULL,
        run TEXT NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (video_id, position)
    );
    ALTER TABLE videos ADD COLUMN removed_at TEXT NOT NULL DEFAULT '';
    ALTER TABLE tracks ADD COLUMN state TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE earlier_tracks ADD COLUMN state TEXT NOT NULL DEFAULT '{}';
    """,
    # A job whose process ended without a word is counted. The word index is written beside the passages, because a trigger that
    # calls a function of the application needs a trusted schema.
    """
    ALTER TABLE jobs ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE jobs ADD COLUMN committed TEXT NOT NULL DEFAULT '';
    DROP TRIGGER passage_added;
    CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
        UPDATE revision SET number = number + 1;
    END;
    """,
    # A conversation that was cleared can be brought back.
    """
    ALTER TABLE answers ADD COLUMN cleared_at TEXT NOT NULL DEFAULT '';
    """,
    # The time at which somebody stopped watching.
    """
    ALTER TABLE videos ADD COLUMN position_s REAL NOT NULL DEFAULT 0;
    """,
    # Lists are sorted and filtered by indexes. What has changed has a row with a number that is larger after each change.
    """
    ALTER TABLE videos ADD COLUMN sort_title TEXT NOT NULL DEFAULT '';
    ALTER TABLE videos ADD COLUMN watched_at TEXT NOT NULL DEFAULT '';
    UPDATE videos SET sort_title = sort_title(title);
    CREATE INDEX videos_by_addition ON videos (added_at);
    CREATE INDEX videos_by_title ON videos (sort_title);
    CREATE INDEX videos_by_duration ON videos (duration_s);
    CREATE INDEX videos_by_watching ON videos (watched_at);
    CREATE INDEX tracks_by_status ON tracks (status, video_id);
    CREATE INDEX tracks_by_provenance ON tracks (source, checkpoint, profile, prompt_version, video_id);
    CREATE TABLE changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        video_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        UNIQUE (video_id, kind)
    );
    """
    + "".join(_change_trigger(*trigger) for trigger in _CHANGE_TRIGGERS),
)
"""Migrations, applied in order, each once; `PRAGMA user_version` counts them. Only append to them."""
