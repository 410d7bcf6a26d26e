//! Numbers of the simulation: what one world costs, and how fast mail and time go by in it. In seconds of one core, so that
//! a busy machine does not mind.

use std::io;
use std::time::Duration;

use mox_driver::{Runtime, Timer};
use mox_sim::{Dialogue, Knobs, Mail, Plan, Sim, SimRuntime, lone_server};
use nix::sys::resource::{UsageWho, getrusage};

/// Worlds measured.
const WORLDS: u64 = 100;
/// Clients that send at once, and messages of each.
const CLIENTS: u8 = 10;
const EACH: usize = 200;
/// Messages that wait in the queue.
const QUEUED: usize = 10_000;

/// Prints a table.
///
/// # Errors
/// When the clock of this process cannot be read.
pub(crate) fn print() -> io::Result<()> {
    println!("\n| simulation | |");
    println!("|---|---|");
    let begun = cpu()?;
    let mut wrong = 0;
    for seed in 0..WORLDS {
        wrong += usize::from(!mox_sim::run(&Plan::of_seed(seed)).wrong.is_empty());
    }
    let each = (cpu()? - begun) / WORLDS as f64;
    println!("| core-seconds for a full world, mean of {WORLDS} ({wrong} failed) | {each:.3} |");
    transactions()?;
    queue()
}

/// Seconds this process has used of any core.
fn cpu() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

fn transactions() -> io::Result<()> {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let begun = cpu()?;
    let sent = sim.run(async move {
        let Ok(_server) = lone_server(&world, 0, 1).await else {
            return 0;
        };
        send_all(&world, 25, EACH, |n| Mail {
            from: format!("x{n}@outside.example"),
            to: vec!["ann@a.example".to_owned()],
            text: text(10),
        })
        .await
    });
    let rate = sent as f64 / (cpu()? - begun);
    println!("| transactions, connect to stored, in a core-second ({sent} made) | {rate:.0} |");
    Ok(())
}

fn queue() -> io::Result<()> {
    let sim = Sim::new(1, Knobs::fault_free());
    let world = sim.clone();
    let result = sim.run(async move {
        let observer = world.computer("observer", [10, 0, 2, 1]);
        let server = lone_server(&world, 0, 1).await.map_err(io::Error::other)?;
        // Nobody listens there.
        let sent = send_all(&world, 587, QUEUED / usize::from(CLIENTS), |_| Mail {
            from: "ann@a.example".to_owned(),
            to: vec!["bob@b.example".to_owned()],
            text: text(1),
        });
        let sent = sent.await;
        let begun = cpu()?;
        sleep(&observer, Duration::from_secs(10 * 86_400)).await;
        let left = server.1.queue(usize::MAX).map_or(0, |queue| queue.len());
        io::Result::Ok((sent, left, cpu()? - begun))
    });
    let (sent, left, took) = result?;
    println!(
        "| core-seconds for ten days of a queue that begins with {sent} messages (in it at the end: {left}) | {took:.1} |"
    );
    Ok(())
}

/// Has clients send so many messages each; how many were accepted.
async fn send_all(world: &Sim, port: u16, each: usize, mail: fn(usize) -> Mail) -> usize {
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let done = std::sync::Arc::new(std::sync::atomic::AtomicU8::new(0));
    for n in 0..CLIENTS {
        let on = world.computer("client", [10, 0, 1, n]);
        let (accepted, done) = (accepted.clone(), done.clone());
        let client = async move {
            let client = on.clone();
            for n in 0..each {
                if send(&client, port, &mail(n)).await.is_ok() {
                    accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        let on = world.computer("client", [10, 0, 3, n]);
        on.spawn_session("client", Box::pin(client));
    }
    let observer = world.computer("observer", [10, 0, 2, 2]);
    while done.load(std::sync::atomic::Ordering::Relaxed) < CLIENTS {
        sleep(&observer, Duration::from_secs(1)).await;
    }
    accepted.load(std::sync::atomic::Ordering::Relaxed)
}

async fn send(on: &SimRuntime, port: u16, mail: &Mail) -> io::Result<()> {
    let mut client = Dialogue::new(on.connect(([10, 0, 0, 1], port).into(), None).await?);
    if port == 587 {
        client.expect("220").await?;
        client.say("EHLO client.example\r\n").await?;
        client.expect("250").await?;
        // ann@a.example, correct horse
        client
            .say("AUTH PLAIN AGFubkBhLmV4YW1wbGUAY29ycmVjdCBob3JzZQ==\r\n")
            .await?;
        client.expect("235").await?;
        return client.transaction(mail).await.map(|_| ());
    }
    client.send_mail("client.example", mail).await.map(|_| ())
}

fn text(lines: usize) -> String {
    "From: ann@a.example\r\nSubject: a\r\n\r\n".to_owned()
        + &"Nothing much is said here.\r\n".repeat(lines)
}

async fn sleep(on: &SimRuntime, time: Duration) {
    let mut timer = on.timer();
    timer.arm(Some(on.now().mono + time));
    std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
}
