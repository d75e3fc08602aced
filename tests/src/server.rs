//! A running `homeport serve`.

use crate::Client;
use crate::place::Place;
use anyhow::{Context, Result, bail, ensure};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Also of what it logs. It takes a second, and much longer on a busy machine.
const START_MAX: Duration = Duration::from_secs(180);
const STOP_MAX: Duration = Duration::from_secs(180);
/// Lines.
const END_OF_LOG: usize = 60;

/// How to start a server.
#[derive(Default)]
pub struct ServerBuilder {
    config: Option<String>,
    data: Option<PathBuf>,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    tls: bool,
    no_folder: bool,
}

/// A server process with a folder of its own; killed when dropped.
pub struct Server {
    child: Child,
    address: String,
    tls: bool,
    dir: Option<tempfile::TempDir>,
    data: PathBuf,
    log: Arc<Mutex<String>>,
}

thread_local! {
    /// Places in which the servers of a test keep their content, by the folder that stands for each: they live as long as
    /// the test's thread, so that a server can be started again.
    static PLACES: RefCell<Vec<(PathBuf, Rc<Place>)>> = const { RefCell::new(Vec::new()) };
}

/// The storage that the tests are run over, see [`crate::place`]: one for each server, and the same for servers on the same
/// folder. `None`: folders are what they are.
fn place(data: Option<&Path>, own: &Path) -> Result<Option<(PathBuf, Rc<Place>)>> {
    if let Some(data) = data {
        return Ok(PLACES.with_borrow(|places| places.iter().find(|(folder, _)| folder == data).cloned()));
    }
    let Some(place) = Place::named()?.map(Rc::new) else { return Ok(None) };
    let folder = place.tree().map_or_else(|| own.join("data"), Path::to_owned);
    PLACES.with_borrow_mut(|places| places.push((folder.clone(), Rc::clone(&place))));
    Ok(Some((folder, place)))
}

impl ServerBuilder {
    /// A configuration file. `{dir}` stands for the server's folder. Address and data folder are set by the harness unless
    /// the text names them.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.config = Some(yaml.to_owned());
        self
    }

    /// Serves an existing folder, which is kept.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// The configuration says where content is kept.
    #[must_use]
    pub fn no_folder(mut self) -> Self {
        self.no_folder = true;
        self
    }

    /// One more command line argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Whether a configuration file was given.
    pub(crate) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The configuration switches TLS on: readiness is then only a line in the log.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// The binary is missing or does not come up; the error holds its log.
    pub fn start(mut self) -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let mut data = self.data.clone().unwrap_or_else(|| dir.path().join("data"));
        if !self.no_folder
            && let Some((folder, place)) = place(self.data.as_deref(), dir.path())?
        {
            // What the test itself sets comes last, and counts.
            let own = std::mem::take(&mut self.env);
            self = place.hold(self);
            self.env.extend(own);
            data = folder;
        }
        let mut command = Command::new(binary()?);
        command.arg("serve").current_dir(dir.path());
        if let Some(config) = &self.config {
            let path = dir.path().join("config.yml");
            std::fs::write(&path, config.replace("{dir}", &dir.path().to_string_lossy()))?;
            command.arg(path);
        }
        command.args(["--listen", "127.0.0.1:0"]);
        if !self.no_folder {
            command.arg("--data").arg(&data);
        }
        command.args(&self.arguments);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGISTRY_")) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().context("homeport")?;
        let stderr = child.stderr.take().context("no standard error")?;
        let log = collect(stderr);
        let mut server = Server { child, address: String::new(), tls: self.tls, dir: Some(dir), data, log };
        server.address = server.wait_for_address()?;
        Ok(server)
    }
}

