-- Cards, keys that change, several processes at one database.
ALTER TABLE link RENAME TO link_1;
-- Under which key names are made and rows are sealed from now on. One row.
CREATE TABLE keyset (one INTEGER PRIMARY KEY CHECK (one = 1), current INTEGER NOT NULL) STRICT;
-- Keys that rows may have been written under, 0 for names of some days,, and a value that tells whether a key file has the same.
CREATE TABLE key_check (key_id INTEGER PRIMARY KEY, value BLOB NOT NULL) STRICT;

CREATE TABLE link (
    -- The account's name, under the key of this number.
    key             BLOB PRIMARY KEY,
    key_id          INTEGER NOT NULL,
    -- Through whom it was linked, and what kind of medium it is: in clear, they name nobody.
    partner         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    -- The account, sealed, so that it can be named anew under another key.
    account         BLOB,
    -- Whose it is: a name of the subject, and the subject, sealed.
    person          BLOB NOT NULL,
    subject         BLOB NOT NULL,
    -- The one place that a person has for media of which one may be linked at a time.
    place           INTEGER,
    -- Who did it for the person: a name, the subject, sealed, and which of the agent's places it takes.
    agent           BLOB,
    agent_subject   BLOB,
    agent_place     INTEGER,
    linked_at       INTEGER NOT NULL,
    -- A card that was reported lost is linked no more; its holder is remembered for the one issued in its place.
    lost_at         INTEGER,
    channel         INTEGER NOT NULL,
    consent_wording TEXT NOT NULL,
    consent_at      INTEGER NOT NULL,
    consent_purpose TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX link_place ON link (person, place);
CREATE INDEX link_lost ON link (lost_at) WHERE lost_at IS NOT NULL;
CREATE UNIQUE INDEX link_agent_place ON link (agent, agent_place) WHERE agent IS NOT NULL;

-- Links that ended, in the order in which they did, for replicas that remember them. No key: all did.
CREATE TABLE change (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, key BLOB) STRICT;
CREATE INDEX change_at ON change (at);
-- The last change. One row: whoever notes a change holds it until the change is in force, so that no number is seen
-- before a smaller one.
CREATE TABLE change_head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL) STRICT;
INSERT INTO change_head (one, seq) VALUES (1, 0);

CREATE TABLE batch (
    key       BLOB PRIMARY KEY,
    partner   TEXT NOT NULL,
    rows_done INTEGER NOT NULL,
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE batch_count (
    batch  BLOB NOT NULL,
    result INTEGER NOT NULL,
    many   INTEGER NOT NULL,
    PRIMARY KEY (batch, result)
) STRICT, WITHOUT ROWID;
CREATE TABLE batch_refused (
    batch  BLOB NOT NULL,
    row_no INTEGER NOT NULL,
    result INTEGER NOT NULL,
    PRIMARY KEY (batch, row_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE delegation (
    key        BLOB PRIMARY KEY,
    partner    TEXT NOT NULL,
    -- What is to be linked and the authority's name for it, sealed under the key of this number.
    key_id     INTEGER NOT NULL,
    wanted     BLOB NOT NULL,
    sends      INTEGER NOT NULL,
    sent_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL,
    at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Single tickets that are open, and sales that are held: one for each person.
CREATE TABLE ticket (
    person BLOB PRIMARY KEY,
    sale   BLOB NOT NULL UNIQUE,
    number BLOB UNIQUE,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ticket_until ON ticket (until);

-- What operators did. Nothing in it is changed or taken away; every entry holds the hash of the one before.
CREATE TABLE record (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    act      TEXT NOT NULL,
    detail   TEXT NOT NULL,
    previous BLOB NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
CREATE TRIGGER record_stays_unchanged BEFORE UPDATE ON record
    BEGIN SELECT RAISE(ABORT, 'the record is not changed'); END;
CREATE TRIGGER record_stays_whole BEFORE DELETE ON record
    BEGIN SELECT RAISE(ABORT, 'nothing is taken from the record'); END;

-- What the first databases held. Their accounts are not there to be read, so these rows stay under the first key.
INSERT INTO link (key, key_id, partner, kind, person, subject, linked_at, channel, consent_wording, consent_at,
                  consent_purpose)
    SELECT key, 1, '', '', person, subject, linked_at, channel, consent_wording, consent_at, consent_purpose
    FROM link_1;
DROP TABLE link_1;
INSERT INTO key_check (key_id, value) SELECT 1, check_value FROM secret;
INSERT INTO keyset (one, current) SELECT 1, 1 FROM secret;
DROP TABLE secret;
