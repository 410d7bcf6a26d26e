//! One line for each event on stderr, written by a thread of its own.
//!
//! Whoever logs hands a finished line to a bounded queue and goes on: a terminal that stands still, or a full pipe,
//! never stops a session. What does not fit into the queue is counted, and the count is logged once there is room.

use core::fmt::{self, Write as _};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mox_server::config::LogLevel;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use crate::timestamp;

/// Lines that wait to be written, at most.
pub const LINES_MAX: usize = 4_096;
/// Octets of a line at most; longer ones are cut.
pub const LINE_MAX: usize = 8 * 1024;
/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_secs(1);
/// How often it looks for room in a full queue meanwhile.
const FLUSH_TRIES: u32 = 100;

/// The running log. What waits is written when it is dropped.
#[derive(Debug)]
pub struct Log {
    queue: LineQueue,
    levels: reload::Handle<Targets, Registry>,
}

/// What is logged: a level, and other levels for single targets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Levels {
    /// For all that is not named.
    pub default: LogLevel,
    /// By target, as it stands in the log lines; a name stands for all that begin with it.
    pub targets: BTreeMap<String, LogLevel>,
}

/// Starts logging to stderr, for the whole process. Fails when it was started before.
pub fn start(levels: &Levels) -> io::Result<Log> {
    // journald writes the time itself.
    let time = std::env::var_os("JOURNAL_STREAM").is_none();
    let (log, subscriber) = build(levels, time, io::stderr(), LINES_MAX)?;
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
    Ok(log)
}

impl Log {
    /// Changes what is logged from now on.
    pub fn set_levels(&self, levels: &Levels) {
        // Fails only when the subscriber is gone, and then nobody logs.
        let _ = self.levels.reload(levels.filter());
    }

