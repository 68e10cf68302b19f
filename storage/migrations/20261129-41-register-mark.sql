-- Whether any register changed, at the cost of one look at an index that holds nothing else.
-- depends: 20261129-33-audit-head

CREATE INDEX ledger_registers ON ledger (seq) WHERE kind IN ('configuration', 'event');
