//! Each of them is thousands of schedules.
#![allow(missing_docs, reason = "tests")]

use mox_races::races;

#[test]
fn what_is_pushed_is_taken_once_and_in_the_order_of_its_pusher() {
    races::what_is_pushed_is_taken_once_and_in_the_order_of_its_pusher();
}

#[test]
fn who_leaves_the_line_keeps_nobody_waiting() {
    races::who_leaves_the_line_keeps_nobody_waiting();
}

#[test]
fn a_closed_queue_lets_everybody_go_and_loses_nothing_it_took() {
    races::a_closed_queue_lets_everybody_go_and_loses_nothing_it_took();
}

#[test]
fn a_watch_sees_the_newest_number_however_often_it_was_raised() {
    races::a_watch_sees_the_newest_number_however_often_it_was_raised();
}

#[test]
fn every_session_hears_that_the_server_stops_and_the_last_one_ends_the_wait() {
    races::every_session_hears_that_the_server_stops_and_the_last_one_ends_the_wait();
}

#[test]
fn whoever_waits_at_a_gate_goes_through_when_it_opens() {
    races::whoever_waits_at_a_gate_goes_through_when_it_opens();
}
