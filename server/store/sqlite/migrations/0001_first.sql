-- Times are Unix milliseconds, 0 for none. Documents are JSON.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE jobs (
    seq      INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    attempt  INTEGER NOT NULL,
    author   TEXT    NOT NULL,
    signer   TEXT    NOT NULL,
    title    TEXT    NOT NULL,
    expr     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    expires  INTEGER NOT NULL,
    token    TEXT    NOT NULL,
    content  TEXT    NOT NULL,
    envelope BLOB,
    spec     TEXT    NOT NULL,
    plan     TEXT    NOT NULL,
    phase    TEXT    NOT NULL,
    gen      INTEGER NOT NULL,
    wave     INTEGER NOT NULL,
    ctl      BLOB,
    stopped  TEXT    NOT NULL,
    counts   TEXT    NOT NULL,
    woke     TEXT    NOT NULL,
    ended    INTEGER NOT NULL
);
CREATE UNIQUE INDEX jobs_token ON jobs (author, token) WHERE token != '';
CREATE INDEX jobs_created ON jobs (created DESC, id);
CREATE INDEX jobs_open ON jobs (created DESC, id) WHERE ended = 0;

CREATE TABLE targets (
    job        INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    idx        INTEGER NOT NULL,
    node       TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    dc         TEXT    NOT NULL,
    wave       INTEGER NOT NULL,
    listed     INTEGER NOT NULL,
    state      TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    code       INTEGER NOT NULL,
    signal     TEXT    NOT NULL,
    woke       TEXT    NOT NULL,
    inferred   INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    started    INTEGER NOT NULL,
    ended      INTEGER NOT NULL,
    out_bytes  INTEGER NOT NULL,
    out_cut    INTEGER NOT NULL,
    out_digest TEXT    NOT NULL,
    err_bytes  INTEGER NOT NULL,
    err_cut    INTEGER NOT NULL,
    err_digest TEXT    NOT NULL,
    PRIMARY KEY (job, idx)
) WITHOUT ROWID;

CREATE TABLE places (
    job       INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
    dc        TEXT    NOT NULL,
    published INTEGER NOT NULL,
    gen       INTEGER NOT NULL,
    cleaned   INTEGER NOT NULL,
    PRIMARY KEY (job, dc)
) WITHOUT ROWID;
CREATE INDEX places_kept ON places (job) WHERE cleaned = 0;

-- What was written to the heads of a datacenter.
CREATE TABLE marks (
    dc    TEXT    NOT NULL,
    shard INTEGER NOT NULL,
    epoch TEXT    NOT NULL,
    seq   INTEGER NOT NULL,
    PRIMARY KEY (dc, shard)
) WITHOUT ROWID;

-- What processes wrote, and scripts; by the SHA-256 of the body.
CREATE TABLE outputs (
    seq    INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    body   BLOB NOT NULL
);

-- Bodies that are not kept, and who has them.
CREATE TABLE wanted (
    digest TEXT NOT NULL,
    node   TEXT NOT NULL,
    PRIMARY KEY (digest, node)
) WITHOUT ROWID;
CREATE INDEX wanted_node ON wanted (node);

CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    origin  TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    detail  TEXT    NOT NULL
);
CREATE INDEX audit_object ON audit (object, seq);
CREATE INDEX audit_actor ON audit (actor, seq);

CREATE TABLE join_tokens (
    id          TEXT    NOT NULL PRIMARY KEY,
    secret_hash TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    reusable    INTEGER NOT NULL,
    created_by  TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    uses        INTEGER NOT NULL,
    last_used   INTEGER NOT NULL,
    used_by_key TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE nodes (
    id          TEXT    NOT NULL PRIMARY KEY,
    machine_id  TEXT    NOT NULL,
    dmi_uuid    TEXT    NOT NULL,
    hostname    TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    token_id    TEXT    NOT NULL,
    enrolled_at INTEGER NOT NULL,
    not_after   INTEGER NOT NULL,
    notes       TEXT    NOT NULL,
    revoked_at  INTEGER NOT NULL DEFAULT 0,
    revoked_by  TEXT    NOT NULL DEFAULT '',
    revoked_for TEXT    NOT NULL DEFAULT '',
    revoked     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX nodes_machine ON nodes (machine_id) WHERE machine_id != '';
CREATE INDEX nodes_dmi ON nodes (dmi_uuid) WHERE dmi_uuid != '';
CREATE INDEX nodes_hostname ON nodes (hostname) WHERE hostname != '';
CREATE INDEX nodes_key ON nodes (key) WHERE key != '';
CREATE INDEX nodes_revoked ON nodes (id) WHERE revoked = 1;

CREATE TABLE tokens (
    id          TEXT    NOT NULL PRIMARY KEY,
    secret_hash TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    scope       TEXT    NOT NULL,
    created_by  TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    last_used   INTEGER NOT NULL
) WITHOUT ROWID;
