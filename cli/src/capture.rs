//! Sessions recorded into files: one `.session` file each, written by a thread of its own.
//!
//! A session hands its tape over when it ends and never waits: when the writer is behind, the tape is dropped and counted.
//! Tapes together hold at most [`MEMORY_MAX`]. A folder holds at most so many files; the oldest make room.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mox_machine::{Seed, Tape, TapeRoom, Utc};
use mox_node::{Bound, Captured, CapturedSession, Captures, Config};
use mox_runtime_smol::SmolRuntime;
use mox_server::config::{CAPTURE_FILES_DEFAULT, CAPTURE_OCTETS_DEFAULT, Capture as Limits};
use mox_transcripts::{About, Capture, Redact, imap, smtp};

use crate::failure::Failure;

/// Octets that the tapes of all sessions of one folder may hold together.
const MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Tapes that wait for the writer.
const WAITING_MAX: usize = 4_096;
/// Many sessions end at the same time: the writer is woken once for them.
const GATHER: Duration = Duration::from_millis(20);
/// Longest that a stop waits for what is not written yet.
const STOP_MAX: Duration = Duration::from_secs(5);
/// What a recorded session is called.
const SUFFIX: &str = ".session";

/// What is to be recorded.
#[derive(Debug, Default)]
pub(crate) struct CapturePlan {
    /// Every session, those with other servers included.
    pub(crate) all: Option<Limits>,
    /// Those of listeners, by their names.
    pub(crate) listeners: BTreeMap<String, Limits>,
}

impl CapturePlan {
    /// As the command line says.
    pub(crate) fn of_flags(
        dir: Option<&PathBuf>,
        plain: bool,
        max_files: Option<u64>,
        max_octets: Option<u64>,
    ) -> Result<Self, Failure> {
        let Some(dir) = dir.cloned() else {
            let given = [
                (plain, "--capture-plain"),
                (max_files.is_some(), "--capture-files"),
                (max_octets.is_some(), "--capture-octets"),
            ];
            return match given.into_iter().find(|(given, _)| *given) {
                Some((_, flag)) => Err(Failure::Usage(format!(
                    "{flag} says how to record, not where; add --capture DIR"
                ))),
                None => Ok(Self::default()),
            };
        };
        let limits = Limits {
            dir,
            max_files: max_files.unwrap_or(CAPTURE_FILES_DEFAULT),
            max_octets: max_octets.unwrap_or(CAPTURE_OCTETS_DEFAULT),
            plain,
        };
        if let Some((field, problem, remedy)) = limits.problem() {
            let flag = match field {
                "max_files" => "--capture-files",
                "max_octets" => "--capture-octets",
                _ => "--capture",
            };
            return Err(Failure::Usage(format!("{flag}: {problem}; {remedy}")));
        }
        Ok(Self {
            all: Some(limits),
            listeners: BTreeMap::new(),
        })
    }
}

/// The recorders of a process.
#[derive(Debug, Default)]
pub(crate) struct Recorders(Vec<(Limits, Arc<Recorder>)>);

impl Recorders {
    /// Starts what is wanted and tells the node's sockets. A folder has one recorder.
    pub(crate) fn start(
        &mut self,
        plan: &CapturePlan,
        seed: &Seed,
        bound: &mut Bound<SmolRuntime>,
        config: &Config,
    ) -> Result<(), Failure> {
        for listener in &config.listeners {
            let own = plan.listeners.get(&listener.name);
            if let Some(limits) = own.or(plan.all.as_ref()) {
                bound.capture(&listener.name, self.recorder(limits, seed)?);
            }
        }
        if let Some(limits) = &plan.all {
            bound.capture_outgoing(self.recorder(limits, seed)?);
        }
        Ok(())
    }

    fn recorder(&mut self, limits: &Limits, seed: &Seed) -> Result<Arc<Recorder>, Failure> {
        if let Some((known, recorder)) = self.0.iter().find(|(known, _)| known.dir == limits.dir) {
            if known != limits {
                return Err(Failure::Failed(format!(
                    "two recordings go into {} with different settings; give each a folder of its own",
                    limits.dir.display()
                )));
            }
            return Ok(recorder.clone());
        }
        let recorder = Recorder::start(limits, &seed.child("capture", self.0.len() as u64))?;
        self.0.push((limits.clone(), recorder.clone()));
        Ok(recorder)
    }

    /// Writes what was recorded, as far as that does not take too long.
    pub(crate) fn stop(&self) {
        let until = Instant::now() + STOP_MAX;
        for (limits, recorder) in &self.0 {
            if !recorder.stop(until) {
                let dir = limits.dir.display();
                tracing::warn!(target: "capture", %dir, "recordings are lost: they could not be written in time");
            }
        }
    }
}

