-- Incidents, their stories, and what receivers are to be told. An incident,
-- its lines and its deliveries are written in one transaction.

CREATE TABLE incidents (
    seq     INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    problem TEXT    NOT NULL, -- what makes two incidents the same problem.
    rule    TEXT    NOT NULL,
    status  TEXT    NOT NULL,
    closed  INTEGER NOT NULL,
    muted   INTEGER NOT NULL,
    doc     TEXT    NOT NULL
);
CREATE UNIQUE INDEX incidents_open ON incidents (problem) WHERE status <> 'closed';
CREATE INDEX incidents_closed ON incidents (closed);
CREATE INDEX incidents_muted ON incidents (muted) WHERE muted <> 0;
CREATE INDEX incidents_listed ON incidents (status = 'closed', seq DESC);

CREATE TABLE incident_events (
    incident INTEGER NOT NULL REFERENCES incidents (seq),
    n        INTEGER NOT NULL, -- from 1; what is missing was left out.
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    actor    TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    data     TEXT    NOT NULL,
    PRIMARY KEY (incident, n)
) WITHOUT ROWID;

CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    incident INTEGER NOT NULL REFERENCES incidents (seq),
    n        INTEGER NOT NULL,
    receiver TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    text     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    unleased INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    tries    INTEGER NOT NULL,
    next     INTEGER NOT NULL,
    settled  INTEGER NOT NULL,
    error    TEXT    NOT NULL,
    doc      TEXT    NOT NULL, -- the incident as it was; empty when settled.
    UNIQUE (incident, n)
);
CREATE INDEX outbox_waiting ON outbox (receiver, seq) WHERE state = 'waiting';
