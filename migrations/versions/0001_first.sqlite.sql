-- The tables of the first revision, as they were then: never changed, later revisions stand beside it.

CREATE TABLE holds (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  account TEXT,
  "query" TEXT,
  reason TEXT NOT NULL,
  added_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  CONSTRAINT ck_holds_of_what CHECK (account IS NOT NULL OR query IS NOT NULL),
  CONSTRAINT ck_holds_reason CHECK (reason <> '')
) STRICT;

CREATE TABLE thread_keys (
  "key" INTEGER NOT NULL,
  thread_id INTEGER NOT NULL,
  CONSTRAINT pk_thread_keys PRIMARY KEY ("key")
) STRICT;

CREATE TABLE thread_aliases (
  alias INTEGER NOT NULL,
  thread_id INTEGER NOT NULL,
  CONSTRAINT pk_thread_aliases PRIMARY KEY (alias)
) STRICT;

CREATE INDEX ix_thread_aliases_thread_id ON thread_aliases (thread_id);

CREATE TABLE dictionaries (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  trained_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  letters INTEGER NOT NULL,
  octets INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  content BLOB NOT NULL,
  CONSTRAINT ck_dictionaries_not_negative CHECK (letters >= 0 AND octets >= 0),
  CONSTRAINT ck_dictionaries_sha256 CHECK (length(sha256) = 64)
) STRICT;

CREATE TABLE blobs (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  sha256 TEXT NOT NULL,
  octets INTEGER NOT NULL,
  encoding TEXT DEFAULT 'identity' NOT NULL,
  content BLOB NOT NULL,
  CONSTRAINT uq_blobs_sha256 UNIQUE (sha256),
  CONSTRAINT ck_blobs_not_negative CHECK (octets >= 0),
  CONSTRAINT ck_blobs_sha256 CHECK (length(sha256) = 64),
  CONSTRAINT ck_blobs_encoding CHECK (encoding IN ('identity', 'zstd'))
) STRICT;

CREATE TABLE passes (
  name TEXT NOT NULL,
  target TEXT NOT NULL,
  done INTEGER DEFAULT 0 NOT NULL,
  finished_at TEXT,
  CONSTRAINT pk_passes PRIMARY KEY (name)
) STRICT;

CREATE TABLE accounts (
  name TEXT NOT NULL,
  address TEXT DEFAULT '' NOT NULL,
  last_success_at TEXT,
  failing_since TEXT,
  next_poll_at TEXT,
  last_error TEXT,
  failures INTEGER DEFAULT 0 NOT NULL,
  last_listed_at TEXT,
  stopped_since TEXT,
  stopped_settings TEXT,
  refusals INTEGER DEFAULT 0 NOT NULL,
  last_login_at TEXT,
  login_delay INTEGER,
  held_since TEXT,
  held_reason TEXT,
  accepted_at TEXT,
  capabilities TEXT,
  lease_owner TEXT,
  lease_until TEXT,
  relay_last_success_at TEXT,
  relay_failing_since TEXT,
  relay_paused_until TEXT,
  relay_last_error TEXT,
  relay_failures INTEGER DEFAULT 0 NOT NULL,
  CONSTRAINT pk_accounts PRIMARY KEY (name),
  CONSTRAINT ck_accounts_not_negative CHECK (failures >= 0 AND refusals >= 0 AND relay_failures >= 0)
) STRICT;

CREATE TABLE relays (
  account TEXT NOT NULL,
  relay TEXT NOT NULL,
  last_success_at TEXT,
  failing_since TEXT,
  paused_until TEXT,
  last_error TEXT,
  failures INTEGER DEFAULT 0 NOT NULL,
  CONSTRAINT pk_relays PRIMARY KEY (account, relay),
  CONSTRAINT ck_relays_not_negative CHECK (failures >= 0)
) STRICT;

CREATE TABLE daemons (
  owner TEXT NOT NULL,
  version TEXT NOT NULL,
  started_at TEXT NOT NULL,
  seen_at TEXT NOT NULL,
  degraded TEXT DEFAULT '' NOT NULL,
  CONSTRAINT pk_daemons PRIMARY KEY (owner)
) STRICT;

