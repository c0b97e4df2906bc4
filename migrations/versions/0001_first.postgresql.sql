-- The tables of the first revision, as they were then: never changed, later revisions stand beside it.

CREATE TABLE holds (
  id BIGSERIAL NOT NULL,
  account TEXT,
  query TEXT,
  reason TEXT NOT NULL,
  added_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_holds PRIMARY KEY (id),
  CONSTRAINT ck_holds_of_what CHECK (account IS NOT NULL OR query IS NOT NULL),
  CONSTRAINT ck_holds_reason CHECK (reason <> '')
);

CREATE TABLE thread_keys (
  key BIGINT NOT NULL,
  thread_id BIGINT NOT NULL,
  CONSTRAINT pk_thread_keys PRIMARY KEY (key)
);

CREATE TABLE thread_aliases (
  alias BIGINT NOT NULL,
  thread_id BIGINT NOT NULL,
  CONSTRAINT pk_thread_aliases PRIMARY KEY (alias)
);

CREATE INDEX ix_thread_aliases_thread_id ON thread_aliases (thread_id);

CREATE TABLE dictionaries (
  id BIGSERIAL NOT NULL,
  trained_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  letters BIGINT NOT NULL,
  octets BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  content BYTEA NOT NULL,
  CONSTRAINT pk_dictionaries PRIMARY KEY (id),
  CONSTRAINT ck_dictionaries_not_negative CHECK (letters >= 0 AND octets >= 0),
  CONSTRAINT ck_dictionaries_sha256 CHECK (length(sha256) = 64)
);

CREATE TABLE blobs (
  id BIGSERIAL NOT NULL,
  sha256 TEXT NOT NULL,
  octets BIGINT NOT NULL,
  encoding TEXT DEFAULT 'identity' NOT NULL,
  content BYTEA NOT NULL,
  CONSTRAINT pk_blobs PRIMARY KEY (id),
  CONSTRAINT uq_blobs_sha256 UNIQUE (sha256),
  CONSTRAINT ck_blobs_not_negative CHECK (octets >= 0),
  CONSTRAINT ck_blobs_sha256 CHECK (length(sha256) = 64),
  CONSTRAINT ck_blobs_encoding CHECK (encoding IN ('identity', 'zstd'))
);

CREATE TABLE passes (
  name TEXT NOT NULL,
  target TEXT NOT NULL,
  done BIGINT DEFAULT 0 NOT NULL,
  finished_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_passes PRIMARY KEY (name)
);

CREATE TABLE accounts (
  name TEXT NOT NULL,
  address TEXT DEFAULT '' NOT NULL,
  last_success_at TIMESTAMP WITH TIME ZONE,
  failing_since TIMESTAMP WITH TIME ZONE,
  next_poll_at TIMESTAMP WITH TIME ZONE,
  last_error TEXT,
  failures BIGINT DEFAULT 0 NOT NULL,
  last_listed_at TIMESTAMP WITH TIME ZONE,
  stopped_since TIMESTAMP WITH TIME ZONE,
  stopped_settings TEXT,
  refusals BIGINT DEFAULT 0 NOT NULL,
  last_login_at TIMESTAMP WITH TIME ZONE,
  login_delay BIGINT,
  held_since TIMESTAMP WITH TIME ZONE,
  held_reason TEXT,
  accepted_at TIMESTAMP WITH TIME ZONE,
  capabilities TEXT,
  lease_owner TEXT,
  lease_until TIMESTAMP WITH TIME ZONE,
  relay_last_success_at TIMESTAMP WITH TIME ZONE,
  relay_failing_since TIMESTAMP WITH TIME ZONE,
  relay_paused_until TIMESTAMP WITH TIME ZONE,
  relay_last_error TEXT,
  relay_failures BIGINT DEFAULT 0 NOT NULL,
  CONSTRAINT pk_accounts PRIMARY KEY (name),
  CONSTRAINT ck_accounts_not_negative CHECK (failures >= 0 AND refusals >= 0 AND relay_failures >= 0)
);

CREATE TABLE relays (
  account TEXT NOT NULL,
  relay TEXT NOT NULL,
  last_success_at TIMESTAMP WITH TIME ZONE,
  failing_since TIMESTAMP WITH TIME ZONE,
  paused_until TIMESTAMP WITH TIME ZONE,
  last_error TEXT,
  failures BIGINT DEFAULT 0 NOT NULL,
  CONSTRAINT pk_relays PRIMARY KEY (account, relay),
  CONSTRAINT ck_relays_not_negative CHECK (failures >= 0)
);