/// Records into one folder.
#[derive(Debug)]
pub(crate) struct Recorder {
    inbox: SyncSender<Message>,
    room: TapeRoom,
    max_octets: usize,
    missed: Arc<AtomicU64>,
    /// Disconnected when the writer is gone.
    writer: Mutex<Option<Receiver<()>>>,
}

#[derive(Debug)]
enum Message {
    Write(Box<Captured>),
    Stop,
}

impl Recorder {
    /// Makes the folder and starts the writer. Files of earlier runs count, and go first.
    pub(crate) fn start(limits: &Limits, seed: &Seed) -> Result<Arc<Self>, Failure> {
        let dir = &limits.dir;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(dir)
            .map_err(|e| Failure::io("make the folder for captures", dir, &e))?;
        let files = present(dir).map_err(|e| Failure::io("read the folder", dir, &e))?;
        if limits.plain {
            tracing::warn!(
                target: "capture",
                dir = %dir.display(),
                "sessions are recorded with addresses and messages in clear: give these files to nobody before moxctl capture redact"
            );
        }
        let (inbox, messages) = sync_channel(WAITING_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            limits: limits.clone(),
            key: *seed.bytes(),
            files,
            sequence: 0,
            missed: missed.clone(),
            told: 0,
            cut: 0,
        };
        let (running, gone) = sync_channel(0);
        let thread = std::thread::Builder::new().name("capture".into());
        thread
            .spawn(move || {
                let _running: SyncSender<()> = running;
                writer.run(&messages);
            })
            .map_err(|e| Failure::Failed(format!("cannot start a thread: {e}")))?;
        Ok(Arc::new(Self {
            inbox,
            room: TapeRoom::new(MEMORY_MAX),
            max_octets: usize::try_from(limits.max_octets).unwrap_or(usize::MAX),
            missed,
            writer: Mutex::new(Some(gone)),
        }))
    }

    /// Writes what waits, then stops. False when that is not done in time; the process ends all the same.
    pub(crate) fn stop(&self, until: Instant) -> bool {
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(writer) = writer else {
            return true;
        };
        let mut message = Message::Stop;
        while let Err(TrySendError::Full(back)) = self.inbox.try_send(message) {
            if Instant::now() >= until {
                return false;
            }
            message = back;
            std::thread::sleep(GATHER);
        }
        let rest = until.saturating_duration_since(Instant::now());
        // Nobody sends: it ends by the writer's end.
        writer.recv_timeout(rest) != Err(RecvTimeoutError::Timeout)
    }
}

