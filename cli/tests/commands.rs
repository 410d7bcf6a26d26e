//! The built program: its exit codes, what it prints, what it leaves on disk.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use mox_cli::config_files::ConfigFiles;
use mox_cli::ctl::{self, CtlError, Handler, Listening};
use mox_cli::offline::Offline;
use mox_cli::privileges::is_root;
use mox_machine::Secret;
use mox_server::decision::{
    Connection, Facts, Judgement, LeftOut, Recipient, Record, Stage, Standing,
};
use mox_server::{Found, decode_credentials};
use scratch::Scratch;
use serde_json::{Value, json};

fn moxctl(args: &[&str]) -> Output {
    with_input(args, "")
}

fn with_input(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_moxctl"))
        .args(args)
        .env_remove("MOXCONF")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Exit code, stdout, stderr.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn quickstart(scratch: &Scratch) -> (String, String) {
    let dir = scratch.path("mail");
    let output = moxctl(&[
        "quickstart",
        "Jo@bücher.example",
        "--dir",
        dir.to_str().unwrap(),
        "--hostname",
        "mx.example.org",
    ]);
    let (code, out, err) = told(&output);
    assert_eq!((code, err.as_str()), (0, ""));
    (dir.join("config/mox.ron").to_str().unwrap().to_owned(), out)
}

/// What root does between quickstart and the start: a user whom every system has, and who owns the files.
fn given_to_nobody(config: &str) {
    if !is_root() {
        return;
    }
    let text = fs::read_to_string(config).unwrap();
    fs::write(config, text.replace("user: \"mox\"", "user: \"nobody\"")).unwrap();
    let folder = Path::new(config).parent().unwrap().parent().unwrap();
    let mut all = files_below(folder);
    all.extend(
        all.clone()
            .iter()
            .flat_map(|file| file.ancestors().map(Path::to_owned).collect::<Vec<_>>()),
    );
    for path in all.iter().filter(|path| path.starts_with(folder)) {
        mox_cli::privileges::give_to(path, "nobody").unwrap();
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    for args in [
        &[][..],
        &["fly"],
        &["quickstart"],
        &["config"],
        &["config", "account", "add", "x"],
        &["--loglevel", "loud", "version"],
        &["quickstart", "nobody"],
        &["quickstart", "a@localhost"],
        &["quickstart", "a@example.org", "--hostname", "a b"],
        &["localserve", "--port-base", "70000"],
        &["localserve", "--dnsbl", "bl.example"],
        &["localserve", "--resolver", "127.0.0.1:9", "--dnsbl", "a..b"],
    ] {
        let (code, out, err) = told(&moxctl(args));
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty(), "{args:?}");
    }
    for args in [
        &["--help"][..],
        &["config", "account", "--help"],
        &["localserve", "--help"],
        &["help"],
    ] {
        let (code, out, err) = told(&moxctl(args));
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.starts_with("Usage: moxctl"), "{out}");
    }
    for word in ["version", "--version"] {
        let version = format!("moxctl {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(told(&moxctl(&[word])), (0, version, String::new()));
    }
}

#[test]
fn quickstart_leaves_a_configuration_that_works_and_an_account_with_the_printed_password() {
    let scratch = Scratch::new("quickstart");
    let (config, out) = quickstart(&scratch);
    let password = out
        .lines()
        .find(|l| l.len() == 27 && l.starts_with("    ") && l.matches('-').count() == 3)
        .unwrap_or_else(|| panic!("{out}"))
        .trim();

    given_to_nobody(&config);
    let (code, said, _) = told(&moxctl(&["--config", &config, "config", "test"]));
    assert_eq!(code, 0);
    assert!(
        said.ends_with("are fine: listeners 1, domains 1, accounts 1\n"),
        "{said}"
    );

    let files = ConfigFiles::load(Path::new(&config)).unwrap();
    let address = mox_address::Path::parse("jo+x@xn--bcher-kva.example", false).unwrap();
    assert!(
        matches!(files.directory().find(&address), Found::Account { account, .. } if account == "jo")
    );

    let offline = Offline::open(&files.data_dir()).unwrap();
    let account = mox_mailbox::account(&*offline.published().view, "jo")
        .unwrap()
        .unwrap();
    let credentials = decode_credentials(&account.credentials).unwrap();
    assert!(credentials.verify(password));
    assert!(!credentials.verify("something else"));
    offline.close().unwrap();

    // What is secret is for its owner only, and the password is nowhere on disk.
    let mode = |path: &str| fs::metadata(scratch.path(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("mail/config"), mode("mail/data")), (0o700, 0o700));
    assert_eq!(
        (mode("mail/config/mox.ron"), mode("mail/config/domains.ron")),
        (0o640, 0o640)
    );
    assert_eq!(mode("mail/data/store"), 0o700);
    for path in files_below(&scratch.path("mail")) {
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes
                .windows(password.len())
                .any(|w| w == password.as_bytes()),
            "{path:?}"
        );
    }

    let (code, said, _) = told(&moxctl(&["--config", &config, "verify"]));
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("is in order\n"));
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(path) = open.pop() {
        match path.is_dir() {
            true => open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path())),
            false => files.push(path),
        }
    }
    files
}

