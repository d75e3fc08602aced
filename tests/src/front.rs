//! An address that stays while the registry behind it ends and starts again, as a Service has it.

use anyhow::Result;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Passes connections on, byte by byte.
pub struct Front {
    address: SocketAddr,
    behind: Arc<Mutex<Option<String>>>,
}

impl Front {
    /// Listens on a free port of `host`.
    pub fn listen(host: &str) -> Result<Self> {
        let listener = TcpListener::bind((host, 0))?;
        let (address, behind) = (listener.local_addr()?, Arc::new(Mutex::new(None)));
        let target = Arc::clone(&behind);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(io::Result::ok) {
                let target: Option<String> = target.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Without a registry the connection is closed, which is how clients see a dead one.
                if let Some(server) = target.and_then(|target| TcpStream::connect(target).ok()) {
                    pass_on(client, server);
                }
            }
        });
        Ok(Self { address, behind })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to `address`, or nowhere.
    pub fn lead_to(&self, address: Option<&str>) {
        *self.behind.lock().unwrap_or_else(PoisonError::into_inner) = address.map(str::to_owned);
    }
}

fn pass_on(client: TcpStream, server: TcpStream) {
    let Ok((client_back, server_back)) = client.try_clone().and_then(|client| Ok((client, server.try_clone()?))) else {
        return;
    };
    for (mut from, mut to) in [(client, server), (server_back, client_back)] {
        std::thread::spawn(move || {
            // An end on either side is the end of this direction; the other one learns it by the shutdown.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Write));
        });
    }
}
