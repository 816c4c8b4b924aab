-- The highest term in which a leader has written; one row at most.

CREATE TABLE fence (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    term INTEGER NOT NULL
);

-- What ran on a node.
CREATE INDEX targets_node ON targets (node) WHERE node != '';
