-- Whether any register changed, at the cost of one look at an index that holds nothing else.
-- depends: 20261123-13-raw-digests

CREATE INDEX ledger_registers ON ledger (seq) WHERE kind IN ('configuration', 'event');
