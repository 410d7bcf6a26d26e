//! What every runtime over real sockets must do, for the tests of each.

use core::task::Poll;
use core::time::Duration;
use futures_lite::{AsyncReadExt, AsyncWriteExt, FutureExt, future};
use mox_driver::{Bind, Datagram, Fut, Pool, Runtime, Timer};
use mox_machine::{Mono, Seed};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Instant;

pub async fn sleep<R: Runtime>(runtime: &R, time: Duration) {
    let mut timer = runtime.timer();
    timer.arm(Some(runtime.now().mono + time));
    future::poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// Sends back what it reads until the peer closes its direction.
async fn echo<R: Runtime>(mut stream: R::Stream) -> io::Result<()> {
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
pub fn echo_server<R: Runtime>(runtime: &R, ip: IpAddr) -> SocketAddr {
    let listener = runtime.listen(Bind::Addr((ip, 0).into())).unwrap();
    let address = runtime.local_addr(&listener).unwrap();
    let serving = runtime.clone();
    let accepting = async move {
        while let Ok((stream, _)) = serving.accept(&listener).await {
            let session = async move { echo::<R>(stream).await.unwrap_or_default() };
            serving.spawn_session("echo", Box::pin(session));
        }
    };
    runtime.spawn_service("echo", Box::pin(accepting));
    address
}

pub async fn what_is_sent_comes_back_and_a_half_close_is_answered_by_one<R: Runtime>(runtime: R) {
    for ip in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        let address = echo_server(&runtime, ip);
        let mut stream = runtime.connect(address, None).await.unwrap();
        stream.write_all(b"over there").await.unwrap();
        stream.close().await.unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).await.unwrap();
        assert_eq!(back, "over there");
    }
}

/// `live` is called while all of them are open.
pub async fn many_connections_live_at_once<R: Runtime>(runtime: R, many: u32, live: impl FnOnce()) {
    let address = echo_server(&runtime, Ipv4Addr::LOCALHOST.into());
    let mut streams = Vec::new();
    for n in 0..many {
        let mut stream = runtime.connect(address, None).await.unwrap();
        stream.write_all(&n.to_le_bytes()).await.unwrap();
        streams.push(stream);
    }
    for (n, stream) in (0..many).zip(&mut streams) {
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(u32::from_le_bytes(back), n);
    }
    live();
}

pub async fn a_connection_comes_from_the_address_that_was_asked_for<R: Runtime>(runtime: R) {
    let listener = runtime
        .listen(Bind::Addr((Ipv4Addr::LOCALHOST, 0).into()))
        .unwrap();
    let address = runtime.local_addr(&listener).unwrap();
    let from = Ipv4Addr::new(127, 0, 0, 9).into();
    let _stream = runtime.connect(address, Some(from)).await.unwrap();
    let (accepted, peer) = runtime.accept(&listener).await.unwrap();
    assert_eq!(peer.ip(), from);
    drop((accepted, listener));
    let refused = runtime.connect(address, None).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// The runtime was given a socket called `smtp` on `port`.
pub async fn both_families_listen_on_one_port_and_an_inherited_socket_is_taken_once<R: Runtime>(
    runtime: R,
    port: u16,
) {
    let taken = runtime.listen(Bind::Inherited("smtp".to_owned())).unwrap();
    assert_eq!(runtime.local_addr(&taken).unwrap().port(), port);
    let connecting = runtime.connect((Ipv4Addr::LOCALHOST, port).into(), None);
    connecting.await.unwrap();
    runtime.accept(&taken).await.unwrap();
    let again = runtime.listen(Bind::Inherited("smtp".to_owned()));
    assert_eq!(again.err().unwrap().kind(), ErrorKind::NotFound);

    let any = (Ipv4Addr::UNSPECIFIED, 0).into();
    let four = runtime.listen(Bind::Addr(any)).unwrap();
    let port = runtime.local_addr(&four).unwrap().port();
    let six = runtime.listen(Bind::Addr((Ipv6Addr::UNSPECIFIED, port).into()));
    assert!(six.is_ok());
}

pub async fn timers_fire_when_armed_and_only_then<R: Runtime>(runtime: R) {
    let began = Instant::now();
    sleep(&runtime, Duration::from_millis(30)).await;
    assert!(began.elapsed() >= Duration::from_millis(30));

    let fired = async |mut timer: R::Timer| {
        let fires = async {
            future::poll_fn(|cx| timer.poll_fired(cx)).await;
            true
        };
        let gives_up = async {
            sleep(&runtime, Duration::from_millis(50)).await;
            false
        };
        fires.or(gives_up).await
    };
    let mut disarmed = runtime.timer();
    disarmed.arm(Some(runtime.now().mono));
    disarmed.arm(None);
    assert!(!fired(disarmed).await);
    let mut never = runtime.timer();
    never.arm(Some(Mono(u64::MAX)));
    assert!(!fired(never).await);
    let mut past = runtime.timer();
    past.arm(Some(Mono(0)));
    assert!(fired(past).await);
    let mut twice = runtime.timer();
    twice.arm(Some(Mono(0)));
    future::poll_fn(|cx| twice.poll_fired(cx)).await;
    assert!(!fired(twice).await, "ready disarms");
    let mut again = runtime.timer();
    again.arm(Some(runtime.now().mono + Duration::from_secs(3_600)));
    assert!(
        future::poll_once(future::poll_fn(|cx| again.poll_fired(cx)))
            .await
            .is_none()
    );
    again.arm(Some(runtime.now().mono));
    assert!(fired(again).await, "armed earlier");
}

pub async fn datagrams_go_there_and_back_and_are_cut_to_the_buffer<R: Runtime>(runtime: R) {
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut socket = runtime.udp(peer.local_addr().unwrap()).await.unwrap();
    socket.send(b"question").await.unwrap();
    let mut buffer = [0; 64];
    let (got, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..got], b"question");
    peer.send_to(b"a long answer", from).unwrap();
    let mut short = [0; 6];
    assert_eq!(socket.recv(&mut short).await.unwrap(), 6);
    assert_eq!(&short, b"a long");
}

