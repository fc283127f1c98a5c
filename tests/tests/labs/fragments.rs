//! Does a datagram that is larger than any packet arrive whole, and at one server?

use std::{
    fmt::Write as _,
    io,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use xlb_tests::lab::{Config, Lab, Mode, web_address, xlb_binary};

use crate::Test;

pub(crate) const TESTS: &[Test] = &[
    ("fragments_dsr_v4", || echoes(Mode::Dsr, false)),
    ("fragments_dsr_v6", || echoes(Mode::Dsr, true)),
    ("fragments_nat_v4", || echoes(Mode::Nat, false)),
    ("fragments_nat_v6", || echoes(Mode::Nat, true)),
];

const PORT: u16 = 5300;
const WEBS: u8 = 3;
/// More than two packets.
const DATAGRAM_BYTES: usize = 4000;
const DATAGRAMS: usize = 24;
const PATIENCE: Duration = Duration::from_secs(5);

fn echoes(mode: Mode, ipv6: bool) -> Result<()> {
    let config = Config { ipv6, ..Config::new(mode) };
    let mut lab = Lab::start(WEBS, mode)?;
    lab.start_balancer(&xlb_binary(), &(config.toml() + &echo_service(&config)))?
        .until_all_serve(Duration::from_secs(10))?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut servers = Vec::new();
        for (number, web) in (1..).zip(&lab.webs) {
            // What is translated comes to the server's own address.
            let address = if mode == Mode::Dsr { config.vip() } else { web_address(number, ipv6) };
            let socket = web.netns().run(|| Ok(UdpSocket::bind(SocketAddr::new(address, PORT))?))?;
            let stop = &stop;
            servers.push(scope.spawn(move || echo(&socket, stop)));
        }
        let result = ask(&lab, SocketAddr::new(config.vip(), PORT));
        stop.store(true, Ordering::SeqCst);
        let served = servers
            .into_iter()
            .map(|server| server.join().map_err(|_| anyhow!("a server has panicked"))?)
            .collect::<Result<Vec<usize>>>()?;
        result?;
        println!("{DATAGRAMS} datagrams of {DATAGRAM_BYTES} bytes: the servers have had {served:?}");
        ensure!(served.iter().sum::<usize>() == DATAGRAMS, "the servers have had {served:?}");
        ensure!(served.iter().filter(|count| **count > 0).count() > 1, "one server has had all of them");
        Ok(())
    })
}

fn echo_service(config: &Config) -> String {
    let mode = if config.mode == Mode::Dsr { "dsr" } else { "nat" };
    let mut text = format!(
        "\n[[service]]\nname = \"echo\"\naddress = \"{}\"\nport = {PORT}\nprotocol = \"udp\"\nmode = \"{mode}\"\n",
        config.vip()
    );
    for number in 1..=WEBS {
        let address = web_address(number, config.ipv6);
        // Writing to a string cannot fail.
        let _ = write!(text, "[[service.backend]]\nname = \"echo{number}\"\naddress = \"{address}\"\n");
    }
    text
}

/// Sends back what comes, until told to stop; how much came.
fn echo(socket: &UdpSocket, stop: &AtomicBool) -> Result<usize> {
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (mut buffer, mut served) = (vec![0; 1 << 16], 0);
    while !stop.load(Ordering::SeqCst) {
        match socket.recv_from(&mut buffer) {
            Ok((len, from)) => {
                socket.send_to(&buffer[..len], from)?;
                served += 1;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(served)
}

/// Each from a port of its own, so each is a flow.
fn ask(lab: &Lab, service: SocketAddr) -> Result<()> {
    let any = if service.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    for number in 0..DATAGRAMS {
        let socket = lab.client().run(|| Ok(UdpSocket::bind(any)?))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let datagram: Vec<u8> =
            (0..DATAGRAM_BYTES).map(|at| u8::try_from((at * 7 + number) % 251).unwrap_or_default()).collect();
        socket.send_to(&datagram, service)?;
        let mut answer = vec![0; 1 << 16];
        let (len, from) =
            socket.recv_from(&mut answer).with_context(|| format!("no answer to datagram {number}"))?;
        ensure!(from == service, "{from} has answered, not {service}");
        ensure!(answer[..len] == datagram, "datagram {number} came back as {len} other bytes");
    }
    Ok(())
}
