//! The ctl socket: both sides, and what comes of requests that are none.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod scratch;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread;

use mox_cli::Failure;
use mox_cli::config_files::ConfigEdit;
use mox_cli::ctl::{
    Command, CtlError, Handler, Listening, PEERS_MAX, Password, QueuePage, REQUEST_MAX, ask, call,
};
use mox_machine::Secret;
use scratch::Scratch;
use serde_json::{Value, json};

/// Remembers what it was asked.
#[derive(Default)]
struct Seen(Mutex<Vec<Command>>);

impl Handler for Seen {
    fn handle(
        &self,
        command: Command,
    ) -> Pin<Box<dyn Future<Output = Result<Value, CtlError>> + Send + '_>> {
        Box::pin(async move {
            self.0.lock().unwrap().push(command.clone());
            match command {
                Command::QueueList { from, .. } => Ok(json!({
                    "items": [{"id": from, "queued": "q", "from": "a@b", "to": ["c@d"],
                        "account": null, "size": 1, "transaction": "t", "attempts": 0, "next": "n",
                        "hold": false, "last": null, "transport": "direct", "routed": false}],
                    "next": null,
                })),
                Command::SetPassword { account, .. } if account == "nobody" => Err(
                    CtlError::failed("there is no account \"nobody\"; check the spelling"),
                ),
                _ => Ok(Value::Null),
            }
        })
    }
}

/// A server on a socket of its own, until the scratch directory goes.
fn server(name: &str) -> (Scratch, PathBuf, Arc<Seen>) {
    let scratch = Scratch::new(name);
    let socket = scratch.path("ctl");
    let seen = Arc::new(Seen::default());
    let (listening, handler) = (Listening::bind(&socket).unwrap(), seen.clone());
    thread::spawn(move || smol::block_on(listening.serve(&*handler)));
    (scratch, socket, seen)
}

/// Sends bytes as they are and reads what comes until the server closes.
fn raw(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let _ = stream.write_all(bytes);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply
}

#[test]
fn commands_arrive_whole_and_are_answered() {
    let (_scratch, socket, seen) = server("roundtrip");
    let commands = [
        Command::Config(ConfigEdit::AddAccount {
            account: "jo".into(),
            address: "jo@x.example".into(),
        }),
        Command::Config(ConfigEdit::RemoveAddress {
            address: "\"a\\\"b\"@bücher.example".into(),
        }),
        Command::SetPassword {
            account: "jo".into(),
            password: Password(Secret::new("p\"\\ü\n".into())),
        },
    ];
    for command in &commands {
        assert_eq!(call(&socket, command), Ok(Value::Null));
    }
    let page: QueuePage = ask(
        &socket,
        &Command::QueueList {
            from: 7,
            select: mox_cli::ctl::QueueSelection::default(),
        },
    )
    .unwrap();
    let item = &page.items[0];
    assert_eq!((item.id, &item.to[..]), (7, &["c@d".to_owned()][..]));
    assert_eq!(page.next, None);
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen[..3], commands);
    assert!(!format!("{seen:?}").contains("ü\\n"), "{seen:?}");
}

#[test]
fn what_cannot_be_done_is_told_in_the_servers_words() {
    let (_scratch, socket, _) = server("failed");
    let command = Command::SetPassword {
        account: "nobody".into(),
        password: Password(Secret::new("x".into())),
    };
    assert_eq!(
        call(&socket, &command),
        Err(Failure::Failed(
            "there is no account \"nobody\"; check the spelling".into()
        ))
    );
}

#[test]
fn several_requests_go_over_one_connection_also_byte_by_byte() {
    let (_scratch, socket, _) = server("several");
    let one = b"{\"v\":2,\"id\":7,\"command\":{\"queue_list\":{\"from\":0}}}\n".to_vec();
    let two =
        b"{\"v\":2,\"id\":8,\"command\":{\"config\":{\"remove_account\":{\"account\":\"x\"}}}}\n";
    let mut stream = UnixStream::connect(&socket).unwrap();
    for byte in [&one[..], two].concat() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut lines = BufReader::new(stream).lines();
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .starts_with("{\"v\":2,\"id\":7,\"ok\":{\"items\":[{")
    );
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "{\"v\":2,\"id\":8,\"ok\":null}"
    );
}

