//! The command line through the real binary: what it prints, and the exit codes scripts rely on.

use std::path::Path;
use std::process::{Output, Stdio};

use super::support::{self, FakeDaemon};
use tokio::process::Command;

fn xlb(socket: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xlb"));
    command.env_remove("RUST_BACKTRACE").env_remove("XLB_SOCKET").env_remove("COLUMNS");
    command.arg("--socket").arg(socket).args(arguments.split_whitespace());
    command
}

async fn run(daemon: &FakeDaemon, arguments: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = xlb(&daemon.socket, arguments).output().await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn prints(result: (Option<i32>, String, String), expected: &str) {
    assert_eq!((result.0, result.1.as_str(), result.2.as_str()), (Some(0), expected, ""));
}

#[tokio::test]
async fn services_are_listed() {
    let daemon = support::start();
    prints(
        run(&daemon, "service list").await,
        "\
NAME   ADDRESS      PORT   PROTOCOL   MODE   SERVING   PACKETS     BYTES
web    192.0.2.10     80   tcp        dsr        1/2     1.23M   94.1MiB
",
    );
}

#[tokio::test]
async fn backends_are_listed() {
    let daemon = support::start();
    prints(
        run(&daemon, "backend list").await,
        "\
BACKEND    ADDRESS     WEIGHT   HEALTH   ADMIN   SERVING   SHARE   PACKETS     BYTES   DETAIL
web/web1   10.0.0.11        1   up       ready   yes       50.2%     1.23M   94.1MiB   answered in 1.2ms
web/web2   10.0.0.12        1   up       ready   yes       50.2%     1.23M   94.1MiB   answered in 1.2ms
",
    );
    let (_, wide, _) = run(&daemon, "backend list web -o wide").await;
    let columns = "BACKEND    ADDRESS     PORT   WEIGHT   HEALTH   ADMIN   SERVING   SHARE   SLOTS   FLOWS   NEW FLOWS   \
                   PACKETS     BYTES   NEIGHBOR   NEXT HOP                     DETAIL";
    assert_eq!(wide.lines().next(), Some(columns));
    assert!(
        wide.contains("   126       3       4.32k     1.23M   94.1MiB   resolved   02:00:00:00:00:0b via eth0   answered"),
        "{wide}"
    );
}

#[tokio::test]
async fn status_is_a_page() {
    let daemon = support::start();
    prints(
        run(&daemon, "status").await,
        "\
node       lb1
daemon     xlb 0.1.0, pid 4242, up 1h 2m
interface  eth0 (index 2, 02:00:00:00:00:01) native
services   1
backends   2, 1 serving
slots      251 of 4194304
flows      3 remembered of 1048576

FATE   REASON       PACKETS     BYTES
drop   no backend         7      700B
pass   not ours       12.3k   1.17MiB
",
    );
    let (_, wide, _) = run(&daemon, "status -o wide").await;
    assert!(wide.contains("ttl exceeded"), "{wide}");
}

#[tokio::test]
async fn json_is_exact_and_versioned() {
    let daemon = support::start();
    for (arguments, list) in
        [("status", "reasons"), ("service list", "services"), ("backend list", "backends")]
    {
        let (code, out, _) = run(&daemon, &format!("{arguments} -o json")).await;
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &json["version"]), (Some(0), &1.into()));
        assert!(json[list].is_array(), "{out}");
    }
    let (_, out, _) = run(&daemon, "backend list -o json").await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let web1 = &json["backends"][0];
    assert_eq!(
        (&web1["packets"], &web1["health"], &web1["admin"]),
        (&1_234_567.into(), &"up".into(), &"ready".into())
    );
}

#[tokio::test]
async fn changes_say_what_was_done() {
    let daemon = support::start();
    prints(run(&daemon, "backend add web/web3 --address 10.0.0.13 --weight 5").await, "web/web3: added\n");
    prints(run(&daemon, "backend drain web/web3").await, "web/web3: drain\n");
    let (_, list, _) = run(&daemon, "backend list").await;
    assert!(list.lines().any(|line| line.contains("web/web3") && line.contains("drain")), "{list}");
    prints(run(&daemon, "backend ready web/web3").await, "web/web3: ready\n");
    prints(run(&daemon, "backend delete web/web3").await, "web/web3: deleted\n");
    let (_, list, _) = run(&daemon, "backend list").await;
    assert!(!list.contains("web3"), "{list}");
}

#[tokio::test]
async fn refusals_are_one_sentence_and_exit_code_1() {
    let daemon = support::start();
    for (arguments, expected) in [
        ("backend drain web/web9", "xlb: service web: backend web9: not found: did you mean web1?\n"),
        ("backend list wbe", "xlb: service wbe: not found: did you mean web?\n"),
        ("backend add web/web1 --address 10.0.0.1", "xlb: service web: backend web1: is already there\n"),
    ] {
        let result = run(&daemon, arguments).await;
        assert_eq!((result.0, result.1.as_str(), result.2.as_str()), (Some(1), "", expected));
    }
}

#[tokio::test]
async fn without_a_daemon_it_says_what_to_do() {
    let output = xlb("/nonexistent/xlb.sock".as_ref(), "status").output().await.unwrap();
    let expected = "xlb: no xlb answers at /nonexistent/xlb.sock (No such file or directory): \
                    start it with 'xlb run', or name its socket with --socket\n";
    assert_eq!(
        (String::from_utf8(output.stderr).unwrap().as_str(), output.status.code()),
        (expected, Some(1))
    );
}

#[tokio::test]
async fn what_clap_refuses_exits_with_1_and_help_with_0() {
    for (arguments, code, part) in [
        ("backend drain web1", 1, "name a backend with its service, as in web/web1"),
        ("backend drian web/web1", 1, "drain"),
        ("status -o yaml", 1, "[possible values: table, wide, json]"),
        ("run --config f --log inof", 1, "unknown level: did you mean info?"),
        ("", 1, "Usage: xlb"),
        ("--help", 0, "Exit codes: 0 done"),
        ("--version", 0, concat!("xlb ", env!("CARGO_PKG_VERSION"))),
    ] {
        let output = xlb("/nonexistent/xlb.sock".as_ref(), arguments).output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(part), "{arguments}: {said}");
    }
}

#[tokio::test]
async fn an_invalid_configuration_does_not_run() {
    let output =
        xlb("/nonexistent/xlb.sock".as_ref(), "run --config /nonexistent.toml").output().await.unwrap();
    let expected = "/nonexistent.toml: cannot be read: No such file or directory (os error 2)\n";
    assert_eq!(
        (String::from_utf8(output.stderr).unwrap().as_str(), output.status.code()),
        (expected, Some(3))
    );
}

#[tokio::test]
async fn the_socket_may_come_from_the_environment() {
    let daemon = support::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xlb"));
    let output = command.env("XLB_SOCKET", &daemon.socket).arg("status").output().await.unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_failure() {
    let daemon = support::start();
    for arguments in ["backend list", "status -o json", "--help"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = xlb(&daemon.socket, arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments}");
    }
}
