-- The highest term in which a leader has written; one row at most.

CREATE TABLE fence (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    term INTEGER NOT NULL
);
