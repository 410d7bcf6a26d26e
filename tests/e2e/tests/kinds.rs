//! What becomes of real messages of each kind is what `docs/receiving.md` says.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use mox_e2e::{have, moxctl, run, script, vectors};

#[test]
fn ten_real_messages_of_each_kind_come_to_what_the_documentation_says() {
    let test = "ten_real_messages_of_each_kind_come_to_what_the_documentation_says";
    let Some(vectors) = vectors(test) else { return };
    if !have(test, &["python3", "swaks", "tar", "zstd"]) {
        return;
    }
    let (script, moxctl) = (script("kinds.py"), moxctl());
    let args = [&script, &moxctl, &vectors].map(|path| path.to_str().unwrap());
    let printed = String::from_utf8(run("python3", &args, b"")).unwrap();
    assert_eq!(printed.lines().count(), 2 + 7, "{printed}");
    let documented = include_str!("../../../docs/receiving.md");
    assert!(documented.contains(&printed), "{printed}");
}