CREATE TABLE daemons (
  owner TEXT NOT NULL,
  version TEXT NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
  degraded TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_daemons PRIMARY KEY (owner)
);

CREATE TABLE polls (
  id BIGSERIAL NOT NULL,
  account TEXT NOT NULL,
  session TEXT NOT NULL,
  owner TEXT NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  finished_at TIMESTAMP WITH TIME ZONE,
  outcome TEXT DEFAULT 'running' NOT NULL,
  listed BIGINT DEFAULT 0 NOT NULL,
  fetched BIGINT DEFAULT 0 NOT NULL,
  octets BIGINT DEFAULT 0 NOT NULL,
  skipped BIGINT DEFAULT 0 NOT NULL,
  dele_sent BIGINT DEFAULT 0 NOT NULL,
  deleted BIGINT DEFAULT 0 NOT NULL,
  error TEXT,
  transcript TEXT,
  CONSTRAINT pk_polls PRIMARY KEY (id),
  CONSTRAINT ck_polls_outcome CHECK (outcome IN ('running', 'ok', 'failed', 'interrupted'))
);

CREATE INDEX ix_polls_account_started_at ON polls (account, started_at);

CREATE INDEX ix_polls_running ON polls (id) WHERE outcome = 'running';

CREATE TABLE messages (
  id BIGSERIAL NOT NULL,
  account TEXT NOT NULL,
  uidl TEXT,
  message_id TEXT,
  thread_id BIGINT,
  in_reply_to TEXT,
  sent_at TIMESTAMP WITH TIME ZONE,
  archived_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  from_name TEXT,
  from_address TEXT,
  to_addresses TEXT,
  cc_addresses TEXT,
  subject TEXT,
  octets BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  retrieved TEXT DEFAULT 'whole' NOT NULL,
  attachment_count BIGINT DEFAULT 0 NOT NULL,
  attachment_names TEXT,
  defects TEXT DEFAULT '[]' NOT NULL,
  protection TEXT DEFAULT '[]' NOT NULL,
  parser_version BIGINT DEFAULT 0 NOT NULL,
  quoted_ranges TEXT,
  signature_ranges TEXT,
  body_text TEXT,
  attachment_text TEXT,
  CONSTRAINT pk_messages PRIMARY KEY (id),
  CONSTRAINT uq_messages_account_sha256 UNIQUE (account, sha256),
  CONSTRAINT ck_messages_not_negative CHECK (octets >= 0 AND attachment_count >= 0 AND parser_version >= 0),
  CONSTRAINT ck_messages_sha256 CHECK (length(sha256) = 64),
  CONSTRAINT ck_messages_retrieved CHECK (retrieved IN ('whole', 'headers'))
);

CREATE INDEX ix_messages_account_sent_at_octets ON messages (account, sent_at, octets);

CREATE INDEX ix_messages_defects ON messages (id) WHERE defects != '[]';

CREATE INDEX ix_messages_from_address ON messages USING hash (from_address) WHERE from_address IS NOT NULL;

CREATE INDEX ix_messages_message_id ON messages USING hash (message_id) WHERE message_id IS NOT NULL;

CREATE INDEX ix_messages_parser_version_id ON messages (parser_version, id);

CREATE INDEX ix_messages_sent_at ON messages (sent_at);

CREATE INDEX ix_messages_thread_id_sent_at ON messages (thread_id, sent_at);

CREATE TABLE keys (
  name TEXT NOT NULL,
  secret BYTEA NOT NULL,
  made_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_keys PRIMARY KEY (name)
);

CREATE TABLE works (
  name TEXT NOT NULL,
  parser_version BIGINT DEFAULT 0 NOT NULL,
  done BIGINT DEFAULT 0 NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_works PRIMARY KEY (name)
);

