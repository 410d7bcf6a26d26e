//! The smol runtime over the loopback interface.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "tests"
)]

#[path = "../../core/driver/tests/runtime/mod.rs"]
mod runtime;

use core::time::Duration;
use mox_driver::Runtime;
use mox_machine::Seed;
use mox_runtime_smol::{SmolRuntime, os_seed};
use runtime::sleep;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn runtime(threads: usize) -> SmolRuntime {
    SmolRuntime::start(threads, Seed::from_number(1)).unwrap()
}

fn on_smol<F: Future<Output = ()>>(threads: usize, test: impl FnOnce(SmolRuntime) -> F) {
    let runtime = runtime(threads);
    runtime.run_until(test(runtime.clone()));
    runtime.stop(Duration::from_secs(5));
    assert_eq!(runtime.health().sessions, vec![0; threads]);
}

#[test]
fn what_is_sent_comes_back_and_a_half_close_is_answered_by_one() {
    on_smol(
        2,
        runtime::what_is_sent_comes_back_and_a_half_close_is_answered_by_one,
    );
}

#[test]
fn a_thousand_connections_live_at_once_spread_over_the_threads() {
    on_smol(2, |smol| {
        let spread = smol.clone();
        runtime::many_connections_live_at_once(smol, 1_000, move || {
            assert_eq!(spread.health().sessions, [500, 500]);
        })
    });
}

#[test]
fn a_connection_comes_from_the_address_that_was_asked_for() {
    on_smol(
        1,
        runtime::a_connection_comes_from_the_address_that_was_asked_for,
    );
}

#[test]
fn both_families_listen_on_one_port_and_an_inherited_socket_is_taken_once() {
    let inherited = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = inherited.local_addr().unwrap().port();
    let named = [("smtp".to_owned(), inherited)].into();
    let smol = SmolRuntime::start_with(1, os_seed().unwrap(), named).unwrap();
    smol.run_until(
        runtime::both_families_listen_on_one_port_and_an_inherited_socket_is_taken_once(
            smol.clone(),
            port,
        ),
    );
}

#[test]
fn timers_fire_when_armed_and_only_then() {
    on_smol(1, runtime::timers_fire_when_armed_and_only_then);
}

#[test]
fn datagrams_go_there_and_back_and_are_cut_to_the_buffer() {
    on_smol(
        1,
        runtime::datagrams_go_there_and_back_and_are_cut_to_the_buffer,
    );
}

#[test]
fn each_class_of_blocking_work_has_its_own_bound() {
    on_smol(1, runtime::each_class_of_blocking_work_has_its_own_bound);
}

#[test]
fn a_panicking_session_ends_alone_and_is_counted() {
    on_smol(1, |smol| async move {
        runtime::a_panicking_session_ends_alone(smol.clone()).await;
        assert_eq!(smol.health().panics, 1);
        assert!(smol.health().longest_poll > Duration::ZERO);
    });
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
    runtime::every_seed_is_another_one_and_the_same_root_gives_the_same(|root| {
        SmolRuntime::start(1, root).unwrap()
    });
    assert_ne!(os_seed().unwrap(), os_seed().unwrap());
}

#[test]
fn a_service_that_panics_or_ends_stops_the_process_with_70() {
    const NAME: &str = "a_service_that_panics_or_ends_stops_the_process_with_70";
    let Ok(how) = std::env::var("MOX_TEST_SERVICE") else {
        for (how, code) in runtime::SERVICES {
            assert_eq!(runtime::exit_code_of(NAME, how), Some(code), "{how}");
        }
        return;
    };
    let smol = runtime(1);
    if how == "ends in order" {
        smol.stopping();
    }
    smol.spawn_service("test", Box::pin(runtime::service(how)));
    smol.run_until(sleep(&smol, Duration::from_secs(1)));
    smol.stop(Duration::ZERO);
}
