//! Running other programs to their end.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs `command` with our own output streams; whether it succeeded.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("start {}", name(command)))?;
    Ok(status.success())
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
    fn a_program_that_hangs_is_ended() {
        let error = quietly(Command::new("sleep").arg("60"), Duration::from_millis(100));
        assert!(error.unwrap_err().to_string().contains("did not end"));
    }
}
