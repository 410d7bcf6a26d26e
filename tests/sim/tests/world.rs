//! The simulator itself: what it promises to whoever tests with it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

use bytes::{Bytes, BytesMut};
use core::task::{Context, Poll};
use core::time::Duration;
use futures_lite::future::{poll_fn, zip};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use mox_driver::{Bind, Datagram, Drive, End, Host, Pool, Runtime, Timer};
use mox_machine::{AskId, AskIds, Line, LineReader, Mono, Now, Session, Step, TlsFacts};
use mox_sim::{Dialogue, Knobs, Mail, Sim, SimRuntime};
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const PORT: u16 = 7;

/// Answers each line by itself, in capitals from the host, until `quit`; impatient after a minute.
#[derive(Default)]
struct Shout {
    ids: AskIds,
    lines: LineReader,
    steps: VecDeque<Step<String, String>>,
    open: usize,
    deadline: Option<Mono>,
}

impl Session for Shout {
    type Ask = String;
    type Answer = String;
    type Event = String;

    fn recv(&mut self, now: Now, input: &mut BytesMut) {
        self.deadline = Some(now.mono + Duration::from_secs(60));
        if let Line::Complete(line) = self.lines.take(input, 10_000) {
            let text = String::from_utf8(line.to_vec()).unwrap();
            if text == "quit" {
                self.steps.push_back(Step::Close);
            } else {
                self.open += 1;
                self.steps.push_back(Step::Ask(self.ids.next_id(), text));
            }
        }
    }
    fn eof(&mut self, _: Now) {
        self.steps.push_back(Step::Close);
    }
    fn secured(&mut self, _: Now, _: TlsFacts) {}
    fn answer(&mut self, _: Now, _: AskId, answer: String) {
        self.open -= 1;
        self.steps
            .push_back(Step::Send(Bytes::from(answer + "\r\n")));
    }
    fn tick(&mut self, now: Now) {
        if self.deadline.is_some_and(|at| at <= now.mono) {
            self.deadline = None;
            self.steps.push_back(Step::Event("impatient".into()));
            self.steps.push_back(Step::Close);
        }
    }
    fn deadline(&self) -> Option<(Mono, &'static str)> {
        self.deadline.map(|at| (at, "idle"))
    }
    fn drain(&mut self, _: Now) {}
    fn wants_read(&self) -> bool {
        self.open == 0
    }
    fn poll(&mut self) -> Option<Step<String, String>> {
        self.steps.pop_front()
    }
}

/// Answers in capitals, through a job on a pool.
struct Capitals {
    computer: SimRuntime,
    jobs: Vec<(AskId, mox_driver::Fut<String>)>,
}

impl Host<Shout> for Capitals {
    fn ask(&mut self, id: AskId, ask: String) {
        let work = Box::new(move || ask.to_uppercase());
        self.jobs
            .push((id, self.computer.blocking(Pool::Compute, work)));
    }
    fn cancel(&mut self, _: AskId) {}
    fn event(&mut self, event: String) {
        self.computer.sim().record("event", event.as_bytes());
    }
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(AskId, String)> {
        for at in 0..self.jobs.len() {
            if let Poll::Ready(answer) = self.jobs[at].1.as_mut().poll(cx) {
                return Poll::Ready((self.jobs.swap_remove(at).0, answer));
            }
        }
        Poll::Pending
    }
}

/// Runs a shouting server on a computer; its ends.
fn shout_on(computer: &SimRuntime) -> Arc<Mutex<Vec<String>>> {
    let ends = Arc::<Mutex<Vec<String>>>::default();
    let (serving, told) = (computer.clone(), Arc::clone(&ends));
    let listener = computer.listen(Bind::Addr(any(PORT))).unwrap();
    computer.spawn_service(
        "listen",
        Box::pin(async move {
            loop {
                let (stream, _) = serving.accept(&listener).await.unwrap();
                let (computer, told) = (serving.clone(), Arc::clone(&told));
                serving.spawn_session(
                    "shout",
                    Box::pin(async move {
                        let mut session = Shout::default();
                        let mut host = Capitals {
                            computer: computer.clone(),
                            jobs: Vec::new(),
                        };
                        let end = Drive::new(computer, &mut session, stream, &mut host).await;
                        let end = match end {
                            End::Closed => "closed".to_owned(),
                            other => format!("{other:?}"),
                        };
                        told.lock().unwrap().push(end);
                    }),
                );
            }
        }),
    );
    ends
}

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

