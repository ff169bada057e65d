-- Indexes of tables that may be large by now: on PostgreSQL built CONCURRENTLY, after the transaction (see migrate.rs).
CREATE INDEX jobs_ready ON jobs (kind, priority, run_at, id) WHERE state = 'ready';
CREATE INDEX jobs_running ON jobs (lease_until, id) WHERE state = 'running';
CREATE INDEX jobs_tasks ON jobs (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX jobs_task_states ON jobs (parent_id, state) WHERE parent_id IS NOT NULL;
CREATE INDEX jobs_executions ON jobs (kind, subject_id, id) WHERE trigger_kind <> '';
CREATE INDEX jobs_unasked ON jobs (ended_at, id) WHERE trigger_kind = '' AND parent_id IS NULL AND ended_at IS NOT NULL;