CREATE TABLE polls (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  account TEXT NOT NULL,
  session TEXT NOT NULL,
  owner TEXT NOT NULL,
  started_at TEXT NOT NULL,
  finished_at TEXT,
  outcome TEXT DEFAULT 'running' NOT NULL,
  listed INTEGER DEFAULT 0 NOT NULL,
  fetched INTEGER DEFAULT 0 NOT NULL,
  octets INTEGER DEFAULT 0 NOT NULL,
  skipped INTEGER DEFAULT 0 NOT NULL,
  dele_sent INTEGER DEFAULT 0 NOT NULL,
  deleted INTEGER DEFAULT 0 NOT NULL,
  error TEXT,
  transcript TEXT,
  CONSTRAINT ck_polls_outcome CHECK (outcome IN ('running', 'ok', 'failed', 'interrupted'))
) STRICT;

CREATE INDEX ix_polls_account_started_at ON polls (account, started_at);

CREATE INDEX ix_polls_running ON polls (id) WHERE outcome = 'running';

CREATE TABLE messages (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  account TEXT NOT NULL,
  uidl TEXT,
  message_id TEXT,
  thread_id INTEGER,
  in_reply_to TEXT,
  sent_at TEXT,
  archived_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  from_name TEXT,
  from_address TEXT,
  to_addresses TEXT,
  cc_addresses TEXT,
  subject TEXT,
  octets INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  retrieved TEXT DEFAULT 'whole' NOT NULL,
  attachment_count INTEGER DEFAULT 0 NOT NULL,
  attachment_names TEXT,
  defects TEXT DEFAULT '[]' NOT NULL,
  protection TEXT DEFAULT '[]' NOT NULL,
  parser_version INTEGER DEFAULT 0 NOT NULL,
  quoted_ranges TEXT,
  signature_ranges TEXT,
  body_text TEXT,
  attachment_text TEXT,
  CONSTRAINT uq_messages_account_sha256 UNIQUE (account, sha256),
  CONSTRAINT ck_messages_not_negative CHECK (octets >= 0 AND attachment_count >= 0 AND parser_version >= 0),
  CONSTRAINT ck_messages_sha256 CHECK (length(sha256) = 64),
  CONSTRAINT ck_messages_retrieved CHECK (retrieved IN ('whole', 'headers')),
  CONSTRAINT ck_messages_defects CHECK (json_valid(coalesce(defects, '[]'))),
  CONSTRAINT ck_messages_protection CHECK (json_valid(coalesce(protection, '[]'))),
  CONSTRAINT ck_messages_quoted_ranges CHECK (json_valid(coalesce(quoted_ranges, '[]'))),
  CONSTRAINT ck_messages_signature_ranges CHECK (json_valid(coalesce(signature_ranges, '[]')))
) STRICT;

CREATE INDEX ix_messages_account_sent_at_octets ON messages (account, sent_at, octets);

CREATE INDEX ix_messages_defects ON messages (id) WHERE defects != '[]';

CREATE INDEX ix_messages_from_address ON messages (from_address) WHERE from_address IS NOT NULL;

CREATE INDEX ix_messages_message_id ON messages (message_id) WHERE message_id IS NOT NULL;

CREATE INDEX ix_messages_parser_version_id ON messages (parser_version, id);

CREATE INDEX ix_messages_sent_at ON messages (sent_at);

CREATE INDEX ix_messages_thread_id_sent_at ON messages (thread_id, sent_at);

CREATE TABLE keys (
  name TEXT NOT NULL,
  secret BLOB NOT NULL,
  made_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  CONSTRAINT pk_keys PRIMARY KEY (name)
) STRICT;

CREATE TABLE works (
  name TEXT NOT NULL,
  parser_version INTEGER DEFAULT 0 NOT NULL,
  done INTEGER DEFAULT 0 NOT NULL,
  started_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  CONSTRAINT pk_works PRIMARY KEY (name)
) STRICT;

