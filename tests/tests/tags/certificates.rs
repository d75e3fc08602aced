//! Authorities and certificates of the tests, made by openssl.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority of its own.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Result<Self> {
        let this = Self { folder: folder.join(name) };
        std::fs::create_dir(&this.folder)?;
        this.make("ca", &format!("/CN={name}"), &["-addext", "keyUsage=critical,keyCertSign,cRLSign"])?;
        Ok(this)
    }

    /// Its own certificate, PEM.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(crate) fn pem(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.path())?)
    }

    /// A certificate for a server of these names, `DNS:…` or `IP:…`.
    pub(crate) fn server(&self, name: &str, names: &str) -> Result<Pair> {
        let names = format!("subjectAltName={names}");
        self.sign(name, name, &["-addext", "extendedKeyUsage=serverAuth", "-addext", &names])
    }

    /// A certificate for a client.
    pub(crate) fn client(&self, name: &str, common_name: &str) -> Result<Pair> {
        self.sign(name, common_name, &["-addext", "extendedKeyUsage=clientAuth"])
    }

    fn sign(&self, name: &str, common_name: &str, more: &[&str]) -> Result<Pair> {
        let (ca, key) = (self.path(), self.folder.join("ca.key"));
        let (ca, key) = (ca.display().to_string(), key.display().to_string());
        let by = ["-CA", &ca, "-CAkey", &key, "-addext", "basicConstraints=critical,CA:false"];
        self.make(name, &format!("/CN={common_name}"), &[&by, more].concat())
    }

    fn make(&self, name: &str, subject: &str, more: &[&str]) -> Result<Pair> {
        let pair =
            Pair { certificate: self.folder.join(format!("{name}.pem")), key: self.folder.join(format!("{name}.key")) };
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        command.args(["-subj", subject, "-keyout"]).arg(&pair.key).arg("-out").arg(&pair.certificate).args(more);
        let output = command.output().context("openssl")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        Ok(pair)
    }
}

impl Pair {
    /// Puts it where a server looks for it: the key first, since a pair that does not fit is not taken.
    pub(crate) fn install(&self, folder: &Path) -> Result<()> {
        for (from, name) in [(&self.key, "tls.key"), (&self.certificate, "tls.crt")] {
            let new = folder.join("new");
            std::fs::copy(from, &new)?;
            std::fs::rename(&new, folder.join(name))?;
        }
        Ok(())
    }
}
