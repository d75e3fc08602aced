//! Running other programs to their end.

use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A longer line is shown in pieces.
const LINE_MAX: u64 = 64 << 10;
const LINES_AHEAD: usize = 100;
/// What a program has printed before its end is here within this time.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs `command` with our own output streams; whether it succeeded.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("start {}", name(command)))?;
    Ok(status.success())
}

/// Runs `command` with all that it prints in our standard output; `see` is shown each line as it comes.
pub fn overheard(mut command: Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let what = name(&command);
    // One pipe, since two would not keep the order.
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("start {what}"))?;
    // It has the pipe's other end, too.
    drop(command);
    let (sender, lines) = mpsc::sync_channel(LINES_AHEAD);
    thread::spawn(move || pass_on(reader, &sender));
    let mut has_ended = false;
    loop {
        match lines.recv_timeout(LAST_WORDS) {
            Ok(line) => see(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            // What the program has left running may keep the pipe open.
            Err(RecvTimeoutError::Timeout) if has_ended => break,
            // What it has printed a moment ago may be under way.
            Err(RecvTimeoutError::Timeout) => has_ended = child.try_wait()?.is_some(),
        }
    }
    Ok(child.wait()?.success())
}

fn pass_on(reader: PipeReader, sender: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line).into_owned();
        print!("{text}");
        // What comes behind the end of the program is shown only.
        let _ = sender.send(text);
        line.clear();
    }
}

/// Runs `command` quietly, at most for `limit`. The error holds the end of what it printed.
pub fn quietly(command: &mut Command, limit: Duration) -> Result<String> {
    let (success, text) = output(command, limit)?;
    if success {
        return Ok(text);
    }
    bail!("{}: {}", name(command), last_lines(&text, 3))
}

/// Runs `command` quietly, at most for `limit`: whether it succeeded, and what it printed, errors last.
pub fn output(command: &mut Command, limit: Duration) -> Result<(bool, String)> {
    let what = name(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {what}"))?;
    let mut streams = (child.stdout.take(), child.stderr.take());
    let readers = [thread::spawn(move || slurp(streams.0.as_mut())), thread::spawn(move || slurp(streams.1.as_mut()))];
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("{what} did not end within {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    };
    let text = readers.map(|reader| reader.join().unwrap_or_default()).concat();
    Ok((status.success(), text))
}

fn slurp(stream: Option<&mut impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // A broken pipe leaves what has arrived, and that is what is wanted.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("; ")
}

fn name(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    program.rsplit('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_the_end_of_what_was_printed() {
        let script = "echo one >&2; echo two >&2; echo three >&2; echo four >&2; exit 3";
        let error = quietly(Command::new("sh").args(["-c", script]), Duration::from_secs(10));
        assert_eq!(error.unwrap_err().to_string(), "sh: two; three; four");
    }

    #[test]
    fn lines_are_overheard_in_their_order() {
        let mut command = Command::new("sh");
        // What stays behind keeps the streams.
        command.args(["-c", "echo one; echo two >&2; sleep 60 & echo $!; exit 3"]);
        let mut lines = Vec::new();
        let begun = Instant::now();
        assert!(!overheard(command, |line| lines.push(line.trim().to_owned())).unwrap());
        let left = lines.pop().unwrap();
        assert!(Command::new("kill").arg(&left).status().unwrap().success(), "{left} has ended: it was waited for");
        assert_eq!(lines, ["one", "two"]);
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = quietly(Command::new("sleep").arg("60"), Duration::from_millis(100));
        assert!(error.unwrap_err().to_string().contains("did not end"));
    }
}
