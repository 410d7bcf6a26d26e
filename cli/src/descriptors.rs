//! File descriptors: how many connections the process has room for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are kept for everything but connections from outside: the store, body files, name servers, mail that
/// goes out. Half of them where there are few.
const KEPT_MAX: u64 = 1_024;

/// How many connections may be open of those that are wanted. A store that gets no descriptor has failed, so connections
/// must not take the last one. Raises the process's own limit as far as it goes.
pub(crate) fn connections(wanted: usize) -> usize {
    let Some(descriptors) = raised() else {
        return wanted;
    };
    let room = room(descriptors);
    if wanted > room {
        tracing::info!(
            target: "listen",
            wanted,
            room,
            descriptors,
            "there are file descriptors for fewer connections: raise the limit of open files (ulimit -n, LimitNOFILE)"
        );
    }
    wanted.min(room)
}

/// The same for a server on which nobody counts: it says nothing of it.
pub(crate) fn connections_at_most(wanted: usize) -> usize {
    raised().map_or(wanted, |descriptors| wanted.min(room(descriptors)))
}

/// Descriptors that this process may have, as many as the system gives.
fn raised() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

/// Connections are counted twice, those from this machine apart.
fn room(descriptors: u64) -> usize {
    let kept = KEPT_MAX.min(descriptors / 2);
    usize::try_from((descriptors - kept) / 2).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!(room(100), 25);
        assert_eq!(room(1_024), 256);
        assert_eq!(room(21_024), 10_000);
        assert_eq!(room(0), 0);
    }
}