impl Server {
    /// A builder.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// A server without a configuration: open to everybody.
    ///
    /// # Errors
    /// See [`ServerBuilder::start`].
    pub fn open() -> Result<Self> {
        Self::builder().start()
    }

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A client without credentials.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&format!("{}://{}", if self.tls { "https" } else { "http" }, self.address))
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of this server: its configuration is `config.yml` in it.
    ///
    /// # Panics
    /// Never: the folder is only given away by [`Server::kill`] and [`Server::stop`], which take the server.
    #[must_use]
    #[expect(clippy::expect_used, reason = "see above")]
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().expect("a running server has its folder").path()
    }

    /// Everything logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the log holds `text`.
    ///
    /// # Errors
    /// It does not within some seconds.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        let until = Instant::now() + START_MAX;
        while !self.log().contains(text) {
            ensure!(Instant::now() < until, "no {text:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Sends a signal by name, such as `HUP`.
    ///
    /// # Errors
    /// `kill` fails.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status()?;
        ensure!(status.success(), "kill -{name} failed");
        Ok(())
    }

    /// Writes the configuration anew and sends SIGHUP; returns when the server has taken it or refused it.
    ///
    /// # Errors
    /// The file cannot be written, or the server does not read it.
    pub fn reload(&self, config: &str) -> Result<()> {
        const ENDS: [&str; 2] = ["configuration read again", "the new configuration is not usable"];
        let readings = || {
            let log = self.log();
            ENDS.iter().map(|end| log.matches(end).count()).sum::<usize>()
        };
        let config = config.replace("{dir}", &self.dir().to_string_lossy());
        // In one step: the server looks at the file by itself as well.
        std::fs::write(self.dir().join("config.new"), config)?;
        std::fs::rename(self.dir().join("config.new"), self.dir().join("config.yml"))?;
        // So a reading may have begun before that, but not a second one after it has ended.
        let before = readings();
        let until = Instant::now() + START_MAX;
        for more in 1..=2 {
            self.signal("HUP")?;
            while readings() < before + more {
                ensure!(Instant::now() < until, "the configuration is not read again:\n{}", self.log());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    /// SIGKILL; the folder stays until the returned value is dropped.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn kill(mut self) -> Result<Option<tempfile::TempDir>> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(self.dir.take())
    }

    /// SIGTERM; waits for the clean end.
    ///
    /// # Errors
    /// It does not end in time, or not with success.
    pub fn stop(mut self) -> Result<Option<tempfile::TempDir>> {
        self.signal("TERM")?;
        let until = Instant::now() + STOP_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "ended with {status}:\n{}", self.log());
                return Ok(self.dir.take());
            }
            ensure!(Instant::now() < until, "does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_address(&mut self) -> Result<String> {
        let until = Instant::now() + START_MAX;
        loop {
            let log = self.log();
            if let Some(address) = address_in(&log) {
                return Ok(address.to_owned());
            }
            if let Some(status) = self.child.try_wait()? {
                // What it said last may still be on its way: the reader ends with its output.
                while Arc::strong_count(&self.log) > 1 && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(1));
                }
                bail!("homeport ended with {status}:\n{}", self.log());
            }
            ensure!(Instant::now() < until, "homeport does not come up:\n{log}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The registry's own address; the Kubernetes API has another one, and may be first to say so.
fn address_in(log: &str) -> Option<&str> {
    const SAID: &str = "listening on ";
    let (at, _) = log.match_indices(SAID).find(|(at, _)| !log[..*at].ends_with("kubernetes API "))?;
    log[at + SAID.len()..].split(['"', ' ', '\n']).next()
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        self.tell_end_of_log();
    }
}

impl Server {
    /// What the registry said last, for whoever reads why a test failed: the output of one that passes is not shown.
    #[expect(clippy::print_stdout, reason = "the harness keeps what this macro prints, and nothing else")]
    fn tell_end_of_log(&self) {
        let log = self.log();
        let from = log.rmatch_indices('\n').nth(END_OF_LOG).map_or(0, |(at, _)| at + 1);
        println!("the registry at {} ended; its last lines:\n{}", self.address, &log[from..]);
    }
}

fn collect(stderr: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
            let mut log = sink.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    });
    log
}

/// The program under test: `HOMEPORT_BIN`, or the one built beside this test.
///
/// # Errors
/// There is none.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HOMEPORT_BIN") {
        return Ok(path.into());
    }
    let mut dir = std::env::current_exe()?;
    while dir.pop() {
        let candidate = dir.join("homeport");
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("the program homeport is not built; run `cargo xtask test`, or `cargo build -p homeport` first")
}