impl Captures for Recorder {
    fn wanted(&self) -> Option<(usize, TapeRoom)> {
        if self.room.free() == 0 {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some((self.max_octets, self.room.clone()))
    }

    fn finished(&self, captured: Captured) {
        if self
            .inbox
            .try_send(Message::Write(Box::new(captured)))
            .is_err()
        {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    limits: Limits,
    key: [u8; 32],
    /// Oldest first.
    files: VecDeque<PathBuf>,
    sequence: u64,
    missed: Arc<AtomicU64>,
    /// How many missed ones were told.
    told: u64,
    /// How many end early since that was told: what followed could not be redacted.
    cut: u64,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            if !matches!(first, Message::Stop) {
                std::thread::sleep(GATHER);
            }
            let (mut failed, mut stopping) = (None, false);
            for message in core::iter::once(first).chain(messages.try_iter()) {
                match message {
                    Message::Write(captured) => {
                        if let Err(error) = self.write(*captured) {
                            failed = Some(error);
                        }
                    }
                    Message::Stop => stopping = true,
                }
            }
            // The names of all of them at once.
            let synced = File::open(&self.limits.dir).and_then(|dir| dir.sync_all());
            if let Some(error) = failed.or_else(|| synced.err().map(|e| e.to_string())) {
                let dir = self.limits.dir.display();
                tracing::warn!(target: "capture", %dir, error, "sessions could not be recorded");
            }
            let missed = self.missed.load(Ordering::Relaxed);
            if missed > self.told {
                let sessions = missed - self.told;
                self.told = missed;
                tracing::warn!(target: "capture", sessions, "sessions were not recorded: the writer is behind");
            }
            let sessions = core::mem::take(&mut self.cut);
            if sessions > 0 {
                let dir = self.limits.dir.display();
                tracing::warn!(target: "capture", %dir, sessions, "recordings end early: what followed could not be redacted");
            }
            if stopping {
                return;
            }
        }
    }

    fn write(&mut self, captured: Captured) -> Result<(), String> {
        // Redacting runs the machine: a session that ended by a panic does so again. That is no reason to record no more.
        let text = std::panic::catch_unwind(AssertUnwindSafe(|| self.text(&captured)));
        let (start, text, is_cut) = text.unwrap_or_else(|_| Err("redacting it panicked".into()))?;
        self.cut += u64::from(is_cut);
        self.sequence += 1;
        let name = name(start, self.sequence, &captured.listener);
        let max = usize::try_from(self.limits.max_files).unwrap_or(usize::MAX);
        while self.files.len() >= max {
            let Some(oldest) = self.files.pop_front() else {
                break;
            };
            match fs::remove_file(&oldest) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.to_string()),
                _ => {}
            }
        }
        let path = self.limits.dir.join(&name);
        let part = self.limits.dir.join(format!(".{name}.part"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&part, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&part);
            return Err(error.to_string());
        }
        self.files.push_back(path);
        Ok(())
    }

    fn text(&self, captured: &Captured) -> Result<(Utc, String, bool), String> {
        let ron = |settings: Result<String, ron::Error>| settings.map_err(|e| e.to_string());
        match &captured.session {
            CapturedSession::SmtpServer(config, tape) => {
                let settings = ron::to_string(&smtp::server::Settings::of(config));
                self.capture(captured, ron(settings)?, tape)
            }
            CapturedSession::SmtpClient(config, tape) => {
                let settings = ron::to_string(&smtp::client::Settings::of(config));
                self.capture(captured, ron(settings)?, tape)
            }
            CapturedSession::ImapServer(config, tape) => {
                let settings = ron::to_string(&imap::Settings::of(config));
                self.capture(captured, ron(settings)?, tape)
            }
        }
    }

    /// When it began, the file, and whether that ends where it could not be redacted.
    fn capture<S: Redact>(
        &self,
        captured: &Captured,
        config: String,
        tape: &Tape<S>,
    ) -> Result<(Utc, String, bool), String> {
        let plain = self.limits.plain;
        let about = About {
            about: captured.listener.clone(),
            peer: match plain {
                true => captured.peer.to_string(),
                false => String::new(),
            },
            privacy: if plain { "plain" } else { "redacted" }.into(),
            config,
        };
        let max = usize::try_from(self.limits.max_octets).unwrap_or(usize::MAX);
        let mut capture = Capture::of_tape(tape, about, captured.seed.clone(), max);
        let is_cut = !plain && !capture.redact_to_where_it_fails(self.key);
        Ok((tape.start().utc, capture.to_text_within(max), is_cut))
    }
}

/// What a recorded session is called. Names are in the order of the sessions.
fn name(start: Utc, sequence: u64, listener: &str) -> String {
    let stamp = start.to_string();
    let stamp: String = stamp.chars().filter(char::is_ascii_alphanumeric).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    let listener: String = listener
        .chars()
        .map(|c| if is_plain(c) { c } else { '-' })
        .collect();
    format!("{stamp}-{sequence:06}-{listener}{SUFFIX}")
}

