//! The examples do what they say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

#[path = "../examples/sink.rs"]
mod sink;
#[path = "../examples/whole_server.rs"]
mod whole_server;

use futures_lite::io::BufReader;
use futures_lite::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use mox_driver::{Bind, Runtime};
use mox_machine::Seed;
use mox_node::Service;
use mox_runtime_tokio::TokioRuntime;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Says each line once what was said before has been answered; everything the server says.
async fn talk(runtime: &TokioRuntime, to: SocketAddr, lines: &[(&str, &str)]) -> String {
    let mut stream = BufReader::new(runtime.connect(to, None).await.unwrap());
    let mut heard = String::new();
    for (until, say) in lines {
        loop {
            let mut line = String::new();
            let got = stream.read_line(&mut line).await.unwrap();
            assert!(got > 0, "waiting for {until:?} after {heard}");
            heard.push_str(&line);
            if line.starts_with(until) {
                break;
            }
        }
        let said = stream.get_mut().write_all(say.as_bytes());
        said.await.unwrap();
    }
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    heard + &rest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sink_takes_mail_for_its_domain_only() {
    let runtime = TokioRuntime::current(Seed::from_number(1));
    let listener = runtime
        .listen(Bind::Addr(([127, 0, 0, 1], 0).into()))
        .unwrap();
    let address = runtime.local_addr(&listener).unwrap();
    let taken: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let keep = taken.clone();
    let take = move |message: &[u8]| keep.lock().unwrap().push(message.to_vec());
    let config = sink::config("localhost").unwrap();
    tokio::spawn(sink::serve(runtime.clone(), listener, config, take));

    let heard = talk(
        &runtime,
        address,
        &[
            ("220 ", "EHLO c.example\r\n"),
            ("250 ", "MAIL FROM:<a@c.example>\r\n"),
            ("250 ", "RCPT TO:<b@elsewhere.example>\r\n"),
            ("550 5.7.1 Not served here", "RCPT TO:<b@localhost>\r\n"),
            ("250 ", "DATA\r\n"),
            ("354 ", "Subject: one\r\n\r\n..\r\n.\r\n"),
            ("250 2.0.0 1 stored", "QUIT\r\n"),
        ],
    )
    .await;
    assert!(heard.ends_with("221 2.0.0 Bye\r\n"), "{heard}");
    assert_eq!(*taken.lock().unwrap(), [b"Subject: one\r\n\r\n.\r\n"]);
}

#[test]
fn the_whole_server_on_tokio_keeps_its_mail_over_a_restart() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("whole-server-{}", std::process::id()));
    let tokio = || tokio::runtime::Runtime::new().unwrap();
    let ports = [(Service::Smtp, 0), (Service::Imap, 0)];

    tokio().block_on(async {
        let runtime = TokioRuntime::current(Seed::from_number(1));
        let (node, addresses) = whole_server::start(&runtime, &dir, &ports).await.unwrap();
        let heard = talk(
            &runtime,
            addresses[0],
            &[
                ("220 ", "EHLO c.example\r\n"),
                ("250 ", "MAIL FROM:<a@c.example>\r\n"),
                ("250 ", "RCPT TO:<mox@localhost>\r\n"),
                ("250 ", "DATA\r\n"),
                ("354 ", "Subject: kept\r\n\r\nIt works.\r\n.\r\n"),
                ("250 ", "QUIT\r\n"),
            ],
        )
        .await;
        assert!(heard.ends_with("221 2.0.0 Bye\r\n"), "{heard}");
        runtime.stopping();
        assert!(node.drain().await);
    });

    tokio().block_on(async {
        let runtime = TokioRuntime::current(Seed::from_number(2));
        let (node, addresses) = whole_server::start(&runtime, &dir, &ports).await.unwrap();
        let heard = talk(
            &runtime,
            addresses[1],
            &[
                ("* OK ", "a LOGIN mox@localhost moxmoxmox\r\n"),
                ("a OK ", "b SELECT INBOX\r\n"),
                ("b OK ", "c FETCH 1 BODY[TEXT]\r\n"),
                ("c OK ", "d LOGOUT\r\n"),
            ],
        )
        .await;
        assert!(heard.contains("* 1 EXISTS\r\n"), "{heard}");
        assert!(heard.contains("{11}\r\nIt works.\r\n"), "{heard}");
        runtime.stopping();
        assert!(node.drain().await);
    });
    assert_eq!(
        mox_store::verify_directory(&dir, true).unwrap(),
        mox_store::Verified::default()
    );
    std::fs::remove_dir_all(dir).unwrap();
}
