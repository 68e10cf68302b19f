-- Receivers through the relay library, and messages that went out inside a digest.
-- depends: 20261123-06-verdicts

ALTER TABLE receiver DROP CONSTRAINT receiver_kind_check;
ALTER TABLE receiver ADD CONSTRAINT receiver_kind_check CHECK (kind IN ('webhook','smtp','mqtt','apprise'));

ALTER TABLE notification DROP CONSTRAINT notification_state_check;
ALTER TABLE notification ADD CONSTRAINT notification_state_check CHECK (state IN ('waiting','sent','dead','bundled'));
ALTER TABLE notification ADD COLUMN bundled_into bigint REFERENCES notification;
ALTER TABLE notification ADD CONSTRAINT what_is_bundled_names_its_digest CHECK ((state = 'bundled') = (bundled_into IS NOT NULL));
COMMENT ON COLUMN notification.bundled_into IS 'The digest that stands for this message; set in the transaction that makes the digest.';
