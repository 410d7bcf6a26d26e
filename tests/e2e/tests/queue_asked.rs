//! What an administrator may ask of the queue before anything is sent: what would become of it on a bad day, what a message would
//! come to, and to whom nothing goes.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use mox_e2e::{Localserve, PASSWORD, Smtp, Stub, inbox, wait_for};
use serde_json::{Value, json};

/// How long an attempt may take.
const UNDER_WAY: Duration = Duration::from_secs(40);

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let code = output.status.code();
    (code, text(&output.stdout), text(&output.stderr))
}

/// What a command that goes well prints.
fn told(server: &Localserve, args: &[&str]) -> String {
    let (code, out, err) = text(&server.command(args));
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    out
}

/// What a command says that does not: its code, and the end of what it said.
fn refused(server: &Localserve, args: &[&str], code: i32, why: &str) {
    let (is, out, err) = text(&server.command(args));
    assert_eq!(is, Some(code), "{args:?}: {out}{err}");
    assert!(err.contains(why), "{args:?}: {err}");
}

fn json_of(server: &Localserve, args: &[&str]) -> Value {
    serde_json::from_str(&told(server, args)).unwrap()
}

/// Submits a message for one recipient, with parameters of MAIL, a space before each.
fn submit(smtp: &mut Smtp, params: &str, to: &str) {
    smtp.command(&format!("MAIL FROM:<u0@localhost>{params}"), "250");
    smtp.command(&format!("RCPT TO:<{to}>"), "250");
    smtp.command("DATA", "354");
    smtp.command("From: u0@localhost\r\nSubject: hi\r\n\r\nBody.\r\n.", "250");
}

#[test]
fn a_simulation_leaves_held_mail_alone_and_tries_other_mail_from_its_release_on() {
    // Nobody listens on the port of a listener that is gone.
    let relay = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Localserve::start(&["--accounts", "1", "--relay", &relay.to_string()]);
    let mut smtp = Smtp::submission(&server, "u0");
    submit(&mut smtp, "", "held@a.example");
    submit(&mut smtp, " HOLDFOR=36000", "later@b.example");
    submit(&mut smtp, "", "usual@c.example");
    submit(&mut smtp, "", "put-off@d.example");
    let list = |to: &str| json_of(&server, &["queue", "list", "--json", "--recipient", to]);
    for to in ["held@a.example", "usual@c.example", "put-off@d.example"] {
        wait_for("an attempt", UNDER_WAY, || {
            let last = list(to)[0]["last"].as_str().map(str::to_owned);
            last.filter(|last| last.contains("no connection"))
        });
    }
    told(&server, &["queue", "hold", "--domain", "a.example"]);
    let put_off = ["queue", "reschedule", "--domain", "d.example", "--in"];
    told(&server, &[&put_off[..], &["3d"]].concat());
    let too_far = "a message can be put off by 30 days at most";
    refused(&server, &[&put_off[..], &["31d"]].concat(), 1, too_far);
    // As old as their release.
    for to in ["later@b.example", "put-off@d.example"] {
        let item = &list(to)[0];
        let release = item["release"].as_str().unwrap();
        assert_eq!(
            (item["since"].as_str(), item["next"].as_str()),
            (Some(release), Some(release))
        );
        let id = item["id"].to_string();
        let shown = told(&server, &["queue", "show", &id]);
        assert!(
            shown.contains(&format!("\nheld back until {release}\n")),
            "{shown}"
        );
    }
    let usual = &list("usual@c.example")[0];
    assert_eq!(usual["since"], usual["queued"]);

    let scenario = server.scratch().write(
        "bad.ron",
        r#"(events: [
            (transport: "relay", until: "12h", does: reply("421 4.7.0 try again later")),
            (transport: "relay", from: "60h", does: reply("550 5.1.1 nobody")),
        ])"#,
    );
    let scenario = scenario.to_str().unwrap();
    let before = json_of(&server, &["queue", "list", "--json"]);
    let simulate = [
        "queue",
        "simulate",
        "--hours",
        "100",
        "--scenario",
        scenario,
    ];
    let found = json_of(&server, &[&simulate[..], &["--json"]].concat());
    assert_eq!(json_of(&server, &["queue", "list", "--json"]), before);
    let of = |to: &str| -> Vec<&Value> {
        let steps = found["steps"].as_array().unwrap().iter();
        steps.filter(|step| step["to"] == json!([to])).collect()
    };
    let what = |to: &str| -> Vec<&str> {
        let steps = of(to).into_iter();
        steps.map(|step| step["what"].as_str().unwrap()).collect()
    };
    assert_eq!(what("held@a.example"), [""; 0]);
    // Ten hours from now, again before the twelve are over, and then it is taken.
    let later = what("later@b.example");
    assert_eq!(later[..2], ["tried", "deferred"]);
    assert_eq!(later[later.len() - 2..], ["tried", "delivered"]);
    let release = list("later@b.example")[0]["release"].clone();
    assert_eq!(of("later@b.example")[0]["at"], release);
    assert!(!later.contains(&"delay_told"), "{later:?}");
    // Four hours after it was accepted its sender is told, once.
    let usual = what("usual@c.example");
    assert_eq!(
        usual.iter().filter(|what| **what == "delay_told").count(),
        1
    );
    assert_eq!(usual[usual.len() - 2..], ["tried", "delivered"]);
    assert_eq!(
        what("put-off@d.example"),
        ["tried", "failed", "failure_told"]
    );
    let put_off = list("put-off@d.example")[0]["release"].clone();
    assert_eq!(of("put-off@d.example")[0]["at"], put_off);
    let summary = &found["summary"];
    let counts = ["delivered", "failed", "waiting", "held"].map(|name| summary[name].as_u64());
    assert_eq!(counts, [Some(2), Some(1), Some(0), Some(1)]);
    let words = told(&server, &simulate);
    let last = words.lines().next_back().unwrap();
    assert!(
        last.ends_with("notices: 1 of delays, 1 of failures"),
        "{last}"
    );
    let line = "to <put-off@d.example>: failed: 550 5.1.1 nobody\n";
    assert!(words.contains(line), "{words}");

    let missing = [
        "queue",
        "simulate",
        "--hours",
        "1",
        "--scenario",
        "/nowhere.ron",
    ];
    refused(&server, &missing, 1, "/nowhere.ron");
    let hours = ["queue", "simulate", "--hours", "721"];
    refused(
        &server,
        &hours,
        2,
        "721 hours cannot be simulated; use 1 to 720",
    );
    // What was put off goes when somebody says so.
    let stub = Stub::taking_at(relay);
    assert_eq!(
        told(&server, &["queue", "kick", "--domain", "d.example"]),
        "1\n"
    );
    let taken = wait_for("its arrival", UNDER_WAY, || stub.taken().pop());
    assert_eq!(taken.rcpt, ["RCPT TO:<put-off@d.example>"]);
}

