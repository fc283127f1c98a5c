//! What a guest finds when it boots: programs of this build and of the host, their libraries, kernel modules.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use cpio::{NewcBuilder, newc::ModeFileType, write_cpio};

use super::{Job, machine::Kernel};

/// Where a guest finds the daemon.
pub(super) const XLB: &str = "/bin/xlb";
/// Where a guest finds the object of the testbed.
pub(super) const BPF_DIR: &str = "/bpf";
/// Where a guest finds its modules, and in which order to load them: a path on each line.
pub(super) const MODULES: &str = "/modules";

/// What this build puts into it.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The program that becomes process 1.
    pub guest: PathBuf,
    /// The daemon.
    pub xlb: PathBuf,
}

/// Programs of the host, by the path that a guest has them at, and the Debian package.
type Programs = &'static [(&'static str, &'static str)];

const IP: (&str, &str) = ("/bin/ip", "iproute2");
const ETHTOOL: (&str, &str) = ("/bin/ethtool", "ethtool");
const NGINX: (&str, &str) = ("/usr/sbin/nginx", "nginx-light");
const IPVSADM: (&str, &str) = ("/bin/ipvsadm", "ipvsadm");
const NFT: (&str, &str) = ("/bin/nft", "nftables");

/// What a job needs: programs, and modules; those that a kernel has built in are left out.
const fn needs(job: Job) -> (Programs, &'static [&'static str]) {
    match job {
        Job::Matrix => (&[IP, ETHTOOL, NGINX], &["virtio_pci", "virtio_net", "veth", "bridge"]),
        Job::TooOld => (&[IP], &["virtio_pci", "virtio_net"]),
        Job::Instructions => (&[IP], &["virtio_pci", "virtio_net", "veth"]),
        Job::Paths => (
            &[IP, ETHTOOL, IPVSADM, NFT],
            &[
                "virtio_pci",
                "virtio_net",
                "veth",
                "ip_vs",
                "ip_vs_rr",
                "nf_tables",
                "nft_chain_nat",
                "nft_nat",
                "nft_hash",
            ],
        ),
    }
}

/// nginx asks who root is.
const ACCOUNTS: [(&str, &str); 2] =
    [("/etc/passwd", "root:x:0:0::/:/bin/sh\n"), ("/etc/group", "root:x:0:\n")];

const DIRECTORY: u32 = 0o755;
const EXECUTABLE: u32 = 0o755;

/// The archive, as the kernel wants it (Documentation/driver-api/early-userspace/buffer-format.rst).
///
/// # Errors
/// Something that belongs into it is not there.
pub(super) fn pack(contents: &Contents, kernel: &Kernel, job: Job) -> Result<Vec<u8>> {
    let (programs, modules) = needs(job);
    let mut files = BTreeMap::new();
    add_program(&mut files, "/init", &contents.guest)?;
    add_program(&mut files, XLB, &contents.xlb)?;
    for (path, package) in programs {
        let file = on_host(path).with_context(|| format!("{path} is not there (Debian: {package})"))?;
        add_program(&mut files, path, &file)?;
    }
    let testbed = crate::testbed::path();
    let object = fs::read(&testbed).with_context(|| format!("cannot read {}", testbed.display()))?;
    files.insert(format!("{BPF_DIR}/testbed"), object);
    for (path, text) in ACCOUNTS {
        files.insert(path.to_owned(), text.into());
    }
    add_modules(&mut files, kernel, modules)?;
    archive(files)
}

fn archive(files: BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let empty = ["/dev", "/proc", "/sys", "/run", "/tmp"].map(str::to_owned);
    let mut directories: BTreeSet<String> = empty.into();
    for file in files.keys() {
        let above = Path::new(file).ancestors().skip(1).filter(|dir| dir.parent().is_some());
        directories.extend(above.map(|dir| dir.display().to_string()));
    }
    // In order, so that a directory comes before what is in it.
    let directories = directories.into_iter().map(|path| {
        (entry(&path).mode(DIRECTORY).set_mode_file_type(ModeFileType::Directory), Cursor::new(Vec::new()))
    });
    let files = files.into_iter().map(|(path, bytes)| {
        (entry(&path).mode(EXECUTABLE).set_mode_file_type(ModeFileType::Regular), Cursor::new(bytes))
    });
    write_cpio(directories.chain(files), Vec::new()).context("the initramfs cannot be written")
}

fn entry(path: &str) -> NewcBuilder {
    NewcBuilder::new(path.trim_start_matches('/'))
}

/// A program of the host by its name, wherever the host has it.
fn on_host(path: &str) -> Option<PathBuf> {
    let name = Path::new(path).file_name()?;
    let directories = ["/bin", "/sbin", "/usr/bin", "/usr/sbin"];
    directories.iter().map(|directory| Path::new(directory).join(name)).find(|file| file.exists())
}

