//! Prints how many small ops a second a store does for some tasks, each waiting for its own before the next.
//!
//! `cargo run --release -p mox-store --example throughput -- DIRECTORY [TASKS] [SECONDS]`
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that measures: it has arguments and a clock"
)]

use bytes::Bytes;
use mox_mailbox::{Batch, Space, Stop};
use mox_store::{Options, Store};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().ok_or("which directory?")?;
    let tasks: u32 = arguments.next().map_or(Ok(50), |n| n.parse())?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |n| n.parse())?;
    let (store, mut committer) = Store::open_directory(Path::new(&place), Options::default())?;
    let executor = Arc::new(async_executor::Executor::new());
    let begun = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let store = store.clone();
            executor.spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < Duration::from_secs(seconds) {
                    let run = store.run(move |_| {
                        let mut batch = Batch::default();
                        for row in 0..2_u8 {
                            let mut key = vec![0, b'b', row];
                            key.extend_from_slice(&task.to_be_bytes());
                            key.extend_from_slice(&done.to_be_bytes());
                            let value = Bytes::from_static(&[7; 160]);
                            batch.writes.push((Space::Rows, key, Some(value)));
                        }
                        Ok::<_, Stop>((batch, ()))
                    });
                    if run.await.is_err() {
                        break;
                    }
                    done += 1;
                }
                done
            })
        })
        .collect();
    let service = executor.spawn(async move {
        while let Some(group) = committer.collect().await {
            committer = blocking::unblock(move || {
                committer.turn(group);
                committer
            })
            .await;
        }
        committer
    });
    let total = futures_lite::future::block_on(executor.run(async {
        let mut total = 0;
        for task in running {
            total += task.await;
        }
        total
    }));
    let took = begun.elapsed().as_secs_f64();
    let groups = store.published().number.max(1);
    store.close();
    futures_lite::future::block_on(executor.run(service)).close()?;
    println!(
        "{tasks} tasks: {:.0} ops/s, {:.1} ops a group",
        total as f64 / took,
        total as f64 / groups as f64
    );
    Ok(())
}
