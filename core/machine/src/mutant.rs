//! Deliberate faults in the real code, so that tests can prove they would be noticed.
//!
//! A site says [`mutant!`](crate::mutant): without the feature `mutants` that is the constant `false`, and nothing of this
//! module exists; with it, one fault at a time can be switched on.

/// True while the named [`Mutant`](crate::mutants::Mutant) is switched on; the constant `false` without the feature
/// `mutants`, in whatever crate it stands.
#[cfg(feature = "mutants")]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is_active($crate::mutants::Mutant::$name)
    };
}

/// True while the named mutant is switched on; the constant `false` without the feature `mutants`, in whatever crate it
/// stands.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}
