//! The second half of a world: nothing breaks any more, everything has to come to its end, and then all is counted.

use mox_store::Store;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::node::options;
use super::server::Server;
use crate::client::{Stage, sleep};
use crate::oracle::{is_body_of, is_notice};
use crate::survey::Survey;
use crate::{SimRuntime, names};

/// Virtual time after which everything must be done once nothing breaks any more: the longest pause of the queue is 16
/// hours, and two of them may follow each other.
const BOUND: Duration = Duration::from_secs(40 * 3_600);
/// No session lives longer than this with a peer that says nothing: half an hour of IMAP, and TCP's own time.
const SILENCE: Duration = Duration::from_secs(3_600);
/// A sweep takes 256 times its pause, and one may have just passed the file in question.
const SWEEP: Duration = Duration::from_secs(30);

/// How long mail may wait for its delivery after the last client is done, in a world without faults and without other people's
/// servers: nobody has a reason to try again, so what takes longer waited for a timer instead of being woken.
const PROMPT: Duration = Duration::from_secs(60);

/// Waits until all clients are done, all servers up and their queues empty.
pub(super) async fn await_rest(
    observer: &SimRuntime,
    stage: &Stage,
    servers: &[Server],
    open: &AtomicUsize,
) {
    let begun = observer.sim().elapsed();
    let mut pause = Duration::from_secs(1);
    let mut prompt = stage.judge.bench().is_prompt();
    let mut done = None;
    loop {
        let waiting = waiting(stage, servers, open);
        let Some(waiting) = waiting else {
            break;
        };
        if prompt && open.load(Ordering::Relaxed) == 0 {
            let now = observer.sim().elapsed();
            let since = *done.get_or_insert(now);
            if now - since > PROMPT {
                prompt = false;
                let what = format!("{:?} after the last client {waiting}", now - since);
                stage.judge.wrong(what);
            }
        }
        if observer.sim().elapsed() - begun > BOUND {
            stage
                .judge
                .wrong(format!("{BOUND:?} after the last fault {waiting}"));
            return;
        }
        sleep(observer, pause).await;
        let longest = if prompt { 10 } else { 600 };
        pause = (pause * 2).min(Duration::from_secs(longest));
    }
    sleep(observer, SWEEP).await;
}

/// Sessions with somebody who fell silent end too, with nobody asking them to.
pub(super) async fn await_silence(observer: &SimRuntime, stage: &Stage, servers: &[Server]) {
    let begun = observer.sim().elapsed();
    for server in servers {
        loop {
            let live = stage.node(server.which).map_or(0, |node| node.sessions());
            if live == 0 {
                break;
            }
            if observer.sim().elapsed() - begun > SILENCE {
                let which = server.which;
                let what = format!(
                    "{SILENCE:?} after everybody was done {live} sessions of server {which} live"
                );
                return stage.judge.wrong(what);
            }
            sleep(observer, Duration::from_secs(10)).await;
        }
    }
}

/// What is not done yet.
fn waiting(stage: &Stage, servers: &[Server], open: &AtomicUsize) -> Option<String> {
    let clients = open.load(Ordering::Relaxed);
    if clients > 0 {
        return Some(format!("{clients} clients are not done"));
    }
    for server in servers {
        let which = server.which;
        let Some(node) = stage.node(which) else {
            return Some(format!("server {which} is not up"));
        };
        match node.queue(1) {
            Ok(queue) if queue.is_empty() => {}
            Ok(queue) => return Some(format!("server {which} has not delivered {queue:?}")),
            Err(error) => return Some(format!("the queue of server {which}: {error}")),
        }
        let published = node.store().published();
        match mox_mailbox::junk_due(&*published.view, None, 1).as_deref() {
            Ok([]) => {}
            Ok(due) => return Some(format!("server {which} has not learned {due:?}")),
            Err(error) => return Some(format!("what server {which} is to learn: {error}")),
        }
    }
    None
}

/// Stops all servers in order and counts.
pub(super) async fn check(observer: &SimRuntime, stage: &Stage, servers: &[Server]) {
    for server in servers {
        let Some(node) = stage.node(server.which) else {
            stage
                .judge
                .wrong(format!("server {} is not up at the end", server.which));
            continue;
        };
        drain(observer, stage, server, node).await;
    }
    // First learn of all servers what they handed over.
    for server in servers {
        server.survey(false);
    }
    for server in servers {
        if let Some(survey) = server.survey(false) {
            stage.judge.bench().count_copies(server.which, &survey);
            reopened(stage, server, &survey);
        }
    }
    let bench = &mut *stage.judge.bench();
    bench.ledger.compare_end(&mut bench.wrong);
    bench.compare_peers();
}

/// Oracle 8: after a stop in order no session is left, and the store finds nothing to complain about when opened again.
async fn drain(
    observer: &SimRuntime,
    stage: &Stage,
    server: &Server,
    node: mox_node::Node<SimRuntime>,
) {
    let which = server.which;
    let runtime = server.machine.runtime();
    runtime.stopping();
    stage.set_node(which, None);
    let emptied = node.drain().await;
    if !emptied {
        stage.judge.wrong(format!(
            "server {which} had to break sessions off: {}",
            node.sessions()
        ));
    }
    drop(node);
    sleep(observer, Duration::from_secs(5)).await;
    let left = runtime.sessions();
    if !left.is_empty() {
        stage
            .judge
            .wrong(format!("after its stop server {which} still runs {left:?}"));
    }
    runtime.kill();
}

fn reopened(stage: &Stage, server: &Server, survey: &Survey) {
    let which = server.which;
    server.machine.revive();
    let (rows, files) = server.machine.place();
    let store = match Store::open(rows, files, options()) {
        Ok((store, _committer)) => store,
        Err(error) => {
            stage.judge.wrong(format!(
                "server {which} does not open after a stop in order: {error}"
            ));
            return;
        }
    };
    for finding in store.verify(true).findings {
        stage
            .judge
            .wrong(format!("server {which} at the end: {finding}"));
    }
    let published = store.published();
    let bench = &mut *stage.judge.bench();
    let mut notices = Vec::new();
    for notice in survey.messages.iter().filter(|found| is_notice(found)) {
        let body = store.read_body(&*published.view, &notice.body, 0..notice.body.length);
        let names = body.map(|body| final_recipients(&String::from_utf8_lossy(&body)));
        notices.push((notice, names.unwrap_or_default()));
    }
    bench
        .ledger
        .compare_told(which, survey, &notices, &mut bench.wrong);
    for found in &survey.messages {
        let Some(mail) = bench.ledger.mails.get(&found.subject) else {
            continue;
        };
        let place = format!(
            "{} in {} of {} at {}",
            found.uid,
            found.mailbox,
            found.account,
            names::domain(which)
        );
        let body = store.read_body(&*published.view, &found.body, 0..found.body.length);
        match body {
            Ok(body) if is_body_of(mail, which, &body) => {}
            Ok(_) => bench
                .wrong
                .found(format!("{place} is not {} as it was sent", found.subject)),
            Err(error) => bench
                .wrong
                .found(format!("{place} cannot be read: {error}")),
        }
    }
}

/// Whom a notice names (RFC 3464 2.3.2).
fn final_recipients(notice: &str) -> BTreeSet<String> {
    let lines = notice.split("\r\n");
    let values = lines.filter_map(|line| line.strip_prefix("Final-Recipient:"));
    let addresses = values.filter_map(|value| value.split_once(';'));
    addresses
        .map(|(_, address)| address.trim().to_owned())
        .collect()
}
