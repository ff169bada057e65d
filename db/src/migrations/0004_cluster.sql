-- Many nodes: what each says of itself.

-- run: one start of a process; another that goes by the same name has another. addresses: JSON, where it listens. clock_offset: how far
-- its clock is ahead of the database's, in microseconds. settings: JSON, {key: value}
-- of what all nodes should have alike. state: what /readyz says. drained_at: since when an operator wants no new work on it. next_key:
-- the fingerprint of the key file that it has for the next change of keys.
ALTER TABLE nodes ADD COLUMN run TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN addresses TEXT NOT NULL DEFAULT '[]';
ALTER TABLE nodes ADD COLUMN clock_offset BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE nodes ADD COLUMN state TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN drained_at BIGINT;
ALTER TABLE nodes ADD COLUMN next_key TEXT NOT NULL DEFAULT '';

-- Contents that lie in an object of their upload's own, for whoever asks whether an object is one.
CREATE INDEX blobs_location ON blobs (location) WHERE location <> 'data';