/// A program, without its debug information, and the libraries that it is linked with.
fn add_program(files: &mut BTreeMap<String, Vec<u8>>, path: &str, program: &Path) -> Result<()> {
    let stripped = tempfile::NamedTempFile::new()?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(stripped.path()).arg(program);
    output(&mut strip, "binutils")?;
    files.insert(path.to_owned(), fs::read(stripped.path())?);
    let linked = output(Command::new("ldd").arg(program), "libc-bin")?;
    for library in linked.lines().filter_map(library) {
        if !files.contains_key(library) {
            let bytes = fs::read(library).with_context(|| format!("cannot read {library}"))?;
            files.insert(library.to_owned(), bytes);
        }
    }
    Ok(())
}

/// The path in a line of `ldd`: `libc.so.6 => /lib/libc.so.6 (0x1)` or, for the loader, `/lib64/ld-linux-x86-64.so.2 (0x1)`.
fn library(line: &str) -> Option<&str> {
    let (path, _address) = line.rsplit_once(" (")?;
    let path = path.rsplit_once(" => ").map_or(path, |(_name, path)| path).trim();
    path.starts_with('/').then_some(path)
}

fn add_modules(files: &mut BTreeMap<String, Vec<u8>>, kernel: &Kernel, names: &[&str]) -> Result<()> {
    let directory = kernel.root.join("lib/modules").join(&kernel.release);
    let list = directory.join("modules.dep");
    let list = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut order = String::new();
    for file in load_order(&list, names) {
        let path = format!("{MODULES}/{}", module_name(file));
        let file = directory.join(file);
        let module = match file.extension().is_some_and(|extension| extension == "xz") {
            true => run(Command::new("xz").arg("-dc").arg(&file), "xz-utils")?,
            false => fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?,
        };
        order += &format!("{path}\n");
        files.insert(path, module);
    }
    files.insert(format!("{MODULES}/order"), order.into());
    Ok(())
}

/// The files of modules and of those they need, each behind what it needs, from the lines of modules.dep(5): `FILE: FILES`,
/// where what is needed first comes last. A module that is not there is one that the kernel has built in.
fn load_order<'a>(list: &'a str, names: &[&str]) -> Vec<&'a str> {
    let mut order = Vec::new();
    for name in names {
        let line = list.lines().filter_map(|line| line.split_once(':'));
        let Some((file, needed)) = line.into_iter().find(|(file, _)| module_name(file) == *name) else {
            continue;
        };
        for file in needed.split_whitespace().rev().chain([file]) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
    order
}

/// The 8021q of `kernel/net/8021q/8021q.ko.xz`.
fn module_name(file: &str) -> String {
    let name = file.rsplit_once('/').map_or(file, |(_directory, name)| name);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

fn output(command: &mut Command, package: &str) -> Result<String> {
    String::from_utf8(run(command, package)?).context("a program has printed what is not UTF-8")
}

/// Runs a program that Debian has in `package`; gives what it printed.
fn run(command: &mut Command, package: &str) -> Result<Vec<u8>> {
    let name = command.get_program().to_owned();
    let program = on_host(&format!("/{}", name.display()));
    ensure!(program.is_some(), "{} is not there (Debian: {package})", name.display());
    let output = command.output().with_context(|| format!("{} cannot be started", name.display()))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_ldd() {
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f67a5251000)"), None);
        assert_eq!(library("\tlibz.so.1 => /lib/libz.so.1 (0x00007f67a4f4e000)"), Some("/lib/libz.so.1"));
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x1)"), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlibgone.so => not found"), None);
        assert_eq!(library("\tnot a dynamic executable"), None);
    }

    #[test]
    fn modules_are_loaded_behind_what_they_need() {
        let list = "kernel/net/llc/llc.ko:\n\
                    kernel/net/802/stp.ko: kernel/net/llc/llc.ko\n\
                    kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko kernel/net/llc/llc.ko\n\
                    kernel/drivers/net/virtio-net.ko.xz: kernel/net/core/failover.ko.xz\n";
        assert_eq!(
            load_order(list, &["bridge", "built_in", "virtio_net", "stp"]),
            [
                "kernel/net/llc/llc.ko",
                "kernel/net/802/stp.ko",
                "kernel/net/bridge/bridge.ko",
                "kernel/net/core/failover.ko.xz",
                "kernel/drivers/net/virtio-net.ko.xz",
            ]
        );
    }

    #[test]
    fn directories_come_before_what_is_in_them() {
        let files = [("/a/b/c".to_owned(), b"text".to_vec()), ("/init".to_owned(), Vec::new())];
        let bytes = archive(files.into()).unwrap();
        let mut names = Vec::new();
        let mut rest = Cursor::new(bytes);
        loop {
            let reader = cpio::NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            rest = reader.finish().unwrap();
        }
        assert_eq!(names, ["a", "a/b", "dev", "proc", "run", "sys", "tmp", "a/b/c", "init"]);
    }
}
