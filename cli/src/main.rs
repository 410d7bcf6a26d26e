//! moxctl.
fn main() {}
