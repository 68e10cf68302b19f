-- name: account
SELECT id AS account_id, name, display_name, role, password_hash, enabled, attributes, created_at FROM account WHERE name = %s;

-- name: accounts
SELECT id AS account_id, name, display_name, role, password_hash, enabled, attributes, created_at FROM account ORDER BY name;

-- name: insert_account
INSERT INTO account (name, display_name, role, password_hash, attributes)
VALUES (%(name)s, %(display_name)s, %(role)s, %(password_hash)s, %(attributes)s) RETURNING id;

-- name: update_account
-- What is NULL stays as it is.
UPDATE account SET display_name = coalesce(%(display_name)s, display_name), role = coalesce(%(role)s, role),
    password_hash = coalesce(%(password_hash)s, password_hash), enabled = coalesce(%(enabled)s, enabled),
    attributes = coalesce(%(attributes)s, attributes)
WHERE name = %(name)s RETURNING id;

-- name: revoke_keys_of_account
UPDATE api_key SET revoked_at = clock_timestamp() WHERE account_id = %s AND revoked_at IS NULL;

-- name: partner
SELECT id AS partner_id, code, name_zh, name_en, agreement, source, enabled FROM partner WHERE code = %s;

-- name: partners
SELECT id AS partner_id, code, name_zh, name_en, agreement, source, enabled FROM partner ORDER BY code;

-- name: upsert_partner
INSERT INTO partner (code, name_zh, name_en, agreement, source, enabled)
VALUES (%(code)s, %(name_zh)s, %(name_en)s, %(agreement)s, %(source)s, %(enabled)s)
ON CONFLICT (code) DO UPDATE SET name_zh = excluded.name_zh, name_en = excluded.name_en, agreement = excluded.agreement,
    source = excluded.source, enabled = excluded.enabled
RETURNING id;

-- name: account_id
SELECT id FROM account WHERE name = %s;

-- name: partner_id
SELECT id FROM partner WHERE code = %s;

-- name: station_id
SELECT id FROM station WHERE lower(code) = lower(%s);

-- name: insert_key
INSERT INTO api_key (key_hash, prefix, role, account_id, partner_id, station_id, note, expires_at)
VALUES (%(key_hash)s, %(prefix)s, %(role)s, %(account_id)s, %(partner_id)s, %(station_id)s, %(note)s, %(expires_at)s)
RETURNING id;

-- name: find_key
-- A key is good while it is neither revoked nor expired and whoever it stands for is enabled.
SELECT key.id AS key_id, key.prefix, key.role, account.name AS account, key.account_id,
       coalesce(account.attributes, '{}') AS account_attributes, coalesce(account.display_name, partner.name_zh) AS display_name,
       partner.code AS partner, key.partner_id, station.code AS station, key.note, key.created_at, key.expires_at, key.revoked_at
FROM api_key AS key
LEFT JOIN account ON account.id = key.account_id
LEFT JOIN partner ON partner.id = key.partner_id
LEFT JOIN station ON station.id = key.station_id
WHERE key.key_hash = %(key_hash)s AND key.revoked_at IS NULL AND (key.expires_at IS NULL OR %(now)s < key.expires_at)
  AND coalesce(account.enabled, true) AND coalesce(partner.enabled, true);

-- name: keys
SELECT key.id AS key_id, key.prefix, key.role, account.name AS account, key.account_id,
       coalesce(account.attributes, '{}') AS account_attributes, coalesce(account.display_name, partner.name_zh) AS display_name,
       partner.code AS partner, key.partner_id, station.code AS station, key.note, key.created_at, key.expires_at, key.revoked_at
FROM api_key AS key
LEFT JOIN account ON account.id = key.account_id
LEFT JOIN partner ON partner.id = key.partner_id
LEFT JOIN station ON station.id = key.station_id
ORDER BY key.id;

-- name: revoke_key
UPDATE api_key SET revoked_at = %(now)s WHERE id = %(key_id)s AND revoked_at IS NULL;

-- name: audit_append
SELECT audit_append(%s, %s, %s, %s);

-- name: audit_entries
SELECT id AS entry_id, recorded_at, actor, action, subject, detail, previous_hash, entry_hash
FROM audit_log WHERE id > %(after)s ORDER BY id LIMIT %(limit)s;

-- name: verify_audit
-- The first entry that does not follow from the one before it, how many there are, and the newest beside the head that is kept of them.
-- Entries are hashed in the newer way from the first that is: one that says otherwise later was put in.
WITH chain AS (
    SELECT id, previous_hash, entry_hash, hash_version,
           coalesce(lag(entry_hash) OVER (ORDER BY id), repeat('0', 64)) AS hash_before,
           coalesce(lag(hash_version) OVER (ORDER BY id), 1) AS version_before,
           audit_hash(hash_version, previous_hash, recorded_at, actor, action, subject, detail) AS computed
    FROM audit_log)
SELECT count(*) AS entries,
       min(id) FILTER (WHERE previous_hash <> hash_before OR entry_hash <> computed OR hash_version < version_before) AS first_broken,
       (SELECT id FROM audit_log ORDER BY id DESC LIMIT 1) AS newest_id,
       (SELECT entry_hash FROM audit_log ORDER BY id DESC LIMIT 1) AS newest_hash,
       (SELECT entries FROM audit_head) AS head_entries,
       (SELECT entry_hash FROM audit_head) AS head_hash
FROM chain;

-- name: audit_hash_of
SELECT entry_hash FROM audit_log WHERE id = %s;

-- name: idempotent
SELECT request_sha256, response FROM idempotency WHERE key = %s AND owner = %s;

-- name: remember
INSERT INTO idempotency (owner, key, request_sha256, response) VALUES (%(owner)s, %(key)s, %(request_sha256)s, %(response)s)
ON CONFLICT (owner, key) DO NOTHING;

-- name: forget_before
DELETE FROM idempotency WHERE created_at < %s;
