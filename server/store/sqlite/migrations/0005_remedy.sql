-- What policies did and refused to do. The columns are for finding; the
-- document is the run.
CREATE TABLE remedy_runs (
    seq      INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL UNIQUE,
    policy   TEXT    NOT NULL,
    incident TEXT    NOT NULL,
    guard    TEXT    NOT NULL,
    acts     INTEGER NOT NULL,
    open     INTEGER NOT NULL,
    told     INTEGER NOT NULL,
    decided  INTEGER NOT NULL,
    doc      TEXT    NOT NULL
);
-- One at a time over the whole cluster.
CREATE UNIQUE INDEX remedy_runs_open ON remedy_runs (open) WHERE open = 1;
CREATE INDEX remedy_runs_untold ON remedy_runs (seq) WHERE told = 0;
CREATE INDEX remedy_runs_decided ON remedy_runs (decided);
CREATE INDEX remedy_runs_policy ON remedy_runs (policy, decided);
CREATE INDEX remedy_runs_incident ON remedy_runs (incident, decided);

-- Who has paused all remediation: one row at most.
CREATE TABLE remedy_pause (
    id  INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    doc TEXT    NOT NULL
);

-- Who has last resumed a policy.
CREATE TABLE remedy_resumed (
    policy TEXT NOT NULL PRIMARY KEY,
    doc    TEXT NOT NULL
) WITHOUT ROWID;
