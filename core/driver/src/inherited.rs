//! Listening sockets that the process before left us.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Sockets for [`Bind::Inherited`](crate::Bind::Inherited), by name, of the runtime's type.
#[derive(Debug)]
pub struct Inherited<T>(Mutex<BTreeMap<String, T>>);

impl<T> Inherited<T> {
    /// These.
    pub fn new(sockets: BTreeMap<String, T>) -> Self {
        Self(Mutex::new(sockets))
    }

    /// The one of this name, once.
    pub fn take(&self, name: &str) -> io::Result<T> {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.remove(name).ok_or_else(|| {
            let error = format!("no inherited socket is called {name:?}");
            io::Error::new(io::ErrorKind::NotFound, error)
        })
    }
}
