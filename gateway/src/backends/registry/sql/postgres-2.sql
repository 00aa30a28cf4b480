-- Under which key names are made and rows are sealed from now on. One row.
CREATE TABLE keyset (one BIGINT PRIMARY KEY CHECK (one = 1), current BIGINT NOT NULL);
-- Keys that rows may have been written under, 0 for names of some days,, and a value that tells whether a key file has the same.
CREATE TABLE key_check (key_id BIGINT PRIMARY KEY, value BYTEA NOT NULL);

CREATE TABLE link (
    -- The account's name, under the key of this number.
    key             BYTEA PRIMARY KEY,
    key_id          BIGINT NOT NULL,
    -- Through whom it was linked, and what kind of medium it is: in clear, they name nobody.
    partner         TEXT NOT NULL,
    kind            TEXT NOT NULL,
    -- The account, sealed, so that it can be named anew under another key.
    account         BYTEA,
    -- Whose it is: a name of the subject, and the subject, sealed.
    person          BYTEA NOT NULL,
    subject         BYTEA NOT NULL,
    -- The one place that a person has for media of which one may be linked at a time.
    place           BIGINT,
    -- Who did it for the person: a name, the subject, sealed, and which of the agent's places it takes.
    agent           BYTEA,
    agent_subject   BYTEA,
    agent_place     BIGINT,
    linked_at       BIGINT NOT NULL,
    -- A card that was reported lost is linked no more; its holder is remembered for the one issued in its place.
    lost_at         BIGINT,
    channel         BIGINT NOT NULL,
    consent_wording TEXT NOT NULL,
    consent_at      BIGINT NOT NULL,
    consent_purpose TEXT NOT NULL
);
CREATE UNIQUE INDEX link_place ON link (person, place);
CREATE INDEX link_lost ON link (lost_at) WHERE lost_at IS NOT NULL;
CREATE UNIQUE INDEX link_agent_place ON link (agent, agent_place) WHERE agent IS NOT NULL;

CREATE TABLE idempotency (
    key     BYTEA PRIMARY KEY,
    request BYTEA NOT NULL,
    outcome BIGINT NOT NULL,
    at      BIGINT NOT NULL
);
CREATE INDEX idempotency_at ON idempotency (at);

-- Links that ended, in the order in which they did, for replicas that remember them. No key: all did.
CREATE TABLE change (seq BIGINT PRIMARY KEY, at BIGINT NOT NULL, key BYTEA);
CREATE INDEX change_at ON change (at);
-- The last change. One row: whoever notes a change holds it until the change is in force, so that no number is seen
-- before a smaller one.
CREATE TABLE change_head (one BIGINT PRIMARY KEY CHECK (one = 1), seq BIGINT NOT NULL);
INSERT INTO change_head (one, seq) VALUES (1, 0);

CREATE TABLE batch (
    key       BYTEA PRIMARY KEY,
    partner   TEXT NOT NULL,
    rows_done BIGINT NOT NULL,
    at        BIGINT NOT NULL
);
CREATE TABLE batch_count (
    batch  BYTEA NOT NULL,
    result BIGINT NOT NULL,
    many   BIGINT NOT NULL,
    PRIMARY KEY (batch, result)
);
CREATE TABLE batch_refused (
    batch  BYTEA NOT NULL,
    row_no BIGINT NOT NULL,
    result BIGINT NOT NULL,
    PRIMARY KEY (batch, row_no)
);

CREATE TABLE delegation (
    key        BYTEA PRIMARY KEY,
    partner    TEXT NOT NULL,
    -- What is to be linked and the authority's name for it, sealed under the key of this number.
    key_id     BIGINT NOT NULL,
    wanted     BYTEA NOT NULL,
    sends      BIGINT NOT NULL,
    sent_at    BIGINT NOT NULL,
    tries      BIGINT NOT NULL,
    at         BIGINT NOT NULL
);

-- Single tickets that are open, and sales that are held: one for each person.
CREATE TABLE ticket (
    person BYTEA PRIMARY KEY,
    sale   BYTEA NOT NULL UNIQUE,
    number BYTEA UNIQUE,
    until  BIGINT NOT NULL
);
CREATE INDEX ticket_until ON ticket (until);

-- What operators did. Nothing in it is changed or taken away; every entry holds the hash of the one before.
CREATE TABLE record (
    seq      BIGINT PRIMARY KEY,
    at       BIGINT NOT NULL,
    act      TEXT NOT NULL,
    detail   TEXT NOT NULL,
    previous BYTEA NOT NULL,
    hash     BYTEA NOT NULL
);
CREATE FUNCTION record_stays() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the record is not changed, and nothing is taken from it'; END $$;
CREATE TRIGGER record_stays BEFORE UPDATE OR DELETE ON record
    FOR EACH ROW EXECUTE FUNCTION record_stays();
CREATE TRIGGER record_stays_whole BEFORE TRUNCATE ON record
    FOR EACH STATEMENT EXECUTE FUNCTION record_stays();