CREATE TABLE held_messages (
  hold INTEGER NOT NULL,
  message INTEGER NOT NULL,
  CONSTRAINT pk_held_messages PRIMARY KEY (hold, message),
  CONSTRAINT fk_held_messages_hold FOREIGN KEY(hold) REFERENCES holds (id) ON DELETE CASCADE,
  CONSTRAINT fk_held_messages_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT;

CREATE INDEX ix_held_messages_message ON held_messages (message);

CREATE TABLE thread_links (
  message INTEGER NOT NULL,
  position INTEGER NOT NULL,
  "key" INTEGER NOT NULL,
  CONSTRAINT pk_thread_links PRIMARY KEY (message, position),
  CONSTRAINT fk_thread_links_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT;

CREATE TABLE thread_subjects (
  message INTEGER NOT NULL,
  "key" INTEGER NOT NULL,
  asks INTEGER NOT NULL,
  CONSTRAINT pk_thread_subjects PRIMARY KEY (message),
  CONSTRAINT fk_thread_subjects_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX ix_thread_subjects_key_asks ON thread_subjects ("key", asks);

CREATE TABLE message_sources (
  message INTEGER NOT NULL,
  part INTEGER NOT NULL,
  octets INTEGER NOT NULL,
  encoding TEXT DEFAULT 'identity' NOT NULL,
  dictionary INTEGER,
  blob INTEGER,
  content BLOB NOT NULL,
  CONSTRAINT pk_message_sources PRIMARY KEY (message, part),
  CONSTRAINT ck_message_sources_encoding CHECK (encoding IN ('identity', 'zstd', 'blob')),
  CONSTRAINT ck_message_sources_dictionary CHECK (dictionary IS NULL OR encoding = 'zstd'),
  CONSTRAINT ck_message_sources_blob CHECK ((blob IS NOT NULL) = (encoding = 'blob')),
  CONSTRAINT fk_message_sources_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE,
  CONSTRAINT fk_message_sources_dictionary FOREIGN KEY(dictionary) REFERENCES dictionaries (id),
  CONSTRAINT fk_message_sources_blob FOREIGN KEY(blob) REFERENCES blobs (id)
) STRICT;

CREATE INDEX ix_message_sources_blob ON message_sources (blob) WHERE blob IS NOT NULL;

CREATE TABLE match_queue (
  message INTEGER NOT NULL,
  CONSTRAINT pk_match_queue PRIMARY KEY (message),
  CONSTRAINT fk_match_queue_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
) STRICT;

CREATE TABLE extraction_queue (
  message INTEGER NOT NULL,
  CONSTRAINT pk_extraction_queue PRIMARY KEY (message),
  CONSTRAINT fk_extraction_queue_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
) STRICT;

CREATE TABLE addresses (
  message INTEGER NOT NULL,
  role TEXT NOT NULL,
  position INTEGER NOT NULL,
  name TEXT DEFAULT '' NOT NULL,
  address TEXT NOT NULL,
  CONSTRAINT pk_addresses PRIMARY KEY (message, role, position),
  CONSTRAINT ck_addresses_role CHECK (role IN ('from', 'sender', 'reply_to', 'to', 'cc', 'bcc')),
  CONSTRAINT fk_addresses_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
)
 WITHOUT ROWID,
 STRICT;

CREATE INDEX ix_addresses_address ON addresses (address) WHERE address IS NOT NULL;

CREATE TABLE attachments (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  message INTEGER NOT NULL,
  part TEXT NOT NULL,
  filename TEXT DEFAULT '' NOT NULL,
  content_type TEXT DEFAULT 'application/octet-stream' NOT NULL,
  octets INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  content_id TEXT,
  disposition TEXT DEFAULT '' NOT NULL,
  CONSTRAINT uq_attachments_message_part UNIQUE (message, part),
  CONSTRAINT fk_attachments_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX ix_attachments_sha256 ON attachments (sha256);

CREATE TABLE ledger (
  id INTEGER NOT NULL,
  account TEXT NOT NULL,
  uidl TEXT NOT NULL,
  occurrence INTEGER DEFAULT 0 NOT NULL,
  octets INTEGER,
  first_seen_at TEXT NOT NULL,
  last_seen_at TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT,
  message INTEGER,
  attempts INTEGER DEFAULT 0 NOT NULL,
  dele_sent_at TEXT,
  deleted_at TEXT,
  CONSTRAINT pk_ledger PRIMARY KEY (id),
  CONSTRAINT ck_ledger_status CHECK (status IN ('archived', 'headers', 'seen', 'skipped', 'refused', 'deleted', 'gone')),
  CONSTRAINT fk_ledger_message FOREIGN KEY(message) REFERENCES messages (id) ON DELETE SET NULL
) STRICT;

CREATE INDEX ix_ledger_account_status ON ledger (account, status);

CREATE INDEX ix_ledger_message ON ledger (message);

CREATE UNIQUE INDEX uq_ledger_uidl ON ledger (account, uidl, occurrence);

CREATE TABLE outbox (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  recipients TEXT,
  cc TEXT,
  bcc TEXT,
  sender TEXT,
  reply_to TEXT,
  account TEXT,
  subject TEXT,
  headers TEXT,
  forwards INTEGER,
  send_after TEXT,
  expires_at TEXT,
  priority INTEGER DEFAULT 0 NOT NULL,
  idempotency_key TEXT,
  on_doubt TEXT DEFAULT 'retry' NOT NULL,
  status TEXT DEFAULT 'queued' NOT NULL,
  attempts INTEGER DEFAULT 0 NOT NULL,
  next_attempt_at TEXT,
  sent_at TEXT,
  last_error TEXT,
  message_id TEXT,
  created_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  queued_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  updated_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  lease_owner TEXT,
  lease_until TEXT,
  body TEXT,
  html TEXT,
  raw ANY,
  CONSTRAINT ck_outbox_status CHECK (status IN ('queued', 'sending', 'deferred', 'sent', 'partial', 'failed', 'in_doubt', 'held', 'cancelled', 'expired')),
  CONSTRAINT ck_outbox_on_doubt CHECK (on_doubt IN ('retry', 'hold')),
  CONSTRAINT ck_outbox_recipients CHECK (recipients IS NOT NULL),
  CONSTRAINT ck_outbox_attempts CHECK (attempts >= 0),
  CONSTRAINT ck_outbox_raw CHECK (raw IS NULL OR typeof(raw) IN ('blob', 'text')),
  CONSTRAINT ck_outbox_next_attempt_at_form CHECK (next_attempt_at IS strftime('%Y-%m-%dT%H:%M:%fZ', next_attempt_at)),
  CONSTRAINT ck_outbox_created_at_form CHECK (created_at IS strftime('%Y-%m-%dT%H:%M:%fZ', created_at)),
  CONSTRAINT ck_outbox_queued_at_form CHECK (queued_at IS strftime('%Y-%m-%dT%H:%M:%fZ', queued_at)),
  CONSTRAINT fk_outbox_forwards FOREIGN KEY(forwards) REFERENCES messages (id) ON DELETE SET NULL,
  CONSTRAINT uq_outbox_idempotency_key UNIQUE (idempotency_key)
) STRICT;

CREATE INDEX ix_outbox_due ON outbox (account, next_attempt_at) WHERE next_attempt_at IS NOT NULL;

CREATE INDEX ix_outbox_forwards ON outbox (forwards) WHERE forwards IS NOT NULL;

CREATE INDEX ix_outbox_message_id ON outbox (message_id) WHERE message_id IS NOT NULL;

CREATE INDEX ix_outbox_status ON outbox (status);

CREATE INDEX ix_outbox_stopped ON outbox (id) WHERE lease_owner IS NOT NULL AND status != 'sending';

CREATE INDEX ix_outbox_turn ON outbox (account, priority DESC, next_attempt_at, id) WHERE next_attempt_at IS NOT NULL;

CREATE TABLE suppressions (
  address TEXT NOT NULL,
  reason TEXT DEFAULT '' NOT NULL,
  suppressed_by TEXT DEFAULT 'hand' NOT NULL,
  added_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  report INTEGER,
  CONSTRAINT pk_suppressions PRIMARY KEY (address),
  CONSTRAINT ck_suppressions_suppressed_by CHECK (suppressed_by IN ('hand', 'bounce')),
  CONSTRAINT ck_suppressions_address CHECK (address LIKE '%_@_%'),
  CONSTRAINT fk_suppressions_report FOREIGN KEY(report) REFERENCES messages (id) ON DELETE SET NULL
) STRICT;

CREATE INDEX ix_suppressions_report ON suppressions (report) WHERE report IS NOT NULL;

CREATE TABLE outbox_attempts (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  outbox_id INTEGER NOT NULL,
  number INTEGER NOT NULL,
  account TEXT NOT NULL,
  relay TEXT NOT NULL,
  session TEXT NOT NULL,
  letters INTEGER DEFAULT 1 NOT NULL,
  started_at TEXT NOT NULL,
  committing_at TEXT,
  finished_at TEXT,
  outcome TEXT,
  code INTEGER,
  enhanced_code TEXT,
  reply TEXT,
  transcript TEXT,
  CONSTRAINT fk_outbox_attempts_outbox_id FOREIGN KEY(outbox_id) REFERENCES outbox (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX ix_outbox_attempts_account ON outbox_attempts (account, started_at);

CREATE INDEX ix_outbox_attempts_outbox_id ON outbox_attempts (outbox_id);

CREATE TABLE outbox_attachments (
  id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  outbox_id INTEGER NOT NULL,
  filename TEXT NOT NULL,
  content_type TEXT DEFAULT 'application/octet-stream' NOT NULL,
  content ANY NOT NULL,
  content_id TEXT,
  CONSTRAINT ck_outbox_attachments_content CHECK (typeof(content) IN ('blob', 'text')),
  CONSTRAINT fk_outbox_attachments_outbox_id FOREIGN KEY(outbox_id) REFERENCES outbox (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX ix_outbox_attachments_outbox_id ON outbox_attachments (outbox_id);

CREATE TABLE outbox_recipients (
  outbox_id INTEGER NOT NULL,
  address TEXT NOT NULL,
  field TEXT DEFAULT 'to' NOT NULL,
  status TEXT DEFAULT 'queued' NOT NULL,
  code INTEGER,
  enhanced_code TEXT,
  reply TEXT,
  attempt INTEGER,
  attempts INTEGER DEFAULT 0 NOT NULL,
  updated_at TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) NOT NULL,
  sent_at TEXT,
  reported_at TEXT,
  report INTEGER,
  CONSTRAINT pk_outbox_recipients PRIMARY KEY (outbox_id, address),
  CONSTRAINT ck_outbox_recipients_status CHECK (status IN ('queued', 'sent', 'deferred', 'failed', 'in_doubt', 'delivered', 'delayed', 'bounced', 'replied')),
  CONSTRAINT ck_outbox_recipients_field CHECK (field IN ('to', 'cc', 'bcc')),
  CONSTRAINT fk_outbox_recipients_outbox_id FOREIGN KEY(outbox_id) REFERENCES outbox (id) ON DELETE CASCADE,
  CONSTRAINT fk_outbox_recipients_attempt FOREIGN KEY(attempt) REFERENCES outbox_attempts (id) ON DELETE SET NULL,
  CONSTRAINT fk_outbox_recipients_report FOREIGN KEY(report) REFERENCES messages (id) ON DELETE SET NULL
) STRICT;

CREATE INDEX ix_outbox_recipients_address ON outbox_recipients (address) WHERE address IS NOT NULL;

CREATE INDEX ix_outbox_recipients_attempt ON outbox_recipients (attempt);

CREATE INDEX ix_outbox_recipients_report ON outbox_recipients (report) WHERE report IS NOT NULL;

CREATE VIRTUAL TABLE messages_fts USING fts5(subject, from_name, from_address, to_addresses, cc_addresses, body_text, attachment_names, attachment_text, content='messages', content_rowid='id', tokenize="unicode61 remove_diacritics 2");

CREATE VIRTUAL TABLE messages_pairs USING fts5(pairs, content='', detail=none, columnsize=0, tokenize="unicode61 remove_diacritics 0");
