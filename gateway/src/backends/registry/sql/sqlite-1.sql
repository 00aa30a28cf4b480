-- Links, as the first databases had them. Those were made without a list of migrations.
CREATE TABLE IF NOT EXISTS secret (check_value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS link (
    key             BLOB PRIMARY KEY,
    person          BLOB NOT NULL,
    subject         BLOB NOT NULL,
    linked_at       INTEGER NOT NULL,
    channel         INTEGER NOT NULL,
    consent_wording TEXT NOT NULL,
    consent_at      INTEGER NOT NULL,
    consent_purpose TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS idempotency (
    key     BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    outcome INTEGER NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at);