    /// Lines that were lost because the queue was full, since the start.
    pub fn dropped(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (done, wait) = mpsc::channel();
        let mut flush = Entry::Flush(done);
        for _ in 0..FLUSH_TRIES {
            match self.queue.lines.try_send(flush) {
                Ok(()) => {
                    let _ = wait.recv_timeout(FLUSH);
                    return;
                }
                Err(TrySendError::Full(back)) => flush = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(FLUSH / FLUSH_TRIES);
        }
    }
}

impl Levels {
    fn filter(&self) -> Targets {
        let targets = self
            .targets
            .iter()
            .map(|(name, level)| (name.clone(), filter(*level)));
        Targets::new()
            .with_default(filter(self.default))
            .with_targets(targets)
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn build(
    levels: &Levels,
    time: bool,
    out: impl Write + Send + 'static,
    lines_max: usize,
) -> io::Result<(Log, impl Subscriber + Send + Sync)> {
    let (lines, waiting) = sync_channel(lines_max);
    let queue = LineQueue {
        lines,
        lost: Arc::default(),
    };
    let lost = queue.lost.clone();
    thread::Builder::new()
        .name("log".into())
        .spawn(move || write_lines(&waiting, &lost, out))?;
    let (filter, handle) = reload::Layer::new(levels.filter());
    let layer = Lines {
        queue: queue.clone(),
        time,
    };
    let subscriber = Registry::default().with(layer.with_filter(filter));
    Ok((
        Log {
            queue,
            levels: handle,
        },
        subscriber,
    ))
}

/// The sending end.
#[derive(Debug, Clone)]
struct LineQueue {
    lines: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    Flush(mpsc::Sender<()>),
}

/// Runs on its own thread until nobody can log any more.
fn write_lines(waiting: &Receiver<Entry>, lost: &AtomicU64, mut out: impl Write) {
    let mut told = 0;
    while let Ok(entry) = waiting.recv() {
        // When stderr is gone there is nobody left to tell.
        let _ = match entry {
            Entry::Line(line) => out.write_all(line.as_bytes()),
            Entry::Flush(done) => out.flush().map(|()| drop(done)),
        };
        let lost = lost.load(Ordering::Relaxed);
        if lost != told {
            let count = lost - told;
            told = lost;
            let _ = writeln!(
                out,
                "warn log: {count} lines were lost, they came faster than they could be written"
            );
        }
    }
}

/// Turns events into lines.
struct Lines {
    queue: LineQueue,
    time: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = String::with_capacity(128);
        if self.time {
            line.push_str(&timestamp::millis(timestamp::now()));
            line.push(' ');
        }
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let _ = write!(line, "{level} {}:", event.metadata().target());
        let mut fields = Fields {
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        for part in [&fields.message, &fields.rest] {
            if !part.is_empty() {
                line.push(' ');
                line.push_str(part.trim_start());
            }
        }
        if line.len() > LINE_MAX {
            line.truncate(line.floor_char_boundary(LINE_MAX - 3));
            line.push_str("...");
        }
        line.push('\n');
        if let Err(TrySendError::Full(_)) = self.queue.lines.try_send(Entry::Line(line)) {
            self.queue.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The message, and the other fields as ` name=value`.
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => push_safe(&mut self.message, value),
            name => push_field(&mut self.rest, name, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &value.to_string());
    }
}

/// Quoted where a reader could not tell where the value ends.
fn push_field(out: &mut String, name: &str, value: &str) {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    // Writing to a string does not fail.
    let _ = match !value.is_empty() && value.chars().all(plain) {
        true => write!(out, " {name}={value}"),
        false => write!(out, " {name}={value:?}"),
    };
}

/// Text that came from outside cannot begin a line of its own, nor paint a terminal.
fn push_safe(out: &mut String, text: &str) {
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Condvar, Mutex};

    /// A writer that can be held up.
    #[derive(Clone, Default)]
    struct Slow(Arc<(Mutex<State>, Condvar)>);

    #[derive(Default)]
    struct State {
        held: bool,
        written: Vec<u8>,
    }

    impl Slow {
        fn hold(&self, held: bool) {
            self.0.0.lock().unwrap().held = held;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().unwrap().written.clone()).unwrap()
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self
                .0
                .1
                .wait_while(self.0.0.lock().unwrap(), |s| s.held)
                .unwrap();
            state.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_that_its_values_cannot_break() {
        let out = Slow::default();
        let (log, subscriber) = build(&Levels::default(), false, out.clone(), 10).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "smtp", peer = "192.0.2.1", from = "a b\"\nx", n = 3, empty = "", "accepted {}", "x\r\ny\x1b[2J");
            tracing::debug!(target: "smtp", "not shown");
            let more = Levels {
                default: LogLevel::Error,
                targets: BTreeMap::from([("smtp".into(), LogLevel::Debug)]),
            };
            log.set_levels(&more);
            tracing::debug!(target: "smtp", "shown");
            tracing::warn!(target: "imap", "not shown");
            tracing::error!(target: "imap", big = "x".repeat(LINE_MAX), "cut");
        });
        drop(log);
        let text = out.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines.first().unwrap(),
            &"info smtp: accepted x\\r\\ny\\u{1b}[2J peer=192.0.2.1 from=\"a b\\\"\\nx\" n=3 empty=\"\""
        );
        assert_eq!(lines.get(1).unwrap(), &"debug smtp: shown");
        assert_eq!(lines.get(2).unwrap().len(), LINE_MAX);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_log_that_stands_still_holds_nobody_up_and_says_how_much_was_lost() {
        let out = Slow::default();
        let (log, subscriber) = build(&Levels::default(), false, out.clone(), 10).unwrap();
        out.hold(true);
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..1_000 {
                tracing::info!(target: "t", "{n}");
            }
        });
        // Ten wait, and one may be in the writer's hands.
        assert!((989..=990).contains(&log.dropped()), "{}", log.dropped());
        out.hold(false);
        let lost = log.dropped();
        thread::sleep(Duration::from_millis(50));
        drop(log);
        let text = out.text();
        assert!(text.starts_with("info t: 0\n"));
        assert!(
            text.contains(&format!("warn log: {lost} lines were lost")),
            "{text}"
        );
    }
}
