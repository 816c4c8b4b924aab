-- Runs are under way one at a time in each group and on each node, and groups
-- and policies are paused apart. What runs now has no group.
ALTER TABLE remedy_runs ADD COLUMN lane TEXT NOT NULL DEFAULT ''; -- the group.
ALTER TABLE remedy_runs ADD COLUMN place TEXT NOT NULL DEFAULT ''; -- datacenter and node.
UPDATE remedy_runs SET place = json_extract(doc, '$.dc') || '/' || json_extract(doc, '$.node') WHERE open = 1;
DROP INDEX remedy_runs_open;
CREATE UNIQUE INDEX remedy_runs_lane ON remedy_runs (lane) WHERE open = 1;
CREATE UNIQUE INDEX remedy_runs_place ON remedy_runs (place) WHERE open = 1;

-- Both empty: everything is paused. At most one is not.
CREATE TABLE remedy_pauses (
    policy TEXT NOT NULL,
    lane   TEXT NOT NULL,
    doc    TEXT NOT NULL,
    PRIMARY KEY (policy, lane)
) WITHOUT ROWID;
INSERT INTO remedy_pauses (policy, lane, doc) SELECT '', '', doc FROM remedy_pause;
DROP TABLE remedy_pause;
