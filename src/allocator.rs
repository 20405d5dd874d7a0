//! Keeps the memory that glibc's allocator holds near what is in use: few arenas, and free pages given back.

/// Call before there is a second thread.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn tame() {
    glibc::bound_arenas();
    // Without it everything works, in more memory.
    let _ = std::thread::Builder::new().name("free-pages".to_owned()).spawn(glibc::give_back_free_pages);
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn tame() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "mallopt, mallinfo and malloc_trim have no safe form; all three may be called by any thread"
)]
mod glibc {
    use std::time::Duration;

    const LOOK_EVERY: Duration = Duration::from_secs(1);
    /// Below this a look gives nothing back: the next query takes it again.
    const FREE_BYTES_KEPT: u32 = 64 << 20;

    /// As many arenas as there are cores, in place of eight times as many.
    ///
    /// What one thread frees, others cannot use where each has an arena of its own: under 50 clients' queries memory
    /// grew by 8 MB a second.
    pub(super) fn bound_arenas() {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let arenas = libc::c_int::try_from(cores.max(2)).unwrap_or(libc::c_int::MAX);
        // Where it is refused, everything works as before.
        let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }

    /// By itself glibc gives back only the end of an arena. A query's millions of small pieces lie between what the head
    /// keeps for minutes, so that after each query more whole pages are free that nobody gets: 200 MB in use were
    /// 500 MB resident after two minutes of load.
    pub(super) fn give_back_free_pages() {
        loop {
            std::thread::sleep(LOOK_EVERY);
            // mallinfo, which counts modulo 4 GiB: mallinfo2 needs glibc 2.33.
            if unsafe { libc::mallinfo() }.fordblks.cast_unsigned() > FREE_BYTES_KEPT {
                unsafe { libc::malloc_trim(0) };
            }
        }
    }
}
