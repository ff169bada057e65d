//! What tests need around them: fresh databases on both engines, and programs that end with the test. Never shipped.
//! What is not installed is left out loudly; `SEAWALL_TEST_REQUIRE` names what must not be left out (`postgres,pgbouncer`).

mod balancer;
mod buckets;
mod database;
mod docker_registry;
mod node;
mod postgres;
mod process;
mod redis;
mod replica;
mod swift;

use std::io::Write;

pub use balancer::Balancer;
pub use buckets::{Azure, Gcs, Method, S3, azure, gcs, s3};
pub use database::{
    TestDatabase, databases, empty_databases, on_both, on_both_empty, on_postgres, on_sqlite,
};
pub use docker_registry::{DockerRegistry, Keeps, docker_registries};
pub use node::node;
pub use postgres::{Database, Private, Server, postgres, private_postgres};
pub use process::{Companion, free_port, lasting_port, program, scratch_directory, unprivileged};
pub use redis::{Alike, MASTER, Redis, Watched, redis, redis_cluster, watched};
pub use replica::Replica;
pub use swift::{Keystone, Swift, ceph_swift, keystone, new_container, swift};

/// Says that a part of a test did not run because this machine has not got `what`; fails where it is required. Written
/// past the test runner, which would keep the words of a test that passes to itself.
pub fn left_out(what: &str, why: &str) {
    let required = std::env::var("SEAWALL_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !required.split(',').any(|name| name.trim() == what),
        "`{what}` is required by SEAWALL_TEST_REQUIRE: {why}"
    );
    let _ = writeln!(std::io::stderr(), "left out: {why}");
}
