//! Who decides whether a site of [`fault!`](crate::fault) fails: one hook for each thread.
//!
//! Without the feature `faults` there are no sites, and nobody is asked.

use alloc::boxed::Box;

/// Told of each site that is reached; true makes it fail.
pub type Hook = Box<dyn FnMut(&'static str) -> bool>;

/// Whether this program has sites.
pub const COMPILED: bool = cfg!(feature = "faults");

#[cfg(feature = "faults")]
mod hooked {
    extern crate std;

    use super::Hook;
    use core::cell::RefCell;

    std::thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// Puts a hook in the place of another on this thread; gives that back.
    pub fn install(hook: Option<Hook>) -> Option<Hook> {
        HOOK.replace(hook)
    }

    /// Whether this site fails now: as the hook says, never without one.
    pub fn strikes(site: &'static str) -> bool {
        let asked = HOOK.try_with(|hook| match hook.try_borrow_mut() {
            Ok(mut hook) => hook.as_mut().is_some_and(|hook| hook(site)),
            // The hook itself came by a site.
            Err(_) => false,
        });
        asked.unwrap_or(false)
    }
}

#[cfg(feature = "faults")]
pub use hooked::{install, strikes};

/// Puts a hook in the place of another on this thread; gives that back. Nobody asks it: there are no sites.
#[cfg(not(feature = "faults"))]
pub fn install(hook: Option<Hook>) -> Option<Hook> {
    drop(hook);
    None
}
