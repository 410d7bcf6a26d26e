//! The tokio runtime over the loopback interface.
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
use mox_machine::Seed;
use mox_runtime_tokio::{TokioRuntime, os_seed};
use std::net::{Ipv4Addr, TcpListener};

/// On one thread and on two.
fn on_tokio<F: Future<Output = ()>>(test: impl Fn(TokioRuntime) -> F) {
    let mut one = tokio::runtime::Builder::new_current_thread();
    let mut two = tokio::runtime::Builder::new_multi_thread();
    for builder in [&mut one, two.worker_threads(2)] {
        let tokio = builder.enable_all().build().unwrap();
        tokio.block_on(async { test(TokioRuntime::current(Seed::from_number(1))).await });
    }
}

#[test]
fn what_is_sent_comes_back_and_a_half_close_is_answered_by_one() {
    on_tokio(runtime::what_is_sent_comes_back_and_a_half_close_is_answered_by_one);
}

#[test]
fn three_hundred_connections_live_at_once() {
    on_tokio(|tokio| runtime::many_connections_live_at_once(tokio, 300, || {}));
}

#[test]
fn a_connection_comes_from_the_address_that_was_asked_for() {
    on_tokio(runtime::a_connection_comes_from_the_address_that_was_asked_for);
}

#[tokio::test]
async fn both_families_listen_on_one_port_and_an_inherited_socket_is_taken_once() {
    let inherited = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = inherited.local_addr().unwrap().port();
    let named = [("smtp".to_owned(), inherited)].into();
    let tokio = TokioRuntime::current_with(os_seed().unwrap(), named);
    runtime::both_families_listen_on_one_port_and_an_inherited_socket_is_taken_once(tokio, port)
        .await;
}

#[test]
fn timers_fire_when_armed_and_only_then() {
    on_tokio(runtime::timers_fire_when_armed_and_only_then);
}

#[test]
fn datagrams_go_there_and_back_and_are_cut_to_the_buffer() {
    on_tokio(runtime::datagrams_go_there_and_back_and_are_cut_to_the_buffer);
}

#[test]
fn each_class_of_blocking_work_has_its_own_bound() {
    on_tokio(runtime::each_class_of_blocking_work_has_its_own_bound);
}

#[test]
fn a_panicking_session_ends_alone_and_is_counted() {
    on_tokio(|tokio| async move {
        runtime::a_panicking_session_ends_alone(tokio.clone()).await;
        // Another thread may still be unwinding.
        while tokio.panics() == 0 {
            runtime::sleep(&tokio, Duration::from_millis(1)).await;
        }
        assert_eq!(tokio.panics(), 1);
    });
}

#[tokio::test]
async fn every_seed_is_another_one_and_the_same_root_gives_the_same() {
    runtime::every_seed_is_another_one_and_the_same_root_gives_the_same(TokioRuntime::current);
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
    let tokio = tokio::runtime::Runtime::new().unwrap();
    tokio.block_on(async {
        use mox_driver::Runtime;
        let tokio = TokioRuntime::current(Seed::from_number(1));
        if how == "ends in order" {
            tokio.stopping();
        }
        tokio.spawn_service("test", Box::pin(runtime::service(how)));
        runtime::sleep(&tokio, Duration::from_secs(1)).await;
    });
}