#[test]
fn quickstart_overwrites_nothing() {
    let scratch = Scratch::new("overwrite");
    let (config, _) = quickstart(&scratch);
    let before = fs::read_to_string(&config).unwrap();
    let dir = scratch.path("mail");
    let (code, out, err) = told(&moxctl(&[
        "quickstart",
        "al@example.org",
        "--dir",
        dir.to_str().unwrap(),
    ]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        format!(
            "moxctl: {config} is there already and is not overwritten; remove it, or name another place with --dir\n"
        )
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
}

#[test]
fn config_test_names_file_line_column_and_remedy() {
    let scratch = Scratch::new("configtest");
    let (config, _) = quickstart(&scratch);
    let domains = config.replace("mox.ron", "domains.ron");
    let good = fs::read_to_string(&domains).unwrap();
    fs::write(
        &domains,
        good.replace("case_sensitive: false", "case_sensitiv: false"),
    )
    .unwrap();
    let (code, out, err) = told(&moxctl(&["--config", &config, "config", "test"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(
        err,
        format!(
            "moxctl: {domains}:10:13: domains.\"bücher.example\": there is no setting \"case_sensitiv\" here; \
             correct the spelling or remove it; known here: subaddress_separators, case_sensitive, dkim, dmarc_reports, tls_reports, aliases, routes\n"
        )
    );
    fs::write(&domains, good).unwrap();

    given_to_nobody(&config);
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace(
            "self_signed,",
            "files([(certificate: \"c.pem\", key: \"k.pem\")]),",
        ),
    )
    .unwrap();
    let (code, _, err) = told(&moxctl(&["--config", &config, "config", "test"]));
    assert_eq!(code, 1);
    let folder = Path::new(&config).parent().unwrap().display();
    assert_eq!(
        err,
        format!(
            "moxctl: {config}: listeners.\"public\".tls: {folder}/c.pem: there is no such file; paths are relative to \
             the folder of mox.ron\n"
        )
    );

    fs::write(&config, b"(\n\xff").unwrap();
    let (_, _, err) = told(&moxctl(&["--config", &config, "config", "test"]));
    assert_eq!(
        err,
        format!("moxctl: {config}:2: the file is not UTF-8 here; save it as UTF-8\n")
    );
    fs::remove_file(&config).unwrap();
    let (code, _, err) = told(&moxctl(&["--config", &config, "config", "test"]));
    assert_eq!(
        (code, err),
        (
            1,
            format!(
                "moxctl: there is no file {config}; name it with --config or $MOXCONF, or write one with moxctl quickstart\n"
            )
        )
    );
}

#[test]
fn config_test_tells_of_both_files_at_once() {
    let scratch = Scratch::new("bothfiles");
    let (config, _) = quickstart(&scratch);
    let domains = config.replace("mox.ron", "domains.ron");
    for (file, right, wrong) in [
        (&config, "hostname:", "hostnam:"),
        (
            &domains,
            "domain: \"bücher.example\"",
            "domain: \"other.example\"",
        ),
    ] {
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(right), "{text}");
        fs::write(file, text.replacen(right, wrong, 1)).unwrap();
    }
    let (code, out, err) = told(&moxctl(&["--config", &config, "config", "test"]));
    assert_eq!((code, out.as_str()), (1, ""));
    let lines: Vec<&str> = err.lines().collect();
    let [first, second] = lines[..] else {
        panic!("{err}");
    };
    assert!(
        first.starts_with(&format!("moxctl: {config}:"))
            && first.contains("no setting \"hostnam\""),
        "{err}"
    );
    assert!(
        second.starts_with(&format!("{domains}:"))
            && second.contains("\"other.example\" is not in domains"),
        "{err}"
    );
}

#[test]
fn config_test_as_root_says_what_keeps_the_servers_user_from_it() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new("itsuser");
    let (config, _) = quickstart(&scratch);
    let test = || told(&moxctl(&["--config", &config, "config", "test"]));
    let of = |user: &str| {
        let text = fs::read_to_string(&config).unwrap();
        let line = text
            .lines()
            .find(|l| l.trim().starts_with("user: "))
            .unwrap();
        fs::write(
            &config,
            text.replace(line.trim(), &format!("user: {user:?},")),
        )
        .unwrap();
    };
    of("no-such-user");
    let (code, out, err) = test();
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.starts_with("moxctl: there is no user \"no-such-user\"; make it with: useradd "),
        "{err}"
    );
    of("nobody");
    let (code, _, err) = test();
    assert_eq!(code, 1);
    assert!(
        err.contains("domains.ron") && err.contains("ermission denied"),
        "{err}"
    );
    given_to_nobody(&config);
    assert_eq!(test().0, 0);
}

#[test]
fn without_a_server_commands_that_need_one_end_with_3() {
    let scratch = Scratch::new("noserver");
    let (config, _) = quickstart(&scratch);
    for args in [
        &["config", "account", "add", "al", "al@example.org"][..],
        &["config", "account", "rm", "al"],
        &["config", "address", "add", "al@example.org", "jo"],
        &["config", "address", "rm", "al@example.org"],
        &["config", "alias", "add", "sales@example.org", "jo"],
        &["config", "alias", "rm", "sales@example.org"],
        &["setaccountpassword", "jo"],
        &["setaccountpassword", "--generate", "jo"],
        &["queue", "list"],
    ] {
        let output = with_input(&[&["--config", &config], args].concat(), "correct horse\n");
        let (code, out, err) = told(&output);
        assert_eq!((code, out.as_str()), (3, ""), "{args:?} {err}");
        assert!(
            err.contains("no server runs") && err.contains("moxctl serve"),
            "{err}"
        );
        // The file says ../data, from its own folder.
        let socket = scratch.path("mail/data/ctl");
        assert!(err.contains(socket.to_str().unwrap()), "{err}");
    }
}

/// What `serve` does with the commands, without the mail.
struct Served {
    files: Mutex<ConfigFiles>,
    passwords: Mutex<BTreeMap<String, Secret<String>>>,
}

impl Handler for Served {
    fn handle(
        &self,
        command: ctl::Command,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CtlError>> + Send + '_>> {
        Box::pin(async move {
            match command {
                ctl::Command::Config(edit) => {
                    let notes = self.files.lock().unwrap().edit(&edit);
                    notes.map(Value::from).map_err(CtlError::failed)
                }
                ctl::Command::SetPassword { account, password } => {
                    self.passwords.lock().unwrap().insert(account, password.0);
                    Ok(Value::Null)
                }
                ctl::Command::QueueList { .. } => Ok(json!({"items": [], "next": null})),
                ctl::Command::Explain { what, .. } => Ok(match what.as_str() {
                    "bob@far.example" => json!({"records": [record()], "is_cut": false}),
                    "many@far.example" => json!({"records": [record()], "is_cut": true}),
                    "others@far.example" => json!({"records": [], "is_cut": true}),
                    _ => json!({"records": [], "is_cut": false}),
                }),
                ctl::Command::QueueChange { .. } => Ok(json!(0)),
                ctl::Command::Retraining { account } => Ok(match account {
                    None => json!(["al", "jo"]),
                    Some(_) => json!([]),
                }),
                ctl::Command::Retrain { account } => match account.as_deref() {
                    None => Ok(json!(3)),
                    Some("jo") => Ok(json!(1)),
                    Some(other) => Err(CtlError::failed(format!("there is no account {other:?}"))),
                },
                _ => Ok(Value::Null),
            }
        })
    }
}

/// A recipient that nobody has.
fn record() -> Record {
    let facts = Facts {
        stage: Stage::Recipient,
        at: 1_767_323_045,
        connection: Connection {
            ip: "192.0.2.1".parse().unwrap(),
            hello: "mx.far.example\u{1b}".into(),
            tls: false,
            slow: false,
        },
        sender: "bob@far.example".into(),
        sender_unreachable: None,
        has_resolver: true,
        message: None,
    };
    let recipient = Recipient::new("nobody@ours.example".into(), Standing::UnknownLocalPart);
    let judgement = Judgement::of(&facts, recipient);
    Record {
        id: "abc".into(),
        facts,
        recipients: vec![judgement],
        reply: "550 5.1.1 no such user here (id abc)".into(),
        dns: String::new(),
        left_out: LeftOut::default(),
    }
}

#[test]
fn aliases_are_added_listed_and_removed_by_command() {
    let scratch = Scratch::new("aliases");
    let (config, _) = quickstart(&scratch);
    let domains = config.replace("mox.ron", "domains.ron");
    let files = ConfigFiles::load(Path::new(&config)).unwrap();
    let listening = Listening::bind(&files.data_dir().join("ctl")).unwrap();
    let served = Served {
        files: Mutex::new(files),
        passwords: Mutex::default(),
    };
    std::thread::spawn(move || smol::block_on(listening.serve(&served)));
    let run = |args: &[&str]| {
        let words = [&["--config", config.as_str(), "config"], args].concat();
        told(&with_input(&words, ""))
    };
    let done = |out: &str| (0, out.to_owned(), String::new());
    let refused = |why: &str| (1, String::new(), format!("moxctl: {why}\n"));
    assert_eq!(run(&["account", "add", "al", "al@bücher.example"]).0, 0);
    let before = fs::read_to_string(&domains).unwrap();
    assert_eq!(run(&["alias", "list"]), done("there are no aliases\n"));

    let (sales, jo, al) = (
        "Sales@bücher.example",
        "jo@bücher.example",
        "al@bücher.example",
    );
    assert_eq!(
        run(&["alias", "add", sales, "jo"]),
        done("mail for Sales@bücher.example goes to jo\n")
    );
    assert_eq!(
        run(&["alias", "add", "sales@bücher.example", al]),
        done("mail for sales@bücher.example goes to al@bücher.example\n")
    );
    assert_eq!(
        run(&["alias", "add", sales, "JO"]),
        refused("jo@bücher.example is a member of \"Sales@bücher.example\" already")
    );
    assert_eq!(
        run(&["alias", "add", sales, "nobody"]),
        refused(
            "no account has the address nobody@bücher.example; give it to an account, or correct the spelling"
        )
    );
    assert_eq!(
        run(&["alias", "list"]),
        done("Sales@bücher.example: jo@bücher.example, al@bücher.example\n")
    );
    let text = fs::read_to_string(&domains).unwrap();
    let may_send = text.replace("members: [", "members_may_send: true, members: [");
    fs::write(&domains, may_send).unwrap();
    assert_eq!(
        run(&["alias", "list"]),
        done("Sales@bücher.example: jo@bücher.example, al@bücher.example (members may send)\n")
    );
    fs::write(&domains, text).unwrap();

    assert_eq!(
        run(&["alias", "rm", sales, "nobody"]),
        refused("\"nobody\" is no member of \"Sales@bücher.example\"; check the spelling")
    );
    assert_eq!(
        run(&["alias", "rm", "sales@bücher.example", "AL"]),
        done("mail for sales@bücher.example goes to AL no longer\n")
    );
    assert_eq!(
        run(&["alias", "rm", sales, jo]),
        refused(
            "\"jo@bücher.example\" is the last member of \"Sales@bücher.example\"; remove the alias, \
             with moxctl config alias rm Sales@bücher.example"
        )
    );
    assert_eq!(
        run(&["alias", "rm", sales]),
        done("alias Sales@bücher.example removed\n")
    );
    assert_eq!(
        run(&["alias", "rm", sales]),
        refused("there is no alias \"Sales@bücher.example\"; check the spelling")
    );
    assert_eq!(run(&["alias", "list"]), done("there are no aliases\n"));
    // All else is as it was, comments too.
    let bare = |text: &str| {
        text.replacen("aliases: {}", "", 1)
            .replace([' ', '\n', ','], "")
    };
    let after = fs::read_to_string(&domains).unwrap();
    assert!(after.contains("aliases: {}"), "{after}");
    assert_eq!(bare(&after), bare(&before));
}

#[test]
fn with_a_server_they_are_done_and_the_comments_stay() {
    let scratch = Scratch::new("server");
    let (config, _) = quickstart(&scratch);
    let domains = config.replace("mox.ron", "domains.ron");
    let before = fs::read_to_string(&domains).unwrap();
    let files = ConfigFiles::load(Path::new(&config)).unwrap();
    let listening = Listening::bind(&files.data_dir().join("ctl")).unwrap();
    let served = Arc::new(Served {
        files: Mutex::new(files),
        passwords: Mutex::default(),
    });
    let handler = served.clone();
    std::thread::spawn(move || smol::block_on(listening.serve(&*handler)));
    let run = |args: &[&str], input: &str| {
        told(&with_input(
            &[&["--config", config.as_str()], args].concat(),
            input,
        ))
    };

    let (code, out, err) = run(&["config", "account", "add", "al", "al@bücher.example"], "");
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "account al with address al@bücher.example added; set its password with: moxctl setaccountpassword al\n"
    );
    assert_eq!(
        run(&["config", "address", "add", "@bücher.example", "al"], "").0,
        0
    );
    assert!(
        served
            .files
            .lock()
            .unwrap()
            .dynamic
            .accounts
            .contains_key("al")
    );
    assert_eq!(
        run(&["config", "address", "add", "x@nowhere.example", "al"], ""),
        (
            1,
            String::new(),
            "moxctl: \"x@nowhere.example\": the domain nowhere.example is not in domains; add it there, or correct the spelling\n".into()
        )
    );
    assert_eq!(
        run(&["config", "address", "rm", "@bücher.example"], "").1,
        "address @bücher.example removed\n"
    );
    let (code, out, _) = run(&["config", "address", "rm", "al@bücher.example"], "");
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "address al@bücher.example removed\n\
         account al has no address now: nothing can be sent to it; moxctl config address add gives it another, \
         moxctl config account rm al takes it away\n"
    );
    assert_eq!(run(&["config", "account", "rm", "al"], "").0, 0);
    assert_eq!(fs::read_to_string(&domains).unwrap(), before);

    assert_eq!(
        run(&["setaccountpassword", "jo"], "correct horse\nnot this\n").0,
        0
    );
    assert!(served.passwords.lock().unwrap()["jo"] == Secret::new("correct horse".into()));
    let (code, _, err) = run(&["setaccountpassword", "jo"], "");
    assert_eq!(code, 1);
    assert!(err.starts_with("moxctl: no password came: "), "{err}");
    let (code, _, err) = run(&["setaccountpassword", "jo"], "short\n");
    assert_eq!(code, 1);
    assert!(err.contains("at least 8 characters"), "{err}");
    let (code, out, _) = run(&["setaccountpassword", "--generate", "jo"], "");
    assert_eq!(code, 0);
    assert!(served.passwords.lock().unwrap()["jo"] == Secret::new(out.trim().into()));

    for (args, out) in [
        (&["retrain"][..], "the junk filters of 3 accounts"),
        (&["retrain", "--account", "jo"], "the junk filter of jo"),
    ] {
        let expected = format!("{out} will be learned again from the messages there are\n");
        assert_eq!(run(args, ""), (0, expected, String::new()));
    }
    let (code, out, _) = run(&["retrain", "--json"], "");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, out), (0, json!({"accounts": 3})));
    for (args, out) in [
        (
            &["retrain", "--status"][..],
            "al is not done yet\njo is not done yet\n",
        ),
        (
            &["retrain", "--status", "--account", "jo"],
            "nothing is left to learn\n",
        ),
    ] {
        assert_eq!(run(args, ""), (0, out.to_owned(), String::new()));
    }
    let (_, out, _) = run(&["retrain", "--status", "--json"], "");
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out, json!({"learning": ["al", "jo"]}));
    let (code, _, err) = run(&["retrain", "--account", "ed"], "");
    assert_eq!(code, 1);
    assert!(err.contains("there is no account \"ed\""), "{err}");

    assert_eq!(run(&["queue", "list"], "").1, "(empty)\n");
    assert_eq!(run(&["queue", "list", "--json"], "").1, "[]\n");
    assert_eq!(run(&["queue", "hold", "--all"], "").1, "0\n");
    let (code, _, err) = run(&["queue", "kick", "7"], "");
    assert_eq!(code, 1);
    assert!(err.contains("no entry 7"), "{err}");
    for args in [&["queue", "drop"][..], &["queue", "drop", "--all", "7"]] {
        let (code, _, err) = run(args, "");
        assert_eq!(code, 2, "{args:?}");
        assert!(err.contains("say which messages"), "{err}");
    }
    assert_eq!(run(&["queue", "reschedule", "--all"], "").0, 2);
    let (code, _, err) = run(&["queue", "list", "--older", "6"], "");
    assert_eq!(code, 2);
    assert!(err.contains("not a span of time"), "{err}");

    let (code, out, _) = run(&["explain", "bob@far.example"], "");
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "2026-01-02T03:04:05Z  abc\n\
         \x20 from <bob@far.example>, brought by mx.far.example  [192.0.2.1]\n\
         \x20 reply: 550 5.1.1 no such user here (id abc)\n\
         \x20 to <nobody@ours.example>: refuse (unknown-recipient)\n\
         \x20   * recipient: nobody has this address  recipient=nobody@ours.example\n\
         \x20   it would be accept if: there is such an address\n"
    );
    // What is too much for one answer is said beside it.
    let (code, all, err) = run(&["explain", "many@far.example"], "");
    assert_eq!((code, all), (0, out));
    assert!(err.contains("only the newest 1 are shown"), "{err}");
    let (code, _, err) = run(&["explain", "others@far.example", "--account", "jo"], "");
    assert_eq!(code, 1);
    assert!(
        err.contains("too many records about \"others@far.example\""),
        "{err}"
    );
    let (code, _, err) = run(&["explain", "nobody@far.example"], "");
    assert_eq!(code, 1);
    assert!(err.contains("nothing is known of"), "{err}");
    assert_eq!(run(&["explain"], "").0, 2);
}