/// Whether [`name`] gives such names: `20260102T030405Z-000001-incoming.session`. Files that somebody called otherwise are
/// theirs.
fn is_ours(name: &str) -> bool {
    let parts = name.strip_suffix(SUFFIX).and_then(|name| {
        let (stamp, rest) = name.split_once('-')?;
        let (sequence, listener) = rest.split_once('-')?;
        Some((stamp, sequence, listener))
    });
    let Some((stamp, sequence, listener)) = parts else {
        return false;
    };
    let digits =
        |text: &str, least: usize| text.len() >= least && text.bytes().all(|b| b.is_ascii_digit());
    let is_stamp = stamp
        .strip_suffix('Z')
        .and_then(|stamp| stamp.split_once('T'))
        .is_some_and(|(day, time)| digits(day, 8) && digits(time, 6) && time.len() == 6);
    is_stamp
        && digits(sequence, 6)
        && listener
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Recorded sessions in a folder, oldest first, and nothing else; remains of an interrupted write are removed.
fn present(dir: &Path) -> io::Result<VecDeque<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let part = name.strip_prefix('.').and_then(|n| n.strip_suffix(".part"));
        if part.is_some_and(is_ours) {
            let _ = fs::remove_file(&path);
        } else if is_ours(&name) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use mox_address::Domain;
    use mox_machine::{Mono, Now, Recorded, Session, Step};
    use mox_smtp::server::{Answer, Config, Server};

    #[test]
    fn how_to_record_without_where_is_wrong_usage() {
        for (plain, files, octets, flag) in [
            (true, None, None, "--capture-plain"),
            (false, Some(5), None, "--capture-files"),
            (false, None, Some(5_000), "--capture-octets"),
        ] {
            let Err(Failure::Usage(why)) = CapturePlan::of_flags(None, plain, files, octets) else {
                panic!("{flag} is taken");
            };
            assert!(
                why.starts_with(flag) && why.ends_with("add --capture DIR"),
                "{why}"
            );
        }
        assert!(
            CapturePlan::of_flags(None, false, None, None)
                .unwrap()
                .all
                .is_none()
        );
    }

    /// A new folder; whoever makes it removes it.
    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("mox-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn writer(dir: &Path, max_files: u64) -> Writer {
        let limits = Limits {
            dir: dir.to_owned(),
            max_files,
            max_octets: 1_000_000,
            plain: false,
        };
        Writer {
            files: present(dir).unwrap(),
            limits,
            key: [1; 32],
            sequence: 0,
            missed: Arc::default(),
            told: 0,
            cut: 0,
        }
    }

    /// A session that said something, recorded with a configuration that it did not have.
    fn captured(said: &str) -> Captured {
        let mut config = Config::new(Domain::parse("mx.example", false).unwrap());
        let now = Now {
            mono: Mono(1),
            utc: Utc::from_secs(1_767_323_045),
        };
        let tape = Tape::new(now, 1 << 20, TapeRoom::new(1 << 20));
        let mut session = Recorded::new(Server::new(config.clone(), now), Some(tape));
        let mut input = BytesMut::from(said);
        session.recv(now, &mut input);
        while let Some(step) = session.poll() {
            if let Step::Ask(id, _) = step {
                session.answer(now, id, Answer::Accept);
                session.recv(now, &mut input);
            }
        }
        config.auth_required = true;
        Captured {
            listener: "in coming".into(),
            peer: ([192, 0, 2, 1], 25).into(),
            seed: Seed::from_number(1),
            session: CapturedSession::SmtpServer(Arc::new(config), session.take_tape().unwrap()),
        }
    }

    #[test]
    fn what_cannot_be_redacted_is_written_up_to_there_and_counted() {
        let dir = folder("captures-cut");
        let mut writer = writer(&dir, 10);
        writer.write(captured("EHLO c.example\r\n")).unwrap();
        assert_eq!(writer.cut, 0);
        let both = "EHLO c.example\r\nMAIL FROM:<ann@c.example>\r\n";
        writer.write(captured(both)).unwrap();
        assert_eq!(writer.cut, 1);
        let text = fs::read_to_string(&writer.files[1]).unwrap();
        assert!(
            text.contains("\ntruncated: ") && !text.contains("ann"),
            "{text}"
        );
        assert!(
            text.contains("# what followed could not be redacted"),
            "{text}"
        );
        mox_transcripts::replay(&text, false).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn only_files_with_names_that_are_given_here_count_and_go() {
        let dir = folder("captures-kept");
        let kept = [
            "kept-by-hand.session",
            "20260102T030405Z-bug.session",
            "20260102T030405Z-000001-in.session.txt",
            "copy-20260102T030405Z-000001-in.session",
            ".mine.session.part",
            "2026-01-02-000001-in.session",
        ];
        let ours = [
            "20250102T030405Z-000007-in-coming.session",
            "20250102T030406Z-1234567-queue.session",
        ];
        let part = ".20250102T030405Z-000008-in.session.part";
        for name in kept.iter().chain(&ours).chain([&part]) {
            fs::write(dir.join(name), "x").unwrap();
        }
        let mut writer = writer(&dir, 2);
        let paths = ours.map(|name| dir.join(name));
        assert_eq!(writer.files, paths);
        assert!(!dir.join(part).exists());
        writer.write(captured("EHLO c.example\r\n")).unwrap();
        writer.write(captured("EHLO c.example\r\n")).unwrap();
        for name in kept {
            assert!(dir.join(name).exists(), "{name}");
        }
        assert!(paths.iter().all(|path| !path.exists()));
        // What is written is known again.
        assert_eq!(present(&dir).unwrap(), writer.files);
        assert_eq!(writer.files.len(), 2);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_stop_does_not_wait_for_a_writer_that_hangs() {
        for waiting in [0, 1] {
            let (inbox, messages) = sync_channel(1);
            let (running, gone) = sync_channel::<()>(0);
            for _ in 0..waiting {
                inbox.try_send(Message::Stop).unwrap();
            }
            let recorder = Recorder {
                inbox,
                room: TapeRoom::new(0),
                max_octets: 0,
                missed: Arc::default(),
                writer: Mutex::new(Some(gone)),
            };
            assert!(!recorder.stop(Instant::now() + GATHER));
            drop((running, messages));
        }
    }
}
