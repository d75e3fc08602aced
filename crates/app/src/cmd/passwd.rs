//! `homeport passwd`

use anyhow::Context;
use std::io::{BufRead, IsTerminal, Write};

pub(crate) fn run(name: Option<&str>, cost: u32) -> anyhow::Result<()> {
    if name.is_some_and(|name| name.is_empty() || name.contains(':') || name.chars().any(char::is_control)) {
        anyhow::bail!("a user name must not be empty or hold a colon or control characters");
    }
    let password = read_password()?;
    let hash = access::hash_password(password.as_bytes(), cost)?;
    match name {
        Some(name) => super::print(&format!("{name}:{hash}\n")),
        None => super::print(&format!("{hash}\n")),
    }
}

fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let hidden = hide_input().context("cannot switch off the echo of the terminal")?;
    let first = ask("Password: ");
    let second = ask("Again: ");
    drop(hidden);
    let (first, second) = (first?, second?);
    anyhow::ensure!(first == second, "the passwords differ");
    Ok(first)
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    let mut terminal = std::io::stderr();
    terminal.write_all(prompt.as_bytes())?;
    terminal.flush()?;
    let line = read_line();
    terminal.write_all(b"\n")?;
    line
}

fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    let password = line.trim_end_matches(['\n', '\r']);
    anyhow::ensure!(!password.is_empty(), "the password is empty");
    Ok(password.to_owned())
}

/// Gives the terminal its echo back.
struct Hidden(rustix::termios::Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing better can be done on the way out.
        let _ = rustix::termios::tcsetattr(std::io::stdin(), rustix::termios::OptionalActions::Now, &self.0);
    }
}

fn hide_input() -> rustix::io::Result<Hidden> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let before = tcgetattr(std::io::stdin())?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Now, &silent)?;
    Ok(Hidden(before))
}