#[test]
fn a_decision_is_made_again_from_its_record_alone() {
    let mut kept = serde_json::to_value([record()]).unwrap();
    let again = |kept: &Value| {
        let args = ["explain", "--from", "-", "--recompute"];
        told(&with_input(&args, &kept.to_string()))
    };
    let in_json = |kept: &Value| {
        let args = ["explain", "--from", "-", "--recompute", "--json"];
        let (code, out, _) = told(&with_input(&args, &kept.to_string()));
        (code, serde_json::from_str::<Value>(&out).unwrap())
    };
    let (code, out, err) = again(&kept);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "abc: agrees\n", ""));
    let agrees = json!([{
        "id": "abc", "agrees": true, "differences": [], "lacks": null, "again": kept[0],
    }]);
    assert_eq!(in_json(&kept), (0, agrees));
    // As cid --json writes it.
    let of_cid = json!({"at": 1_767_323_045, "records": kept});
    let (code, out, err) = again(&of_cid);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "abc: agrees\n", ""));
    kept[0]["recipients"][0]["recipient"]["standing"] = "known".into();
    let (code, out, err) = again(&kept);
    assert_eq!(code, 1);
    assert_eq!(
        out,
        "abc: nobody@ours.example was refuse (unknown-recipient), and is accept (recipient-taken) now\n"
    );
    assert!(err.contains("1 of 1 records decide otherwise now"), "{err}");
    let (code, told) = in_json(&kept);
    assert_eq!((code, &told[0]["agrees"]), (1, &json!(false)));
    let differs =
        "nobody@ours.example was refuse (unknown-recipient), and is accept (recipient-taken) now";
    assert_eq!(told[0]["differences"], json!([differs]));
    assert_eq!(
        told[0]["again"]["recipients"][0]["decision"]["verdict"],
        "accept"
    );
    let (code, _, err) = again(&json!({"not": "a record"}));
    assert_eq!(code, 1);
    assert!(err.contains("holds no records"), "{err}");
}