/// What a server hears of a rehearsal by these arguments, which ends with this code and these words.
fn rehearsed(stub: &Stub, args: &[&str], code: i32, words: &str) -> Vec<String> {
    let server = Localserve::start(&["--accounts", "1", "--relay", &stub.address()]);
    let before = stub.heard().len();
    let all = [&["send", "--dry-run", "carol@far.example"], args].concat();
    let (is, out, err) = text(&server.command(&all));
    assert_eq!(is, Some(code), "{out}{err}");
    let last = out.lines().next_back().unwrap();
    assert!(last.contains(words), "{out}");
    assert_eq!(
        code == 1,
        err.contains("carol@far.example would not be delivered to now"),
        "{err}"
    );
    let asked = json_of_either(&server.command(&[&all[..], &["--json"]].concat()));
    assert_eq!(asked["transport"], "relay");
    assert_eq!(json_of(&server, &["queue", "list", "--json"]), json!([]));
    let heard = wait_for("two sessions", UNDER_WAY, || {
        let heard = stub.heard().split_off(before);
        let ended = heard.iter().filter(|line| *line == "QUIT").count();
        (ended == 2).then_some(heard)
    });
    let verbs = heard
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned());
    let verbs: Vec<String> = verbs.collect();
    // Both alike.
    let (first, second) = verbs.split_at(verbs.len() / 2);
    assert_eq!(first, second);
    assert!(stub.taken().is_empty());
    first.to_vec()
}

