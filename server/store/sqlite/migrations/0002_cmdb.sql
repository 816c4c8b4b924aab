-- How nodes have changed, field by field. A change that is recorded twice is
-- one change.

CREATE TABLE node_changes (
    seq   INTEGER PRIMARY KEY,
    node  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    field TEXT    NOT NULL,
    old   TEXT    NOT NULL,
    new   TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    UNIQUE (node, at, field)
);
CREATE INDEX node_changes_at ON node_changes (at);
