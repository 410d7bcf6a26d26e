//! The smol runtime over the loopback interface.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use core::time::Duration;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, future};
use mox_driver::{Bind, Datagram, Pool, Runtime, Timer};
use mox_machine::{Mono, Seed};
use mox_runtime_smol::{SmolRuntime, SmolStream, SmolTimer, os_seed};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn runtime(threads: usize) -> SmolRuntime {
    SmolRuntime::start(threads, Seed::from_number(1)).unwrap()
}

async fn sleep(runtime: &SmolRuntime, time: Duration) {
    let mut timer = runtime.timer();
    timer.arm(Some(runtime.now().mono + time));
    future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// Sends back what it reads until the peer closes its direction.
async fn echo(mut stream: SmolStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return stream.close().await;
        }
        stream.write_all(&buffer[..got]).await?;
    }
}

/// Listens and echoes; where.
fn echo_server(runtime: &SmolRuntime, ip: IpAddr) -> SocketAddr {
    let listener = runtime.listen(Bind::Addr((ip, 0).into())).unwrap();
    let address = runtime.local_addr(&listener).unwrap();
    let serving = runtime.clone();
    runtime.spawn_service(
        "echo",
        Box::pin(async move {
            while let Ok((stream, _)) = serving.accept(&listener).await {
                serving.spawn_session(
                    "echo",
                    Box::pin(async move { echo(stream).await.unwrap_or_default() }),
                );
            }
        }),
    );
    address
}

#[test]
fn what_is_sent_comes_back_and_a_half_close_is_answered_by_one() {
    let runtime = runtime(2);
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        let address = echo_server(&runtime, ip);
        let connecting = runtime.connect(address, None);
        let back = runtime.run_until(async move {
            let mut stream = connecting.await.unwrap();
            stream.write_all(b"over there").await.unwrap();
            stream.close().await.unwrap();
            let mut back = String::new();
            stream.read_to_string(&mut back).await.unwrap();
            back
        });
        assert_eq!(back, "over there");
    }
    runtime.stop(Duration::from_secs(5));
    assert_eq!(runtime.health().sessions, [0, 0]);
}

#[test]
fn a_thousand_connections_live_at_once_spread_over_the_threads() {
    const MANY: usize = 1_000;
    let runtime = runtime(2);
    let address = echo_server(&runtime, Ipv4Addr::LOCALHOST.into());
    runtime.run_until(async {
        let mut streams = Vec::new();
        for n in 0..MANY {
            let mut stream = runtime.connect(address, None).await.unwrap();
            stream.write_all(&(n as u32).to_le_bytes()).await.unwrap();
            streams.push(stream);
        }
        for (n, stream) in streams.iter_mut().enumerate() {
            let mut back = [0; 4];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(u32::from_le_bytes(back), n as u32);
        }
        assert_eq!(runtime.health().sessions, [MANY / 2, MANY / 2]);
    });
    runtime.stop(Duration::from_secs(5));
    assert_eq!(runtime.health().sessions, [0, 0]);
}

#[test]
fn a_connection_comes_from_the_address_that_was_asked_for() {
    let runtime = runtime(1);
    let listener = runtime
        .listen(Bind::Addr((Ipv4Addr::LOCALHOST, 0).into()))
        .unwrap();
    let address = runtime.local_addr(&listener).unwrap();
    let from = Ipv4Addr::new(127, 0, 0, 9).into();
    runtime.run_until(async {
        let _stream = runtime.connect(address, Some(from)).await.unwrap();
        let (_accepted, peer) = runtime.accept(&listener).await.unwrap();
        assert_eq!(peer.ip(), from);
    });
    drop(listener);
    let refused = runtime.run_until(runtime.connect(address, None));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn both_families_listen_on_one_port_and_an_inherited_socket_is_taken_once() {
    let inherited = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = inherited.local_addr().unwrap().port();
    let named = [("smtp".to_owned(), inherited)].into();
    let runtime = SmolRuntime::start_with(1, os_seed().unwrap(), named).unwrap();
    let taken = runtime.listen(Bind::Inherited("smtp".to_owned())).unwrap();
    assert_eq!(runtime.local_addr(&taken).unwrap().port(), port);
    let again = runtime.listen(Bind::Inherited("smtp".to_owned()));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::NotFound);

    let any = (Ipv4Addr::UNSPECIFIED, 0).into();
    let four = runtime.listen(Bind::Addr(any)).unwrap();
    let port = runtime.local_addr(&four).unwrap().port();
    runtime
        .listen(Bind::Addr((Ipv6Addr::UNSPECIFIED, port).into()))
        .unwrap();
}

#[test]
fn timers_fire_when_armed_and_only_then() {
    let runtime = runtime(1);
    let began = Instant::now();
    runtime.run_until(sleep(&runtime, Duration::from_millis(30)));
    assert!(began.elapsed() >= Duration::from_millis(30));

    let fired = |mut timer: SmolTimer| {
        let wait = async move { future::poll_fn(|cx| timer.poll_fired(cx)).await };
        let give_up = sleep(&runtime, Duration::from_millis(50));
        runtime.run_until(
            async {
                wait.await;
                true
            }
            .or(async {
                give_up.await;
                false
            }),
        )
    };
    let mut disarmed = runtime.timer();
    disarmed.arm(Some(runtime.now().mono));
    disarmed.arm(None);
    assert!(!fired(disarmed));
    let mut never = runtime.timer();
    never.arm(Some(Mono(u64::MAX)));
    assert!(!fired(never));
    let mut past = runtime.timer();
    past.arm(Some(Mono(0)));
    assert!(fired(past));
    let mut twice = runtime.timer();
    twice.arm(Some(Mono(0)));
    runtime.run_until(future::poll_fn(|cx| twice.poll_fired(cx)));
    assert!(!fired(twice), "ready disarms");
}