#[test]
fn verify_needs_a_store_that_nobody_else_has_open() {
    let scratch = Scratch::new("verify");
    let nowhere = scratch.path("nowhere");
    let (code, _, err) = told(&moxctl(&["verify", "--dir", nowhere.to_str().unwrap()]));
    assert_eq!(code, 1);
    assert!(err.contains("there is no store in"), "{err}");
    assert!(!nowhere.exists());
    let (config, _) = quickstart(&scratch);
    let data = ConfigFiles::load(Path::new(&config)).unwrap().data_dir();
    let offline = Offline::open(&data).unwrap();
    let (code, _, err) = told(&moxctl(&["verify", "--dir", data.to_str().unwrap()]));
    assert_eq!(code, 1);
    assert!(
        err.contains("a server, or another command, has the store of"),
        "{err}"
    );
    offline.close().unwrap();
}

#[test]
fn simulated_worlds_are_the_same_each_time_and_say_what_did_not_hold() {
    let scratch = Scratch::new("sim");
    let sim = |args: &[&str]| told(&moxctl(&[&["sim"], args].concat()));
    let hash = |out: &str| {
        let line = out.lines().find_map(|line| line.strip_prefix("hash "));
        line.unwrap().trim().to_owned()
    };
    let (code, out, err) = sim(&["--seed", "17"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(hash(&out).len(), 64);
    assert_eq!(sim(&["--seed", "17"]), (0, out.clone(), String::new()));
    assert_ne!(hash(&sim(&["--seed", "18"]).1), hash(&out));
    // In steps it is the same world.
    let (code, steps, _) = sim(&["--seed", "17", "--steps"]);
    assert!(code == 0 && steps.len() > out.len() && steps.ends_with(&out));
    assert_eq!(sim(&["--seed", "17", "--steps"]).1, steps);
    // Its plan is the same world too; one in which nobody has the time to be done is not a good one.
    let (code, plan, _) = sim(&["--seed", "17", "--shrink"]);
    assert_eq!(code, 0);
    let file = scratch.path("plan.ron");
    let name = file.to_str().unwrap();
    fs::write(&file, &plan).unwrap();
    assert_eq!(sim(&["--plan", name]), (0, out, String::new()));
    let hasty = plan.replace("secs: 2592000,", "secs: 1,");
    assert_ne!(hasty, plan);
    fs::write(&file, hasty).unwrap();
    let (code, _, err) = sim(&["--plan", name]);
    assert_eq!(code, 1);
    let found = "moxctl: this did not hold:\n  the end of time has come";
    assert!(err.contains(found), "{err}");
    fs::write(&file, "(seed: 1,\n knobs: (lat)").unwrap();
    let (code, _, err) = sim(&["--plan", name]);
    assert!(
        code == 1 && err.starts_with(&format!("moxctl: {name}:2:")),
        "{err}"
    );
    // Many worlds: only how long they took differs.
    let (code, out, err) = sim(&["--seeds", "2", "--from", "17"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("\nfailing worlds          0\ntook "), "{out}");
    let figures = |out: &str| out.split("\ntook ").next().unwrap().to_owned();
    let again = sim(&["--seeds", "2", "--from", "17"]).1;
    assert_eq!(figures(&again), figures(&out));
    assert_ne!(figures(&sim(&["--seeds", "2"]).1), figures(&out));
    for wrong in [
        &[][..],
        &["--seed", "1", "--plan", name],
        &["--from", "1"],
        &["--seeds", "1", "--steps"],
        &["--seeds", "1", "--shrink"],
        &["--seeds", "2", "--from", "18446744073709551615"],
    ] {
        let (code, out, err) = sim(wrong);
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?} {err}");
    }
}
