-- Items of work live for a tenth of a second and states of rules are written again with every observation: between two vacuums, which by
-- the usual shares come when most rows are dead, whoever looks for the living ones reads all the dead ones.
-- depends: 20261129-84-limit-versions

ALTER TABLE work_item SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
-- Room on each page for the next version beside the one before: no index changes then, and a page cleans itself.
ALTER TABLE rule_state SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE datastream_status SET (fillfactor = 50);
