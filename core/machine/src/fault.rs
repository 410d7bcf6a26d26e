//! Places in driver, store and node where a simulated world may make something go wrong.
//!
//! A site says [`fault!`](crate::fault) and what is then done is what the code does anyway when it meets that trouble:
//! a full queue, a refusal, a stop between two steps. Without the feature `faults` it is the constant `false`.

/// True when the world that runs on this thread wants this site to fail now; the constant `false` without the feature
/// `faults`, in whatever crate it stands. Sites have names, unique in the whole program.
#[cfg(feature = "faults")]
#[macro_export]
macro_rules! fault {
    ($site:literal) => {
        $crate::faults::strikes($site)
    };
}

/// True when the world that runs on this thread wants this site to fail now; the constant `false` without the feature
/// `faults`, in whatever crate it stands.
#[cfg(not(feature = "faults"))]
#[macro_export]
macro_rules! fault {
    ($site:literal) => {
        false
    };
}
