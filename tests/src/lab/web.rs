//! The web servers: nginx, as installed, with a configuration of our own.
//!
//! `/` answers with the server's name, `/healthz` with 200, `/blob` with some megabytes, and PUT below `/upload/`
//! keeps what it is given.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{client, netns::Netns, network::WEB_PORT, process::Process, wait};

/// One web server of a lab.
#[derive(Debug)]
pub struct Web {
    name: String,
    process: Option<Process>,
    netns: Netns,
    directory: PathBuf,
}

impl Web {
    /// Writes the configuration; [`Web::start`] starts it.
    pub(super) fn new(name: &str, netns: Netns, lab: &Path, blob: &[u8]) -> Result<Self> {
        let directory = lab.join(name);
        for part in ["root/upload", "temp"] {
            fs::create_dir_all(directory.join(part))?;
        }
        fs::write(directory.join("root/blob"), blob)?;
        fs::write(directory.join("nginx.conf"), configuration(name, &directory))?;
        Ok(Self { name: name.to_owned(), netns, directory, process: None })
    }

    /// Its name, which is what it answers at `/`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Starts nginx and waits until it answers.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn start(&mut self) -> Result<()> {
        let mut nginx = self.netns.command("/usr/sbin/nginx");
        nginx.arg("-e").arg(self.log()).arg("-c").arg(self.directory.join("nginx.conf"));
        let process = self.process.insert(Process::spawn(&self.name, nginx, &self.log())?);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 80);
        let limit = Duration::from_secs(5);
        let Self { netns, name, .. } = self;
        wait::until(&format!("the first answer of {name}"), limit, || {
            process.must_run()?;
            let reply = netns.run(|| Ok(client::get(address, "/", limit)?))?;
            ensure!(reply.text().trim() == name, "it answered {:?}", reply.text());
            Ok(())
        })
    }

    /// SIGKILL: its connections are reset, new ones refused.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What was uploaded as `name`, if it was uploaded here.
    #[must_use]
    pub fn uploaded(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.directory.join("root/upload").join(name)).ok()
    }

    fn log(&self) -> PathBuf {
        self.directory.join("nginx.log")
    }
}

/// One process without a master: it dies as a whole, and with us.
fn configuration(name: &str, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        r#"daemon off;
master_process off;
user root;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type text/plain;
    client_max_body_size 100m;
    client_body_temp_path {directory}/temp/body;
    proxy_temp_path {directory}/temp/proxy;
    fastcgi_temp_path {directory}/temp/fastcgi;
    uwsgi_temp_path {directory}/temp/uwsgi;
    scgi_temp_path {directory}/temp/scgi;
    server {{
        listen 80 backlog=1024;
        listen [::]:80 ipv6only=on backlog=1024;
        listen {WEB_PORT} backlog=1024;
        listen [::]:{WEB_PORT} ipv6only=on backlog=1024;
        root {directory}/root;
        location = / {{ return 200 "{name}\n"; }}
        location = /healthz {{ return 200 "ok\n"; }}
        location /upload/ {{ dav_methods PUT; }}
    }}
}}
"#
    )
}

/// Whether nginx is there.
pub(super) fn installed() -> Result<()> {
    fs::metadata("/usr/sbin/nginx").map(drop).context("nginx is not installed (Debian: nginx-light)")
}