async fn sleep(computer: &SimRuntime, time: Duration) {
    let mut timer = computer.timer();
    timer.arm(Some(computer.now().mono + time));
    poll_fn(|cx| timer.poll_fired(cx)).await;
}

/// One server, some clients that say some lines each; the world after it, and how many clients saw their connection
/// break.
fn shouting(sim: &Sim, clients: usize, lines: usize) -> usize {
    let server = sim.computer("server", [10, 0, 0, 1]);
    let client = sim.computer("client", [10, 0, 0, 2]);
    let ends = shout_on(&server);
    let to = SocketAddr::new(server.addresses()[0], PORT);
    let broken = Arc::new(AtomicU32::new(0));
    let left = Arc::new(AtomicU32::new(clients as u32));
    for n in 0..clients {
        let (computer, broken, left) = (client.clone(), Arc::clone(&broken), Arc::clone(&left));
        client.spawn_session(
            "client",
            Box::pin(async move {
                if let Err(error) = shout(&computer, to, n, lines).await {
                    assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::ConnectionReset
                                | ErrorKind::BrokenPipe
                                | ErrorKind::ConnectionRefused
                                | ErrorKind::UnexpectedEof
                        ),
                        "{error:?}"
                    );
                    broken.fetch_add(1, Ordering::SeqCst);
                }
                left.fetch_sub(1, Ordering::SeqCst);
            }),
        );
    }
    let waiting = client.clone();
    sim.run(async move {
        while left.load(Ordering::SeqCst) > 0 {
            sleep(&waiting, Duration::from_millis(100)).await;
        }
    });
    assert_eq!(sim.panics(), 0);
    for end in ends.lock().unwrap().iter() {
        assert!(end == "closed" || end.starts_with("Reset"), "{end}");
    }
    broken.load(Ordering::SeqCst) as usize
}

async fn shout(
    computer: &SimRuntime,
    to: SocketAddr,
    n: usize,
    lines: usize,
) -> std::io::Result<()> {
    let mut dialogue = Dialogue::new(computer.connect(to, None).await?);
    let batch: String = (0..lines).map(|i| format!("line {i} of {n}\r\n")).collect();
    dialogue.say(&batch).await?;
    for i in 0..lines {
        assert_eq!(dialogue.line().await?, format!("LINE {i} OF {n}"));
    }
    dialogue.say("quit\r\n").await?;
    dialogue.close().await
}

#[test]
fn equal_seeds_give_equal_traces_and_other_seeds_other_ones() {
    let mut hashes = Vec::new();
    for seed in 0..20 {
        let (one, two) = (Sim::drawn(seed), Sim::drawn(seed));
        assert_eq!(shouting(&one, 5, 20), shouting(&two, 5, 20));
        assert_eq!(one.trace().first_difference(&two.trace()), None);
        assert_eq!(one.trace_hash(), two.trace_hash());
        assert_eq!(one.elapsed(), two.elapsed());
        assert!(one.trace().len() > 20);
        assert!(!hashes.contains(&one.trace_hash()));
        hashes.push(one.trace_hash());
    }
}

