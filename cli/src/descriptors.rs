//! File descriptors: how many connections the process has room for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are kept for everything but connections from outside: the store, body files, name servers, mail that
/// goes out. Half of them where there are few.
const KEPT_MAX: u64 = 1_024;
/// How often connections are counted: those from this machine apart.
pub(crate) const FROM_ANYWHERE: u64 = 2;
/// The same where there are networks that no limiter concerns, which are counted apart too.
pub(crate) const WITH_UNLIMITED: u64 = 3;

/// How many connections may be open of those that are wanted, of each kind that is counted apart. A store that gets no descriptor has failed, so connections
/// must not take the last one. Raises the process's own limit as far as it goes.
pub(crate) fn connections(wanted: usize, kinds: u64) -> usize {
    let Some(descriptors) = raised() else {
        return wanted;
    };
    let room = room(descriptors, kinds);
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
    raised().map_or(wanted, |descriptors| {
        wanted.min(room(descriptors, FROM_ANYWHERE))
    })
}

/// Descriptors that this process may have, as many as the system gives.
fn raised() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

fn room(descriptors: u64, kinds: u64) -> usize {
    let kept = KEPT_MAX.min(descriptors / 2);
    usize::try_from((descriptors - kept) / kinds.max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{FROM_ANYWHERE, WITH_UNLIMITED, room};

    #[test]
    fn connections_leave_descriptors_for_everything_else() {
        assert_eq!(room(100, FROM_ANYWHERE), 25);
        assert_eq!(room(1_024, FROM_ANYWHERE), 256);
        assert_eq!(room(21_024, FROM_ANYWHERE), 10_000);
        assert_eq!(room(0, FROM_ANYWHERE), 0);
        assert_eq!(room(1_024, WITH_UNLIMITED), 170);
        assert_eq!(room(31_024, WITH_UNLIMITED), 10_000);
    }
}
