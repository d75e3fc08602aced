//! A line between a registry and its storage service, on which requests fail as a test wants it.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const HEAD_MAX: u64 = 64 * 1024;

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is answered with this status and code of S3, and the service never sees it.
    Answer(u16, &'static str),
    /// The service gets so many bytes of its body, then the line breaks.
    Cut(usize),
}

struct Rule {
    /// Which requests: the method and a part of the target.
    methods: &'static [&'static str],
    target: &'static str,
    fault: Fault,
    left: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    met: usize,
    /// How many requests came, by method and target.
    asked: BTreeMap<String, u64>,
    /// The last answer to each list.
    lists: HashMap<String, Vec<u8>>,
    frozen: bool,
}

/// Listens until the process ends.
pub struct Line {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Line {
    /// A line to a service without TLS.
    ///
    /// # Errors
    /// There is no free port.
    pub fn to(service: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (address, state) = (listener.local_addr()?, Arc::new(Mutex::new(State::default())));
        let (shared, service) = (Arc::clone(&state), service.trim_start_matches("http://").to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let (shared, service) = (Arc::clone(&shared), service.clone());
                // A line that breaks is what both ends have to live with.
                std::thread::spawn(move || drop(serve(&client, &service, &shared)));
            }
        });
        Ok(Self { address, state })
    }

    /// Scheme and host.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next `times` requests with one of these methods whose target contains `target` meet a fault.
    pub fn fail(&self, methods: &'static [&'static str], target: &'static str, fault: Fault, times: usize) {
        self.state().rules.push(Rule { methods, target, fault, left: times });
    }

    /// No more faults; returns how many there were.
    pub fn heal(&self) -> usize {
        let mut state = self.state();
        state.rules.clear();
        std::mem::take(&mut state.met)
    }

    /// How many requests came since the start, by method and target.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, u64> {
        self.state().asked.clone()
    }

    /// From now on lists say what they said last, or the truth again.
    pub fn freeze_lists(&self, frozen: bool) {
        self.state().frozen = frozen;
    }
}

/// Start line and headers as they are, and what they say of the body.
struct Head {
    bytes: Vec<u8>,
    words: Vec<String>,
    length: usize,
}

fn head(from: &mut impl BufRead) -> Result<Option<Head>> {
    let mut head = Head { bytes: Vec::new(), words: Vec::new(), length: 0 };
    loop {
        let from_here = head.bytes.len();
        if from.take(HEAD_MAX).read_until(b'\n', &mut head.bytes)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&head.bytes[from_here..]).trim_end().to_owned();
        if head.words.is_empty() {
            head.words = line.split(' ').map(str::to_owned).collect();
        } else if line.is_empty() {
            return Ok(Some(head));
        } else if let Some((name, value)) = line.split_once(':') {
            anyhow::ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "chunks are not understood here");
            if name.eq_ignore_ascii_case("content-length") {
                head.length = value.trim().parse()?;
            }
        }
    }
}

fn body(from: &mut impl Read, length: usize) -> Result<Vec<u8>> {
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn serve(client: &TcpStream, service: &str, state: &Mutex<State>) -> Result<()> {
    let service = TcpStream::connect(service)?;
    let ended = pass(client, &service, state);
    drop(client.shutdown(Shutdown::Both));
    drop(service.shutdown(Shutdown::Both));
    ended
}

fn pass(client: &TcpStream, service: &TcpStream, state: &Mutex<State>) -> Result<()> {
    client.set_nodelay(true)?;
    service.set_nodelay(true)?;
    let (mut requests, mut answers) = (BufReader::new(client), BufReader::new(service));
    let (mut to_client, mut to_service) = (client, service);
    while let Some(request) = head(&mut requests)? {
        let [method, target] = [0, 1].map(|at| request.words.get(at).cloned().unwrap_or_default());
        let content = body(&mut requests, request.length)?;
        count(state, &method, &target);
        match fault(state, &method, &target) {
            Some(Fault::Answer(status, code)) => {
                to_client.write_all(&refusal(status, code, method == "HEAD"))?;
                continue;
            }
            Some(Fault::Cut(after)) => {
                to_service.write_all(&request.bytes)?;
                to_service.write_all(&content[..after.min(content.len())])?;
                return Ok(());
            }
            None => {}
        }
        let is_list = method == "GET" && target.contains("list-type=2");
        if is_list && let Some(old) = old_list(state, &target) {
            to_client.write_all(&old)?;
            continue;
        }
        to_service.write_all(&request.bytes)?;
        to_service.write_all(&content)?;
        let answer = head(&mut answers)?.context("no answer")?;
        let length = if method == "HEAD" { 0 } else { answer.length };
        let mut whole = answer.bytes;
        whole.extend(body(&mut answers, length)?);
        if is_list {
            state.lock().unwrap_or_else(PoisonError::into_inner).lists.insert(target, whole.clone());
        }
        to_client.write_all(&whole)?;
    }
    Ok(())
}

fn count(state: &Mutex<State>, method: &str, target: &str) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    *state.asked.entry(format!("{method} {target}")).or_default() += 1;
}

fn fault(state: &Mutex<State>, method: &str, target: &str) -> Option<Fault> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let meets = |rule: &&mut Rule| rule.left > 0 && rule.methods.contains(&method) && target.contains(rule.target);
    let rule = state.rules.iter_mut().find(meets)?;
    rule.left -= 1;
    let fault = rule.fault;
    state.met += 1;
    Some(fault)
}

fn old_list(state: &Mutex<State>, target: &str) -> Option<Vec<u8>> {
    let state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.frozen { state.lists.get(target).cloned() } else { None }
}

fn refusal(status: u16, code: &str, is_head: bool) -> Vec<u8> {
    let document = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
    let document = if is_head { "" } else { &document };
    let head = format!(
        "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
        document.len()
    );
    [head.as_bytes(), document.as_bytes()].concat()
}