CREATE TABLE held_messages (
  hold BIGINT NOT NULL,
  message BIGINT NOT NULL,
  CONSTRAINT pk_held_messages PRIMARY KEY (hold, message),
  CONSTRAINT fk_held_messages_hold FOREIGN KEY(hold) REFERENCES holds (id) ON DELETE CASCADE,
  CONSTRAINT fk_held_messages_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE INDEX ix_held_messages_message ON held_messages (message);

CREATE TABLE thread_links (
  message BIGINT NOT NULL,
  position BIGINT NOT NULL,
  key BIGINT NOT NULL,
  CONSTRAINT pk_thread_links PRIMARY KEY (message, position),
  CONSTRAINT fk_thread_links_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE TABLE thread_subjects (
  message BIGINT NOT NULL,
  key BIGINT NOT NULL,
  asks BIGINT NOT NULL,
  CONSTRAINT pk_thread_subjects PRIMARY KEY (message),
  CONSTRAINT fk_thread_subjects_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE INDEX ix_thread_subjects_key_asks ON thread_subjects (key, asks);

CREATE TABLE message_sources (
  message BIGINT NOT NULL,
  part BIGINT NOT NULL,
  octets BIGINT NOT NULL,
  encoding TEXT DEFAULT 'identity' NOT NULL,
  dictionary BIGINT,
  blob BIGINT,
  content BYTEA NOT NULL,
  CONSTRAINT pk_message_sources PRIMARY KEY (message, part),
  CONSTRAINT ck_message_sources_encoding CHECK (encoding IN ('identity', 'zstd', 'blob')),
  CONSTRAINT ck_message_sources_dictionary CHECK (dictionary IS NULL OR encoding = 'zstd'),
  CONSTRAINT ck_message_sources_blob CHECK ((blob IS NOT NULL) = (encoding = 'blob')),
  CONSTRAINT fk_message_sources_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE,
  CONSTRAINT fk_message_sources_dictionary FOREIGN KEY(dictionary) REFERENCES dictionaries (id),
  CONSTRAINT fk_message_sources_blob FOREIGN KEY(blob) REFERENCES blobs (id)
);

CREATE INDEX ix_message_sources_blob ON message_sources (blob) WHERE blob IS NOT NULL;

CREATE TABLE match_queue (
  message BIGINT NOT NULL,
  CONSTRAINT pk_match_queue PRIMARY KEY (message),
  CONSTRAINT fk_match_queue_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE TABLE extraction_queue (
  message BIGINT NOT NULL,
  CONSTRAINT pk_extraction_queue PRIMARY KEY (message),
  CONSTRAINT fk_extraction_queue_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE TABLE addresses (
  message BIGINT NOT NULL,
  role TEXT NOT NULL,
  position BIGINT NOT NULL,
  name TEXT DEFAULT '' NOT NULL,
  address TEXT NOT NULL,
  CONSTRAINT pk_addresses PRIMARY KEY (message, role, position),
  CONSTRAINT ck_addresses_role CHECK (role IN ('from', 'sender', 'reply_to', 'to', 'cc', 'bcc')),
  CONSTRAINT fk_addresses_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE INDEX ix_addresses_address ON addresses USING hash (address) WHERE address IS NOT NULL;

CREATE TABLE attachments (
  id BIGSERIAL NOT NULL,
  message BIGINT NOT NULL,
  part TEXT NOT NULL,
  filename TEXT DEFAULT '' NOT NULL,
  content_type TEXT DEFAULT 'application/octet-stream' NOT NULL,
  octets BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  content_id TEXT,
  disposition TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_attachments PRIMARY KEY (id),
  CONSTRAINT uq_attachments_message_part UNIQUE (message, part),
  CONSTRAINT fk_attachments_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
);

CREATE INDEX ix_attachments_sha256 ON attachments (sha256);

CREATE TABLE ledger (
  id BIGSERIAL NOT NULL,
  account TEXT NOT NULL,
  uidl TEXT NOT NULL,
  occurrence BIGINT DEFAULT 0 NOT NULL,
  octets BIGINT,
  first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
  last_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
  status TEXT NOT NULL,
  reason TEXT,
  message BIGINT,
  attempts BIGINT DEFAULT 0 NOT NULL,
  dele_sent_at TIMESTAMP WITH TIME ZONE,
  deleted_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_ledger PRIMARY KEY (id),
  CONSTRAINT ck_ledger_status CHECK (status IN ('archived', 'headers', 'seen', 'skipped', 'refused', 'deleted', 'gone')),
  CONSTRAINT fk_ledger_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE SET NULL
);

CREATE INDEX ix_ledger_account_status ON ledger (account, status);

CREATE INDEX ix_ledger_message ON ledger (message);

CREATE UNIQUE INDEX uq_ledger_uidl ON ledger (account, md5(uidl), occurrence);

CREATE TABLE outbox (
  id BIGSERIAL NOT NULL,
  recipients TEXT,
  cc TEXT,
  bcc TEXT,
  sender TEXT,
  reply_to TEXT,
  account TEXT,
  subject TEXT,
  headers TEXT,
  forwards BIGINT,
  send_after TEXT,
  expires_at TEXT,
  priority BIGINT DEFAULT 0 NOT NULL,
  idempotency_key TEXT,
  on_doubt TEXT DEFAULT 'retry' NOT NULL,
  status TEXT DEFAULT 'queued' NOT NULL,
  attempts BIGINT DEFAULT 0 NOT NULL,
  next_attempt_at TIMESTAMP WITH TIME ZONE,
  sent_at TIMESTAMP WITH TIME ZONE,
  last_error TEXT,
  message_id TEXT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  queued_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  lease_owner TEXT,
  lease_until TIMESTAMP WITH TIME ZONE,
  body TEXT,
  html TEXT,
  raw BYTEA,
  CONSTRAINT pk_outbox PRIMARY KEY (id),
  CONSTRAINT ck_outbox_status CHECK (status IN ('queued', 'sending', 'deferred', 'sent', 'partial', 'failed', 'in_doubt', 'held', 'cancelled', 'expired')),
  CONSTRAINT ck_outbox_on_doubt CHECK (on_doubt IN ('retry', 'hold')),
  CONSTRAINT ck_outbox_recipients CHECK (recipients IS NOT NULL),
  CONSTRAINT ck_outbox_attempts CHECK (attempts >= 0),
  CONSTRAINT ck_outbox_next_attempt_at_form CHECK (next_attempt_at BETWEEN '1970-01-01Z' AND '9999-12-31Z'),
  CONSTRAINT ck_outbox_created_at_form CHECK (created_at BETWEEN '1970-01-01Z' AND '9999-12-31Z'),
  CONSTRAINT ck_outbox_queued_at_form CHECK (queued_at BETWEEN '1970-01-01Z' AND '9999-12-31Z'),
  CONSTRAINT fk_outbox_forwards FOREIGN KEY(forwards) REFERENCES messages (id) ON DELETE SET NULL,
  CONSTRAINT uq_outbox_idempotency_key UNIQUE (idempotency_key)
);

CREATE INDEX ix_outbox_due ON outbox (account, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE INDEX ix_outbox_forwards ON outbox (forwards) WHERE forwards IS NOT NULL;

CREATE INDEX ix_outbox_message_id ON outbox USING hash (message_id) WHERE message_id IS NOT NULL;

CREATE INDEX ix_outbox_status ON outbox (status);

CREATE INDEX ix_outbox_stopped ON outbox (id) WHERE lease_owner IS NOT NULL AND status != 'sending';

CREATE INDEX ix_outbox_turn ON outbox (account, priority DESC, next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE suppressions (
  address TEXT NOT NULL,
  reason TEXT DEFAULT '' NOT NULL,
  suppressed_by TEXT DEFAULT 'hand' NOT NULL,
  added_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  report BIGINT,
  CONSTRAINT pk_suppressions PRIMARY KEY (address),
  CONSTRAINT ck_suppressions_suppressed_by CHECK (suppressed_by IN ('hand', 'bounce')),
  CONSTRAINT ck_suppressions_address CHECK (address LIKE '%_@_%'),
  CONSTRAINT fk_suppressions_report FOREIGN KEY(report) REFERENCES messages (id) ON DELETE SET NULL
);

CREATE INDEX ix_suppressions_report ON suppressions (report) WHERE report IS NOT NULL;

CREATE TABLE outbox_attempts (
  id BIGSERIAL NOT NULL,
  outbox_id BIGINT NOT NULL,
  number BIGINT NOT NULL,
  account TEXT NOT NULL,
  relay TEXT NOT NULL,
  session TEXT NOT NULL,
  letters BIGINT DEFAULT 1 NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE NOT NULL,
  committing_at TIMESTAMP WITH TIME ZONE,
  finished_at TIMESTAMP WITH TIME ZONE,
  outcome TEXT,
  code BIGINT,
  enhanced_code TEXT,
  reply TEXT,
  transcript TEXT,
  CONSTRAINT pk_outbox_attempts PRIMARY KEY (id),
  CONSTRAINT fk_outbox_attempts_outbox_id FOREIGN KEY(outbox_id) REFERENCES outbox (id) ON DELETE CASCADE
);

CREATE INDEX ix_outbox_attempts_account ON outbox_attempts (account, started_at);

CREATE INDEX ix_outbox_attempts_outbox_id ON outbox_attempts (outbox_id);

CREATE TABLE outbox_attachments (
  id BIGSERIAL NOT NULL,
  outbox_id BIGINT NOT NULL,
  filename TEXT NOT NULL,
  content_type TEXT DEFAULT 'application/octet-stream' NOT NULL,
  content BYTEA NOT NULL,
  content_id TEXT,
  CONSTRAINT pk_outbox_attachments PRIMARY KEY (id),
  CONSTRAINT fk_outbox_attachments_outbox_id FOREIGN KEY(outbox_id) REFERENCES outbox (id) ON DELETE CASCADE
);

CREATE INDEX ix_outbox_attachments_outbox_id ON outbox_attachments (outbox_id);

CREATE TABLE outbox_recipients (
  outbox_id BIGINT NOT NULL,
  address TEXT NOT NULL,
  field TEXT DEFAULT 'to' NOT NULL,
  status TEXT DEFAULT 'queued' NOT NULL,
  code BIGINT,
  enhanced_code TEXT,
  reply TEXT,
  attempt BIGINT,
  attempts BIGINT DEFAULT 0 NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  sent_at TIMESTAMP WITH TIME ZONE,
  reported_at TIMESTAMP WITH TIME ZONE,
  report BIGINT,
  CONSTRAINT pk_outbox_recipients PRIMARY KEY (outbox_id, address),
  CONSTRAINT ck_outbox_recipients_status CHECK (status IN ('queued', 'sent', 'deferred', 'failed', 'in_doubt', 'delivered', 'delayed', 'bounced', 'replied')),
  CONSTRAINT ck_outbox_recipients_field CHECK (field IN ('to', 'cc', 'bcc')),
  CONSTRAINT fk_outbox_recipients_outbox_id FOREIGN KEY(outbox_id) REFERENCES outbox (id) ON DELETE CASCADE,
  CONSTRAINT fk_outbox_recipients_attempt FOREIGN KEY(attempt) REFERENCES outbox_attempts (id) ON DELETE SET NULL,
  CONSTRAINT fk_outbox_recipients_report FOREIGN KEY(report) REFERENCES messages (id) ON DELETE SET NULL
);

CREATE INDEX ix_outbox_recipients_address ON outbox_recipients USING hash (address) WHERE address IS NOT NULL;

CREATE INDEX ix_outbox_recipients_attempt ON outbox_recipients (attempt);

CREATE INDEX ix_outbox_recipients_report ON outbox_recipients (report) WHERE report IS NOT NULL;

ALTER TABLE messages ADD COLUMN search tsvector GENERATED ALWAYS AS (setweight(to_tsvector('simple', left(regexp_replace(normalize(regexp_replace(left(coalesce(subject, ''), 1000), '[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003fffd\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u00a0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u2010-\u206f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+', ' ', 'g'), NFKD), '[\u0300-\u036f]+', '', 'g'), 1000)), 'A') || setweight(to_tsvector('simple', left(regexp_replace(normalize(regexp_replace(left(coalesce(from_name, ''), 1000) || ' ' || left(coalesce(from_address, ''), 1000), '[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003fffd\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u00a0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u2010-\u206f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+', ' ', 'g'), NFKD), '[\u0300-\u036f]+', '', 'g'), 2000)), 'B') || setweight(to_tsvector('simple', left(regexp_replace(normalize(regexp_replace(left(coalesce(to_addresses, ''), 10000) || ' ' || left(coalesce(cc_addresses, ''), 10000), '[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003fffd\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u00a0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u2010-\u206f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+', ' ', 'g'), NFKD), '[\u0300-\u036f]+', '', 'g'), 20000)), 'C') || setweight(to_tsvector('simple', left(regexp_replace(normalize(regexp_replace(left(coalesce(body_text, ''), 150000) || ' ' || left(coalesce(attachment_names, ''), 5000) || ' ' || left(coalesce(attachment_text, ''), 100000), '[\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003fffd\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u00a0-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u2010-\u206f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]+', ' ', 'g'), NFKD), '[\u0300-\u036f]+', '', 'g'), 255000)), 'D') || array_to_tsvector(string_to_array(regexp_replace(normalize(left(coalesce(subject, ''), 1000) || ' ' || left(coalesce(from_name, ''), 1000) || ' ' || left(coalesce(to_addresses, ''), 10000) || ' ' || left(coalesce(cc_addresses, ''), 10000) || ' ' || left(coalesce(body_text, ''), 150000) || ' ' || left(coalesce(attachment_names, ''), 5000) || ' ' || left(coalesce(attachment_text, ''), 100000), NFC), '[^\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c\uac00-\ud7fb\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003fffd]+', '', 'g'), NULL))) STORED;

CREATE INDEX ix_messages_search ON messages USING gin (search);