#[test]
fn requests_of_another_version_are_refused_by_number() {
    let (_scratch, socket, seen) = server("version");
    let reply = raw(&socket, b"{\"v\":1,\"id\":9,\"command\":{\"fly\":{}}}\n{\"v\":2,\"id\":10,\"command\":{\"queue_list\":{\"from\":0}}}\n");
    assert_eq!(
        reply,
        "{\"v\":2,\"id\":9,\"error\":{\"code\":\"version\",\"message\":\"this server speaks version 2 of the ctl protocol, \
         not 1; use the moxctl it was installed with\"}}\n"
    );
    assert!(seen.0.lock().unwrap().is_empty());
}

#[test]
fn what_is_no_request_is_refused_without_quoting_it() {
    let (_scratch, socket, seen) = server("malformed");
    for (bytes, id) in [
        (&b"hello hunter2\n"[..], 0),
        (b"{\"id\":1}\n", 0),
        (b"{\"v\":2,\"id\":5,\"command\":{\"fly\":\"hunter2\"}}\n", 5),
        (
            b"{\"v\":2,\"id\":5,\"command\":{\"set_password\":{\"account\":\"hunter2\"}}}\n",
            5,
        ),
        (b"\xff\xfe\n", 0),
        (b"\n", 0),
    ] {
        let reply: Value = serde_json::from_str(&raw(&socket, bytes)).unwrap();
        assert_eq!(
            (&reply["error"]["code"], &reply["id"]),
            (&json!("malformed"), &json!(id))
        );
        assert!(!reply.to_string().contains("hunter2"), "{reply}");
    }
    assert!(seen.0.lock().unwrap().is_empty());
}

#[test]
fn a_line_that_is_too_long_is_refused_and_one_that_just_fits_is_not() {
    let (_scratch, socket, seen) = server("long");
    let line = |length: usize| {
        let frame =
            "{\"v\":2,\"id\":3,\"command\":{\"config\":{\"remove_account\":{\"account\":\"\"}}}}\n";
        frame
            .replace("\"\"", &format!("\"{}\"", "x".repeat(length - frame.len())))
            .into_bytes()
    };
    assert_eq!(
        raw(&socket, &line(REQUEST_MAX)),
        "{\"v\":2,\"id\":3,\"ok\":null}\n"
    );
    let reply: Value = serde_json::from_str(&raw(&socket, &vec![b'x'; REQUEST_MAX + 1])).unwrap();
    assert_eq!(reply["error"]["code"], "too_long");
    assert_eq!(seen.0.lock().unwrap().len(), 1);
    // Without an end, too: nothing is kept beyond the limit.
    assert_eq!(raw(&socket, b"{\"v\":2"), "");
}

#[test]
fn connections_are_limited_and_come_back() {
    let (_scratch, socket, _) = server("busy");
    let held: Vec<UnixStream> = (0..PEERS_MAX)
        .map(|_| UnixStream::connect(&socket).unwrap())
        .collect();
    thread::sleep(std::time::Duration::from_millis(100));
    let refused = call(
        &socket,
        &Command::QueueList {
            from: 0,
            select: mox_cli::ctl::QueueSelection::default(),
        },
    )
    .unwrap_err();
    assert_eq!(
        refused,
        Failure::Failed("too many are connected; try again".into())
    );
    drop(held);
    thread::sleep(std::time::Duration::from_millis(100));
    assert!(
        call(
            &socket,
            &Command::QueueList {
                from: 0,
                select: mox_cli::ctl::QueueSelection::default()
            }
        )
        .is_ok()
    );
}

#[test]
fn the_socket_is_private_replaces_a_dead_one_and_spares_a_living_one() {
    let scratch = Scratch::new("bind");
    let path = scratch.path("ctl");
    let first = Listening::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        Listening::bind(&path).unwrap_err().kind(),
        std::io::ErrorKind::AddrInUse
    );
    assert!(path.exists());
    drop(first);
    assert!(!path.exists());
    assert!(matches!(
        call(
            &path,
            &Command::QueueList {
                from: 0,
                select: mox_cli::ctl::QueueSelection::default()
            }
        ),
        Err(Failure::NoServer(_))
    ));
    // Left over by a process that died.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(matches!(
        call(
            &path,
            &Command::QueueList {
                from: 0,
                select: mox_cli::ctl::QueueSelection::default()
            }
        ),
        Err(Failure::NoServer(_))
    ));
    drop(Listening::bind(&path).unwrap());
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(
        Listening::bind(&path).unwrap_err().kind(),
        std::io::ErrorKind::AlreadyExists
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
