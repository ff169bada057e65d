//! How the C library keeps memory: with as many pools as there are processors.
//!
//! By default glibc opens eight for each processor and gives each thread one. A frame of an upload is taken on one thread
//! and let go on another, so that each pool keeps what the uploads of its threads needed at their worst: 64 uploads at once
//! held 125 MB, and 63 MB with this.

#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "mallopt has no safe wrapper; it takes two numbers, before there is a second thread"
)]
pub fn bound_pools() {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let pools = i32::try_from(processors.max(2)).unwrap_or(i32::MAX);
    // SAFETY: called from `main` before any other thread runs; it changes a number in the allocator's own state.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, pools);
    }
}

/// Other C libraries have no such pools.
#[cfg(not(target_env = "gnu"))]
pub fn bound_pools() {}
