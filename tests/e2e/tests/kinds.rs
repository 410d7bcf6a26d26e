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
    let (table, examples) = printed.split_once("\n\n").unwrap();
    assert_eq!(table.lines().count(), 2 + 7, "{table}");
    assert_eq!(examples.matches("### ").count(), 7, "{examples}");
    let documented = include_str!("../../../docs/receiving.md");
    assert!(documented.contains(table), "{table}");
    let documented = without_weights(documented);
    for example in examples.split("\n\n### ") {
        let example = without_weights(example);
        assert!(documented.contains(example.trim_end()), "{example}");
    }
}

/// Without what depends on the server's key, by which the words are chosen that are learned of a long message.
fn without_weights(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| match line.split_once(" probability=") {
            Some((told, weighed)) => {
                let (weighed, _words) = weighed.split_once(" word=").unwrap();
                let (_, learned) = weighed.split_once(' ').unwrap();
                format!("{told} {learned}")
            }
            None => {
                let weighed = ["or: without the words ", "or: with threshold "];
                let begin = weighed
                    .into_iter()
                    .find(|begin| line.trim_start().starts_with(begin));
                begin.unwrap_or(line).to_owned()
            }
        });
    lines.collect::<Vec<_>>().join("\n")
}
