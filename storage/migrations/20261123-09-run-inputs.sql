-- What a run saw beside the observations: its `now` and the events as they stood, so that it can be computed again to the digit.
-- depends: 20261123-07-notifications

ALTER TABLE analysis_run ADD COLUMN inputs jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN analysis_run.inputs IS 'now and events that the run was given; observations are read as of read_seq. Empty for runs of before this column.';