#[test]
fn datagrams_go_there_and_back_and_are_cut_to_the_buffer() {
    let runtime = runtime(1);
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = peer.local_addr().unwrap();
    runtime.run_until(async {
        let mut socket = runtime.udp(address).await.unwrap();
        socket.send(b"question").await.unwrap();
        let mut buffer = [0; 64];
        let (got, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..got], b"question");
        peer.send_to(b"a long answer", from).unwrap();
        let mut short = [0; 6];
        assert_eq!(socket.recv(&mut short).await.unwrap(), 6);
        assert_eq!(&short, b"a long");
    });
}

#[test]
fn each_class_of_blocking_work_has_its_own_bound() {
    let runtime = runtime(1);
    for (class, bound) in [(Pool::Commit, 1), (Pool::Bodies, 16)] {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut jobs = Vec::new();
        for n in 0..40usize {
            let (running, most) = (running.clone(), most.clone());
            jobs.push(runtime.blocking(
                class,
                Box::new(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(3));
                    running.fetch_sub(1, Ordering::SeqCst);
                    n
                }),
            ));
        }
        let done = runtime.run_until(all(jobs));
        assert_eq!(done, (0..40).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), bound, "{class:?}");
    }
}

/// Every output, in order, all futures running at once.
async fn all<T>(mut futures: Vec<mox_driver::Fut<T>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let core::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            core::task::Poll::Ready(())
        } else {
            core::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[test]
fn a_panicking_session_ends_alone_and_is_counted() {
    let runtime = runtime(1);
    let address = echo_server(&runtime, Ipv4Addr::LOCALHOST.into());
    runtime.spawn_session("broken", Box::pin(async { panic!("on purpose") }));
    runtime.run_until(async {
        let mut stream = runtime.connect(address, None).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
    });
    assert_eq!(runtime.health().panics, 1);
    assert!(runtime.health().longest_poll > Duration::ZERO);
    runtime.stop(Duration::from_secs(5));
    assert_eq!(runtime.health().sessions, [0]);
}

#[test]
fn stopping_drops_sessions_that_outstay_the_grace_and_services_too() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let runtime = runtime(2);
    for _ in 0..5 {
        let (held, inside) = (Dropped(dropped.clone()), runtime.clone());
        runtime.spawn_session(
            "stays",
            Box::pin(async move {
                sleep(&inside, Duration::from_secs(3_600)).await;
                drop(held);
            }),
        );
    }
    let (held, inside) = (Dropped(dropped.clone()), runtime.clone());
    runtime.spawn_service(
        "stays",
        Box::pin(async move {
            sleep(&inside, Duration::from_secs(3_600)).await;
            drop(held);
        }),
    );
    let began = Instant::now();
    runtime.stop(Duration::from_millis(50));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(dropped.load(Ordering::SeqCst), 6);
    runtime.spawn_session("late", Box::pin(async { panic!("it never runs") }));
    assert_eq!(runtime.health().sessions, [0, 0]);
}

#[test]
fn every_seed_is_another_one_and_the_same_root_gives_the_same() {
    let seeds = |root| {
        let runtime = SmolRuntime::start(1, Seed::from_number(root)).unwrap();
        [runtime.seed("a"), runtime.seed("a"), runtime.seed("b")]
    };
    let [first, second, third] = seeds(1);
    assert!(first != second && second != third && first != third);
    assert_eq!(seeds(1), [first, second, third]);
    assert_ne!(os_seed().unwrap(), os_seed().unwrap());
}

/// Runs this test again in a process of its own, which is expected to end itself.
fn exit_code_of(test: &str, how: &str) -> Option<i32> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("MOX_TEST_SERVICE", how)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    None
}

#[test]
fn a_service_that_panics_or_ends_stops_the_process_with_70() {
    const NAME: &str = "a_service_that_panics_or_ends_stops_the_process_with_70";
    let Ok(how) = std::env::var("MOX_TEST_SERVICE") else {
        assert_eq!(exit_code_of(NAME, "panics"), Some(70));
        assert_eq!(exit_code_of(NAME, "ends"), Some(70));
        assert_eq!(exit_code_of(NAME, "stays"), Some(0));
        assert_eq!(exit_code_of(NAME, "ends in order"), Some(0));
        return;
    };
    let runtime = runtime(1);
    if how == "ends in order" {
        runtime.stopping();
    }
    let service = async move {
        match how.as_str() {
            "panics" => panic!("on purpose"),
            "ends" | "ends in order" => {}
            _ => future::pending().await,
        }
    };
    runtime.spawn_service("test", Box::pin(service));
    runtime.run_until(sleep(&runtime, Duration::from_secs(1)));
    runtime.stop(Duration::ZERO);
}
