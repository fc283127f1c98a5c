//! A daemon without a data plane: the real API server in front of a core that keeps a list of backends.

use std::path::PathBuf;

use lb_userspace::api::types::{
    Action, Admin, Backend, BackendHealth, Backends, Interface, Memory, Neighbor, Reason, Service, Services,
    Status, VERSION, Xdp,
};
use lb_userspace::api::{Error, Request, server, socket};
use lb_userspace::model::{Mode, Protocol, Tracking};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) struct FakeDaemon {
    pub(crate) socket: PathBuf,
    /// Ends the server when dropped or sent to.
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) server: JoinHandle<anyhow::Result<()>>,
    _directory: TempDir,
}

pub(crate) fn start() -> FakeDaemon {
    let directory = tempfile::tempdir().unwrap();
    // The directory is the server's to create.
    let path = directory.path().join("run/xlb.sock");
    let (requests, received) = mpsc::channel(16);
    let (stop, stopped) = oneshot::channel();
    let socket = socket::bind(&path).unwrap();
    let shutdown = async move { drop(stopped.await) };
    let server = tokio::spawn(server::serve(socket, requests, shutdown));
    tokio::spawn(core(received));
    FakeDaemon { socket: path, stop, server, _directory: directory }
}

async fn core(mut requests: mpsc::Receiver<Request>) {
    let mut backends = vec![backend("web1", "10.0.0.11"), backend("web2", "10.0.0.12")];
    while let Some(request) = requests.recv().await {
        // A client that went away is no concern of the core's.
        match request {
            Request::Status { reply } => drop(reply.send(Ok(status()))),
            Request::Services { reply } => drop(reply.send(Ok(services()))),
            Request::Backends { service, reply } => drop(reply.send(
                known(service.as_deref()).map(|()| Backends { version: VERSION, backends: backends.clone() }),
            )),
            Request::AddBackend { service, backend: new, reply } => {
                let result = known(Some(&service)).and_then(|()| match find(&backends, &new.name) {
                    Ok(_) => {
                        Err(Error::Conflict(format!("service web: backend {}: is already there", new.name)))
                    }
                    Err(_) if new.address == "bad" => {
                        Err(Error::Invalid("address \"bad\" is bad".to_owned()))
                    }
                    Err(_) => {
                        let weight = u16::try_from(new.weight).unwrap();
                        backends.push(Backend { weight, ..backend(&new.name, &new.address) });
                        Ok(())
                    }
                });
                drop(reply.send(result));
            }
            Request::DeleteBackend { service, name, reply } => {
                let result = known(Some(&service)).and_then(|()| find(&backends, &name)).map(|at| {
                    backends.remove(at);
                });
                drop(reply.send(result));
            }
            Request::SetAdmin { service, name, admin, reply } => {
                let result = match name.as_str() {
                    "broken" => Err(Error::Failed("the kernel said no".to_owned())),
                    _ => known(Some(&service)).and_then(|()| find(&backends, &name)).map(|at| {
                        backends[at].admin = admin;
                    }),
                };
                drop(reply.send(result));
            }
            // These need a data plane; the labs have one.
            Request::Explain { reply, .. } => drop(reply.send(Err(no_data_plane()))),
            Request::Captures { reply } => drop(reply.send(Err(no_data_plane()))),
            Request::BeginCapture { reply, .. } | Request::EndCapture { reply } => {
                drop(reply.send(Err(no_data_plane())));
            }
        }
    }
}

fn no_data_plane() -> Error {
    Error::Failed("nothing is forwarded here".to_owned())
}

fn known(service: Option<&str>) -> Result<(), Error> {
    match service {
        None | Some("web") => Ok(()),
        Some(other) => Err(Error::no_service(other, ["web"])),
    }
}

fn find(backends: &[Backend], name: &str) -> Result<usize, Error> {
    let names = backends.iter().map(|backend| backend.name.as_str());
    backends
        .iter()
        .position(|backend| backend.name == name)
        .ok_or_else(|| Error::no_backend("web", name, names))
}

pub(crate) fn backend(name: &str, address: &str) -> Backend {
    Backend {
        service: "web".to_owned(),
        name: name.to_owned(),
        address: address.to_owned(),
        port: 80,
        leaving: false,
        flows: 3,
        weight: 1,
        health: BackendHealth::Up,
        admin: Admin::Ready,
        neighbor: Neighbor::Resolved,
        next_hop: Some("02:00:00:00:00:0b via eth0".to_owned()),
        serving: true,
        slots: 126,
        share: 0.502,
        packets: 1_234_567,
        bytes: 98_765_432,
        new_flows: 4_321,
        detail: "answered in 1.2ms".to_owned(),
    }
}

pub(crate) fn status() -> Status {
    let reason = |action, reason: &str, packets| Reason {
        action,
        reason: reason.to_owned(),
        packets,
        bytes: packets * 100,
    };
    Status {
        version: VERSION,
        node: "lb1".to_owned(),
        xlb_version: "0.1.0".to_owned(),
        pid: 4242,
        uptime_seconds: 3725,
        interfaces: vec![Interface {
            name: "eth0".to_owned(),
            index: 2,
            mac: "02:00:00:00:00:01".to_owned(),
            xdp: Xdp::Native,
        }],
        services: 1,
        backends: 2,
        backends_serving: 1,
        slots_used: 251,
        slots_max: 4_194_304,
        memory: Memory { flows: 3, flows_max: 1_048_576, flows_inserted: 9, ..Memory::default() },
        alarms: Vec::new(),
        reasons: vec![
            reason(Action::Pass, "not ours", 12_345),
            reason(Action::Drop, "no backend", 7),
            reason(Action::Drop, "ttl exceeded", 0),
        ],
    }
}

pub(crate) fn services() -> Services {
    let web = Service {
        name: "web".to_owned(),
        address: "192.0.2.10".to_owned(),
        port: 80,
        protocol: Protocol::Tcp,
        mode: Mode::Dsr,
        tracking: Tracking::Adaptive,
        slots_tracked: 17,
        flows: 3,
        slots: 251,
        backends: 2,
        backends_serving: 1,
        packets: 1_234_567,
        bytes: 98_765_432,
    };
    Services { version: VERSION, services: vec![web] }
}