fn json_of_either(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_rehearsal_says_what_a_message_would_come_to_and_never_sends_it() {
    let taking = Stub::taking();
    let heard = rehearsed(&taking, &[], 0, "it would be sent: ");
    assert_eq!(heard, ["EHLO", "QUIT"]);
    let asking = ["--to-rcpt", "--from", "u0@localhost"];
    let heard = rehearsed(&taking, &asking, 0, "it would be sent: ");
    assert_eq!(heard, ["EHLO", "MAIL", "RCPT", "QUIT"]);
    // Who is not asked for the recipient cannot refuse it.
    let refusing = Stub::refusing("550 5.1.1 nobody");
    let heard = rehearsed(&refusing, &[], 0, "it would be sent: ");
    assert_eq!(heard, ["EHLO", "QUIT"]);
    let words = "it would come back: 550 5.1.1 nobody";
    let heard = rehearsed(&refusing, &["--to-rcpt"], 1, words);
    assert_eq!(heard, ["EHLO", "MAIL", "RCPT", "QUIT"]);
    let busy = Stub::refusing("450 4.2.1 busy");
    let words = "it would be tried again later: 450 4.2.1 busy";
    let heard = rehearsed(&busy, &["--to-rcpt"], 1, words);
    assert_eq!(heard, ["EHLO", "MAIL", "RCPT", "QUIT"]);
}

#[test]
fn a_rehearsal_of_what_is_no_message_and_one_that_is_none_are_refused() {
    let server = Localserve::start(&["--accounts", "1"]);
    let real = "this command only rehearses: add --dry-run; moxctl sendmail sends";
    refused(&server, &["send", "carol@far.example"], 2, real);
    let none = "\"carol\" is no address; write local-part@domain";
    refused(&server, &["send", "--dry-run", "carol"], 1, none);
    let here = told(&server, &["send", "--dry-run", "u0@localhost"]);
    assert!(
        here.contains("u0@localhost is an address of account u0 here"),
        "{here}"
    );
}

#[test]
fn nothing_goes_to_a_suppressed_address_until_that_is_lifted() {
    let stub = Stub::taking();
    let server = Localserve::start(&["--accounts", "2", "--relay", &stub.address()]);
    let suppress = |args: &[&str]| told(&server, &[&["queue", "suppress"], args].concat());
    let refuses = |args: &[&str], why: &str| {
        refused(&server, &[&["queue", "suppress"], args].concat(), 1, why);
    };
    assert_eq!(suppress(&["list"]), "(empty)\n");
    let add = [
        "add",
        "u0",
        "Carol@b\u{fc}cher.example",
        "--reason",
        "asked to be left alone",
    ];
    assert_eq!(
        suppress(&add),
        "u0 sends nothing to Carol@b\u{fc}cher.example any more, until moxctl queue suppress rm lifts that\n"
    );
    let listed = suppress(&["list"]);
    assert!(
        listed.starts_with("u0 <carol@xn--bcher-kva.example> since "),
        "{listed}"
    );
    assert!(
        listed.ends_with(", until it is lifted: asked to be left alone\n"),
        "{listed}"
    );
    let listed = json_of(
        &server,
        &["queue", "suppress", "list", "--account", "u0", "--json"],
    );
    assert_eq!(listed[0]["address"], "carol@xn--bcher-kva.example");
    assert_eq!(
        (listed[0]["failures"].as_u64(), &listed[0]["until"]),
        (Some(0), &Value::Null)
    );
    assert_eq!(suppress(&["list", "--account", "u1"]), "(empty)\n");
    refuses(&["list", "--account", "u9"], "there is no account \"u9\"");
    refuses(
        &["add", "u0", "carol"],
        "\"carol\" is no address; write local-part@domain",
    );
    refuses(
        &["add", "u0", "u1@localhost"],
        "u1@localhost is at a domain of this server",
    );

    let to = "carol@xn--bcher-kva.example";
    submit(&mut Smtp::submission(&server, "u0"), "", to);
    let notice = wait_for("a notice", UNDER_WAY, || {
        inbox(&server, "u0@localhost").pop()
    });
    let notice = String::from_utf8_lossy(&notice).into_owned();
    for piece in [
        "Status: 5.7.1\r\n",
        "asked to be left alone",
        "moxctl queue suppress rm u0",
    ] {
        let plain = notice.replace("\r\n ", " ");
        assert!(
            plain.contains(piece) || notice.contains(piece),
            "{piece}: {notice}"
        );
    }
    assert_eq!(stub.heard(), [""; 0]);
    // It is one account's.
    let mut other = Smtp::login(server.port(587), "u1@localhost", PASSWORD);
    other.command("MAIL FROM:<u1@localhost>", "250");
    other.command(&format!("RCPT TO:<{to}>"), "250");
    other.command("DATA", "354");
    other.command("From: u1@localhost\r\n\r\nBody.\r\n.", "250");
    let taken = wait_for("its arrival", UNDER_WAY, || stub.taken().pop());
    assert_eq!(taken.mail.split(' ').nth(1), Some("FROM:<u1@localhost>"));

    let rm = ["rm", "u0", "CAROL@B\u{dc}CHER.example"];
    assert_eq!(
        suppress(&rm),
        "u0 sends to CAROL@B\u{dc}CHER.example again\n"
    );
    refuses(&rm, "moxctl queue suppress list says where it does not");
    submit(&mut Smtp::submission(&server, "u0"), "", to);
    wait_for("the next one", UNDER_WAY, || {
        (stub.taken().len() == 2).then_some(())
    });
}