#[test]
fn one_iteration_over_a_hash_map_shows_in_the_trace() {
    let run = || {
        let sim = Sim::new(1, Knobs::fault_free());
        let computer = sim.computer("one", [10, 0, 0, 1]);
        let unordered: HashMap<u64, ()> = (0..32).map(|n| (n, ())).collect();
        sim.run(async move {
            for n in unordered.keys() {
                sleep(&computer, Duration::from_millis(*n)).await;
            }
        });
        sim.trace()
    };
    let (one, two) = (run(), run());
    assert_ne!(one.hash(), two.hash());
    assert!(one.first_difference(&two).unwrap() < one.len());
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wakeup_is_a_deadlock() {
    let sim = Sim::new(1, Knobs::fault_free());
    shout_on(&sim.computer("server", [10, 0, 0, 1]));
    let mut polled = false;
    sim.run(poll_fn(move |_| {
        // It would be ready at the second poll, but tells nobody to come again.
        let ready = polled;
        polled = true;
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
}

#[test]
#[should_panic(expected = "the end of time")]
fn a_world_that_goes_on_for_ever_is_ended() {
    let sim = Sim::new(1, Knobs::fault_free());
    let computer = sim.computer("one", [10, 0, 0, 1]);
    sim.run(async move {
        loop {
            sleep(&computer, Duration::from_secs(3_600)).await;
        }
    });
}

#[test]
fn single_bytes_and_long_ways_change_nothing_but_the_time() {
    for seed in 0..5 {
        let sim = Sim::new(
            seed,
            Knobs {
                segment: 1,
                window: 16,
                latency: (Duration::ZERO, Duration::from_millis(300)),
                ..Knobs::fault_free()
            },
        );
        assert_eq!(shouting(&sim, 3, 5), 0);
        assert!(sim.elapsed() > Duration::from_secs(1));
    }
}

#[test]
fn without_faults_no_session_takes_five_seconds() {
    for seed in 0..20 {
        let sim = Sim::new(seed, Knobs::fault_free());
        assert_eq!(shouting(&sim, 10, 50), 0);
        assert!(
            sim.elapsed() < Duration::from_secs(5),
            "{:?}",
            sim.elapsed()
        );
    }
}

#[test]
fn resets_and_refusals_break_some_connections_and_nothing_else() {
    let mut broken = 0;
    for seed in 0..20 {
        let sim = Sim::new(
            seed,
            Knobs {
                reset_one_in: 100,
                refuse_one_in: 10,
                ..Knobs::fault_free()
            },
        );
        broken += shouting(&sim, 10, 20);
    }
    assert!((20..180).contains(&broken), "{broken} of 200");
}

#[test]
fn an_idle_peer_is_left_after_its_deadline_in_virtual_time() {
    let sim = Sim::new(3, Knobs::fault_free());
    let server = sim.computer("server", [10, 0, 0, 1]);
    let client = sim.computer("client", [10, 0, 0, 2]);
    let ends = shout_on(&server);
    let to = SocketAddr::new(server.addresses()[1], PORT);
    let refused = client.clone();
    let listening = server
        .listen(Bind::Addr((std::net::Ipv6Addr::UNSPECIFIED, PORT).into()))
        .unwrap();
    let accepting = server.clone();
    sim.run(async move {
        // An IPv6 listener of its own, so that both families may have the port.
        let (connected, accepted) =
            zip(refused.connect(to, None), accepting.accept(&listening)).await;
        let (_stream, (_accepted, peer)) = (connected.unwrap(), accepted.unwrap());
        assert_eq!(peer.ip(), refused.addresses()[1]);
        let to = SocketAddr::new(server.addresses()[0], PORT);
        let mut stream = client.connect(to, None).await.unwrap();
        stream.write_all(b"hello\r\nunfinished").await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "HELLO\r\n");
        drop(stream);
        sleep(&client, Duration::from_secs(1)).await;
    });
    assert!(
        (60..63).contains(&sim.elapsed().as_secs()),
        "{:?}",
        sim.elapsed()
    );
    assert_eq!(*ends.lock().unwrap(), ["closed"]);
    assert_eq!(
        sim.now().utc.secs() - 1_767_323_045,
        sim.elapsed().as_secs() as i64
    );
}

#[test]
fn nobody_listening_and_a_killed_server_refuse_and_break_connections() {
    let sim = Sim::new(4, Knobs::fault_free());
    let server = sim.computer("server", [10, 0, 0, 1]);
    let client = sim.computer("client", [10, 0, 0, 2]);
    let to = SocketAddr::new(server.addresses()[0], PORT);
    sim.run(async move {
        let refused = client.connect(to, None).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        shout_on(&server);
        let mut stream = client.connect(to, None).await.unwrap();
        stream.write_all(b"hello\r\n").await.unwrap();
        stream.read_exact(&mut [0; 7]).await.unwrap();
        server.kill();
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
        assert!(client.connect(to, None).await.is_err());
        // And up again.
        shout_on(&server);
        assert!(client.connect(to, None).await.is_ok());
    });
    assert!(sim.tasks().is_empty());
}

#[test]
fn a_half_closed_stream_still_brings_the_answer_and_late_bytes_break_it() {
    let sim = Sim::new(5, Knobs::fault_free());
    let computer = sim.computer("one", [10, 0, 0, 1]);
    let listener = computer
        .listen(Bind::Addr((Ipv4Addr::LOCALHOST, 0).into()))
        .unwrap();
    let to = computer.local_addr(&listener).unwrap();
    assert!(to.ip().is_loopback());
    sim.run(async move {
        let (connected, accepted) =
            zip(computer.connect(to, None), computer.accept(&listener)).await;
        let (mut ours, (mut theirs, peer)) = (connected.unwrap(), accepted.unwrap());
        assert_eq!(peer.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
        ours.write_all(b"question").await.unwrap();
        ours.close().await.unwrap();
        assert_eq!(
            ours.write(b"x").await.unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
        let mut heard = String::new();
        theirs.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");
        theirs.write_all(b"answer").await.unwrap();
        let mut heard = [0; 6];
        ours.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"answer");
        drop(ours);
        theirs.write_all(b"to nobody").await.unwrap();
        sleep(&computer, Duration::from_secs(1)).await;
        let late = theirs.read(&mut [0; 10]).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(theirs.write(b"more").await.is_err());
    });
}

#[test]
fn jobs_of_a_class_are_bounded_and_commits_run_one_after_the_other() {
    let sim = Sim::new(6, Knobs::fault_free());
    let computer = sim.computer("one", [10, 0, 0, 1]);
    let order = Arc::<Mutex<Vec<u32>>>::default();
    let seen = Arc::clone(&order);
    let jobs = Arc::new(AtomicU32::new(0));
    for class in [Pool::Commit, Pool::Bodies] {
        for n in 0..20 {
            let (order, jobs) = (Arc::clone(&order), Arc::clone(&jobs));
            let work = computer.blocking(
                class,
                Box::new(move || {
                    if class == Pool::Bodies {
                        order.lock().unwrap().push(n);
                    }
                }),
            );
            computer.spawn_session(
                "job",
                Box::pin(async move {
                    work.await;
                    jobs.fetch_add(1, Ordering::SeqCst);
                }),
            );
        }
    }
    let waiting = computer.clone();
    sim.run(async move {
        while jobs.load(Ordering::SeqCst) < 40 {
            sleep(&waiting, Duration::from_millis(1)).await;
        }
    });
    let mut order = core::mem::take(&mut *seen.lock().unwrap());
    assert!(!order.is_sorted(), "they finish in any order: {order:?}");
    order.sort_unstable();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
    // Twenty commits of about a millisecond each, none beside another.
    assert!(sim.elapsed() > Duration::from_millis(10));
}

#[test]
fn datagrams_are_answered_in_their_own_time_or_lost() {
    let sim = Sim::new(
        7,
        Knobs {
            loss_one_in: 4,
            ..Knobs::fault_free()
        },
    );
    let computer = sim.computer("one", [10, 0, 0, 1]);
    let name_server: SocketAddr = ([10, 0, 0, 53], 53).into();
    sim.serve_udp(name_server, |_, question| {
        let late = Duration::from_millis(500);
        vec![
            (Duration::ZERO, question.to_ascii_uppercase()),
            (late, b"again".to_vec()),
        ]
    });
    let waiting = computer.clone();
    let answered = sim.run(async move {
        let mut answered = 0;
        for _ in 0..100 {
            let mut socket = computer.udp(name_server).await.unwrap();
            socket.send(b"who").await.unwrap();
            let mut buffer = [0; 10];
            let answer = async { Some(socket.recv(&mut buffer).await.unwrap()) };
            let give_up = async {
                sleep(&waiting, Duration::from_millis(100)).await;
                None
            };
            if let Some(length) = futures_lite::future::or(answer, give_up).await {
                assert_eq!(&buffer[..length], b"WHO");
                answered += 1;
            }
        }
        answered
    });
    assert!((60..90).contains(&answered), "{answered}");
}

#[test]
fn a_panicking_session_is_counted_and_its_neighbours_go_on() {
    let sim = Sim::new(8, Knobs::fault_free());
    let computer = sim.computer("one", [10, 0, 0, 1]);
    computer.spawn_session("broken", Box::pin(async { panic!("on purpose") }));
    let waiting = computer.clone();
    sim.run(async move { sleep(&waiting, Duration::from_secs(1)).await });
    assert_eq!(sim.panics(), 1);
}

#[test]
#[should_panic(expected = "the service \"short\" ended")]
fn a_service_that_ends_fails_the_world() {
    let sim = Sim::new(9, Knobs::fault_free());
    let computer = sim.computer("one", [10, 0, 0, 1]);
    computer.spawn_service("short", Box::pin(async {}));
    let waiting = computer.clone();
    sim.run(async move { sleep(&waiting, Duration::from_secs(1)).await });
}

#[test]
fn seeds_do_not_depend_on_other_labels_or_computers() {
    let draw = |others: u32| {
        let sim = Sim::new(10, Knobs::fault_free());
        let other = sim.computer("other", [10, 0, 0, 2]);
        let computer = sim.computer("one", [10, 0, 0, 1]);
        for _ in 0..others {
            other.seed("a");
            computer.seed("b");
        }
        [computer.seed("a"), computer.seed("a")]
    };
    let [first, second] = draw(0);
    assert_ne!(first, second);
    assert_eq!(draw(3), [first, second]);
}

#[test]
fn a_mail_is_said_as_smtp_wants_it() {
    let sim = Sim::new(11, Knobs::fault_free());
    let computer = sim.computer("one", [10, 0, 0, 1]);
    let listener = computer.listen(Bind::Addr(any(25))).unwrap();
    let client = computer.clone();
    let server = async move {
        let (stream, _) = computer.accept(&listener).await.unwrap();
        let mut dialogue = Dialogue::new(stream);
        let mut heard = Vec::new();
        dialogue.say("220-mx\r\n220 mx\r\n").await.unwrap();
        while heard.last().is_none_or(|line| line != "QUIT") {
            let line = dialogue.line().await.unwrap();
            let reply = match line.split(' ').next().unwrap() {
                "EHLO" => "250-mx\r\n250 PIPELINING\r\n",
                "MAIL" | "RCPT" | "." => "250 ok\r\n",
                "DATA" => "354 go\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "",
            };
            dialogue.say(reply).await.unwrap();
            heard.push(line);
        }
        heard
    };
    let mail = Mail {
        from: "a@b.example".into(),
        to: vec!["c@d.example".into(), "e@d.example".into()],
        text: ".first\r\n\r\n.\r\n..\r\nlast\r\n".into(),
    };
    let (heard, reply) = sim.run(async move {
        let to = (client.addresses()[0], 25).into();
        let mut dialogue = Dialogue::new(client.connect(to, None).await.unwrap());
        zip(server, async move {
            dialogue.send_mail("me.example", &mail).await.unwrap()
        })
        .await
    });
    assert_eq!(reply, "250 ok");
    assert_eq!(
        heard,
        [
            "EHLO me.example",
            "MAIL FROM:<a@b.example>",
            "RCPT TO:<c@d.example>",
            "RCPT TO:<e@d.example>",
            "DATA",
            "..first",
            "",
            "..",
            "...",
            "last",
            ".",
            "QUIT"
        ]
    );
}
