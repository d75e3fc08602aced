//! A place to run clients: folders of its own for everything they read and write, bounded time, nothing left running.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest run of one client.
const RUN_MAX: Duration = Duration::from_secs(90);
/// The longest start and stop of a daemon, on a busy machine.
const DAEMON_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(3);

/// Folders and settings of one test.
pub(crate) struct Desk {
    dir: TempDir,
}

/// A client at a desk.
pub(crate) struct Tool<'a> {
    desk: &'a Desk,
    program: PathBuf,
}

/// What a client said.
pub(crate) struct Done {
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program in the background; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Desk {
    pub(crate) fn new() -> Result<Self> {
        let desk = Self { dir: tempfile::tempdir()? };
        for folder in ["home", "tmp", "run"] {
            std::fs::create_dir(desk.path(folder))?;
        }
        // podman, buildah and skopeo. The machine's own rlimits, because a sandbox may forbid to raise them.
        let dir = desk.dir.path().display();
        desk.write("registries.conf", "")?;
        desk.write(
            "storage.conf",
            &format!("[storage]\ndriver = \"vfs\"\nrunroot = \"{dir}/storage-run\"\ngraphroot = \"{dir}/storage\"\n"),
        )?;
        desk.write(
            "containers.conf",
            &format!(
                "[containers]\nnetns = \"none\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
                 [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\nlock_type = \"file\"\nruntime = \"runc\"\n\
                 tmp_dir = \"{dir}/libpod\"\nstatic_dir = \"{dir}/libpod-static\"\nvolume_path = \"{dir}/volumes\"\n\
                 [network]\nnetwork_config_dir = \"{dir}/networks\"\n"
            ),
        )?;
        Ok(desk)
    }

    /// A path in the folder of this desk.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text, for command lines.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::write(&path, content)?;
        Ok(path)
    }

    /// A client of the tool catalogue. `None`, with a line that says so, when it is not here.
    pub(crate) fn tool(&self, name: &str) -> Option<Tool<'_>> {
        e2e::tool(name).map(|program| self.program(program))
    }

    pub(crate) fn program(&self, program: PathBuf) -> Tool<'_> {
        Tool { desk: self, program }
    }

    /// The program under test, for commands other than `serve`.
    pub(crate) fn homeport(&self) -> Result<Tool<'_>> {
        if let Some(path) = std::env::var_os("HOMEPORT_BIN") {
            return Ok(self.program(path.into()));
        }
        let test = std::env::current_exe()?;
        let found = test.ancestors().map(|dir| dir.join("homeport")).find(|path| path.is_file());
        Ok(self.program(found.context("the program homeport is not built")?))
    }

    /// Starts a program and waits until its log holds `ready`.
    pub(crate) fn daemon(&self, name: &str, program: &Path, arguments: &[&str], ready: &str) -> Result<Daemon> {
        let log = self.path(&format!("{name}.log"));
        let sink = File::create(&log)?;
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink);
        let child = command.spawn().with_context(|| program.display().to_string())?;
        let mut daemon = Daemon { child, log };
        let until = Instant::now() + DAEMON_MAX;
        while !daemon.log().contains(ready) {
            let ended = daemon.child.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < until, "{name} does not come up:\n{}", daemon.log());
            std::thread::sleep(POLL);
        }
        Ok(daemon)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env_clear().process_group(0);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        for (name, path) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_CONFIG_HOME", "home/.config"),
            ("XDG_CACHE_HOME", "home/.cache"),
            ("XDG_DATA_HOME", "home/.local/share"),
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
        ] {
            command.env(name, self.path(path));
        }
        // No client has a reason to talk to anything but this machine.
        for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
            command.env(name, "http://127.0.0.1:9");
        }
        command.env("COSIGN_PASSWORD", "secret").env("NO_COLOR", "1");
        command
    }
}

impl Tool<'_> {
    /// Runs the words of a command line; `'` quotes. Fails when the program does; returns its standard output.
    pub(crate) fn ok(&self, line: &str) -> Result<String> {
        Ok(self.done(line)?.stdout)
    }

    /// The same, with both outputs.
    pub(crate) fn done(&self, line: &str) -> Result<Done> {
        self.feed(line, "")
    }

    /// The same with standard input.
    pub(crate) fn feed(&self, line: &str, input: &str) -> Result<Done> {
        let done = self.run(line, input)?;
        ensure!(
            done.status.success(),
            "{} {line}\n{}\n{}{}",
            self.program.display(),
            done.status,
            done.stdout,
            done.stderr
        );
        Ok(done)
    }

    /// Expects the program to fail; returns all it said.
    pub(crate) fn refused(&self, line: &str) -> Result<String> {
        self.refused_with(line, "")
    }

    /// The same with standard input.
    pub(crate) fn refused_with(&self, line: &str, input: &str) -> Result<String> {
        let done = self.run(line, input)?;
        let said = done.stdout + &done.stderr;
        ensure!(!done.status.success(), "{} {line}\nsucceeds: {said}", self.program.display());
        Ok(said)
    }

    fn run(&self, line: &str, input: &str) -> Result<Done> {
        // Files instead of pipes: a helper that outlives its program would keep a pipe open.
        let (mut stdin, mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
        stdin.write_all(input.as_bytes())?;
        stdin.rewind()?;
        let mut command = self.desk.command(&self.program);
        command.args(words(line)).stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let mut child = command.spawn().with_context(|| self.program.display().to_string())?;
        let status = wait(&mut child, RUN_MAX)?;
        let (stdout, stderr) = (read_all(&mut stdout)?, read_all(&mut stderr)?);
        let Some(status) = status else {
            kill(&mut child, "KILL");
            bail!("{} {line}\ndoes not end:\n{stdout}{stderr}", self.program.display());
        };
        Ok(Done { status, stdout, stderr })
    }
}

impl Daemon {
    pub(crate) fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Asks it to end and waits.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        kill(&mut self.child, "TERM");
        if wait(&mut self.child, DAEMON_MAX)?.is_none() {
            bail!("does not stop:\n{}", self.log());
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.end());
        kill(&mut self.child, "KILL");
        drop(self.child.wait());
    }
}

/// Words of a command line. `'` quotes.
fn words(line: &str) -> Vec<OsString> {
    let mut words: Vec<String> = Vec::new();
    let (mut quoted, mut inside) = (false, false);
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            _ if character.is_whitespace() && !quoted => {
                inside = false;
                continue;
            }
            _ => {}
        }
        if !inside {
            words.push(String::new());
            inside = true;
        }
        if let (Some(word), false) = (words.last_mut(), character == '\'') {
            word.push(character);
        }
    }
    words.into_iter().map(OsString::from).collect()
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() > until {
            return Ok(status);
        }
        std::thread::sleep(POLL);
    }
}

/// Signals the process group that a program was started in, unless the program was already waited for.
fn kill(child: &mut Child, signal: &str) {
    if matches!(child.try_wait(), Ok(None)) {
        drop(Command::new("kill").args([&format!("-{signal}"), "--", &format!("-{}", child.id())]).status());
    }
}

fn read_all(file: &mut File) -> Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