pub async fn each_class_of_blocking_work_has_its_own_bound<R: Runtime>(runtime: R) {
    for (class, bound) in [(Pool::Commit, 1), (Pool::Bodies, 16)] {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // None goes on before so many run at once; more would be counted.
        let together = Arc::new(Barrier::new(bound));
        let mut jobs = Vec::new();
        for n in 0..3 * bound {
            let (running, most, together) = (running.clone(), most.clone(), together.clone());
            let work = move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                together.wait();
                running.fetch_sub(1, Ordering::SeqCst);
                n
            };
            jobs.push(runtime.blocking(class, Box::new(work)));
        }
        assert_eq!(all(jobs).await, (0..3 * bound).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), bound, "{class:?}");
    }
}

/// Every output, in order, all futures running at once.
async fn all<T>(mut futures: Vec<Fut<T>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Other sessions go on.
pub async fn a_panicking_session_ends_alone<R: Runtime>(runtime: R) {
    let address = echo_server(&runtime, Ipv4Addr::LOCALHOST.into());
    let mut before = runtime.connect(address, None).await.unwrap();
    runtime.spawn_session("broken", Box::pin(async { panic!("on purpose") }));
    let mut after = runtime.connect(address, None).await.unwrap();
    for stream in [&mut before, &mut after] {
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
    }
}

pub fn every_seed_is_another_one_and_the_same_root_gives_the_same<R: Runtime>(
    make: impl Fn(Seed) -> R,
) {
    let seeds = |root| {
        let runtime = make(Seed::from_number(root));
        [runtime.seed("a"), runtime.seed("a"), runtime.seed("b")]
    };
    let [first, second, third] = seeds(1);
    assert!(first != second && second != third && first != third);
    assert_eq!(seeds(1), [first, second, third]);
}

/// What `spawn_service` is given in a process of its own, see [`exit_code_of`].
pub async fn service(how: String) {
    match how.as_str() {
        "panics" => panic!("on purpose"),
        "ends" | "ends in order" => {}
        _ => future::pending().await,
    }
}

/// How a process ends that runs such a service for a second, and then ends itself with 0.
pub const SERVICES: [(&str, i32); 4] = [
    ("panics", 70),
    ("ends", 70),
    ("stays", 0),
    ("ends in order", 0),
];

/// Runs a test of this program again in a process of its own, which is expected to end itself. It finds `how` in
/// `$MOX_TEST_SERVICE`.
pub fn exit_code_of(test: &str, how: &str) -> Option<i32> {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("MOX_TEST_SERVICE", how)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
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
