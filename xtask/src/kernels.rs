//! Where the kernels of the guests come from: Debian's packages, unpacked below the target directory, never installed.
//!
//! This machine's own release has one or two of them. The others are in the suites beside it, which a private apt
//! configuration reaches: the mirrors are those of the machine's own sources, everything else about apt stays as it is.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    shell::{self, say},
    workspace,
};

/// An unpacked kernel: `boot/vmlinuz-RELEASE`, and `lib/modules/RELEASE` with what `depmod` makes.
pub(crate) struct Kernel {
    /// As the user has named it: `6.12`.
    pub(crate) series: String,
    /// Where it is.
    pub(crate) root: PathBuf,
}

/// The suites that have kernels, and the repository each belongs to. Together their lists are less than two megabytes; those of
/// the main suites alone would be twenty.
const SUITES: [(&str, Repository); 4] = [
    ("bullseye-security", Repository::Security),
    ("bookworm-security", Repository::Security),
    ("trixie-security", Repository::Security),
    ("trixie-backports", Repository::Main),
];

/// Small: no drivers but those of virtual machines.
const FLAVOUR: &str = "cloud-amd64";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repository {
    Main,
    Security,
}

/// The kernels of these series (`6.1`, `6.12`), downloaded if they are not there.
pub(crate) fn ensure(series: &[String]) -> Result<Vec<Kernel>> {
    let mut lists = None;
    series
        .iter()
        .map(|series| {
            is_series(series)?;
            let root = directory().join(series);
            if !root.exists() {
                let apt = match &lists {
                    Some(apt) => apt,
                    None => lists.insert(Apt::update()?),
                };
                download(apt, series, &root).with_context(|| format!("no kernel {series} to test with"))?;
            }
            Ok(Kernel { series: series.clone(), root })
        })
        .collect()
}

fn directory() -> PathBuf {
    workspace::target().join("kernels")
}

fn is_series(text: &str) -> Result<()> {
    let numbers = text.split_once('.').map(|(major, minor)| (major.parse::<u32>(), minor.parse::<u32>()));
    match numbers {
        Some((Ok(_), Ok(_))) => Ok(()),
        _ => bail!("kernel {text}: this is no series: name one as in 6.12"),
    }
}

/// Downloads and unpacks the newest kernel of a series.
fn download(apt: &Apt, series: &str, root: &Path) -> Result<()> {
    let packages = apt.packages_of(series)?;
    say("setup", format_args!("downloading {}", packages.join(" ")));
    // Made whole under another name, so that a download that was interrupted is not taken for a kernel.
    let unfinished = root.with_file_name(format!("{series}.part"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let archives = unfinished.join("deb");
    fs::create_dir_all(&archives)?;
    shell::run(apt.command("apt-get").current_dir(&archives).arg("download").args(&packages))?;
    for archive in fs::read_dir(&archives)? {
        shell::run(Command::new("dpkg").arg("-x").arg(archive?.path()).arg(&unfinished))?;
    }
    fs::remove_dir_all(&archives)?;
    // Newer packages install below /usr, where depmod does not look, and the image beside the modules.
    if unfinished.join("usr/lib/modules").exists() {
        fs::create_dir_all(unfinished.join("lib"))?;
        fs::rename(unfinished.join("usr/lib/modules"), unfinished.join("lib/modules"))?;
    }
    let release = only_entry(&unfinished.join("lib/modules"))?;
    let image = unfinished.join("boot").join(format!("vmlinuz-{release}"));
    let beside_modules = unfinished.join("lib/modules").join(&release).join("vmlinuz");
    if beside_modules.exists() {
        fs::create_dir_all(unfinished.join("boot"))?;
        fs::rename(&beside_modules, &image)?;
    }
    ensure!(image.exists(), "the packages {} have no {}", packages.join(" "), image.display());
    let depmod = shell::which("depmod").context("depmod (Debian: kmod) is not there")?;
    shell::run(Command::new(depmod).arg("-b").arg(&unfinished).arg(release))?;
    fs::rename(&unfinished, root)?;
    Ok(())
}

fn only_entry(directory: &Path) -> Result<String> {
    let mut entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let first = entries.next().with_context(|| format!("{} is empty", directory.display()))??;
    first.file_name().into_string().ok().context("a kernel's release is not UTF-8")
}

/// An apt with sources and lists of its own.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Fetches the lists of all suites; one that cannot be had is left out.
    fn update() -> Result<Self> {
        let apt = Self { directory: directory().join("apt") };
        for part in ["lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(apt.directory.join(part))?;
        }
        fs::write(apt.directory.join("sources.list"), sources()?)?;
        say("setup", "fetching the lists of Debian's kernels");
        if let Err(error) = shell::run(apt.command("apt-get").arg("update")) {
            say("setup", format_args!("{error}; going on with the lists that are there"));
        }
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let own = [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "parts"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ];
        for (key, path) in own {
            command.arg("-o").arg(format!("{key}={}", self.directory.join(path).display()));
        }
        // Only the names and versions of packages are wanted.
        for option in [
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "APT::Sandbox::User=root",
        ] {
            command.args(["-o", option]);
        }
        command.arg("--quiet");
        command
    }

    /// The packages of the newest kernel of a series: one image, or, in newer Debian, image and modules apart.
    fn packages_of(&self, series: &str) -> Result<Vec<String>> {
        let pattern = format!("^linux-image-{}[.-][0-9].*-{FLAVOUR}$", series.replace('.', "[.]"));
        let list = shell::output(self.command("apt-cache").args(["search", "--names-only", &pattern]));
        let list = list.context("apt-cache cannot search")?;
        let suffix = format!("-{FLAVOUR}");
        let names = list.lines().filter_map(|line| line.split_whitespace().next());
        let newest = names
            .filter_map(|name| name.strip_prefix("linux-image-")?.strip_suffix(&suffix))
            .min_by_key(|version| Reverse(numbers(version)))
            .with_context(|| {
                let suites: Vec<_> = SUITES.iter().map(|(suite, _)| *suite).collect();
                format!("Debian's {} have no linux-image-{series}", suites.join(", "))
            })?;
        let parts = ["image", "binary", "modules"].map(|part| format!("linux-{part}-{newest}{suffix}"));
        let there = |name: &String| {
            let known = shell::output(self.command("apt-cache").args(["show", name]));
            known.is_some_and(|text| !text.trim().is_empty())
        };
        Ok(parts.into_iter().filter(there).collect())
    }
}

/// The numbers in a version, as they compare.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Lines for `sources.list`: the suites, on the mirrors that this machine uses.
fn sources() -> Result<String> {
    let uris = shell::output(Command::new("apt-get").args(["update", "--print-uris", "--quiet"]));
    let uris = uris.context("apt-get does not tell where its lists come from")?;
    let options = match Path::new(KEYRING).exists() {
        true => format!("[signed-by={KEYRING}] "),
        false => String::new(),
    };
    let mut text = String::new();
    for (suite, repository) in SUITES {
        let base = mirror(&uris, repository).with_context(|| match repository {
            Repository::Main => "this machine's apt sources name no release of Debian",
            Repository::Security => "this machine's apt sources name no security updates of Debian",
        })?;
        text += &format!("deb {options}{base} {suite} main\n");
    }
    Ok(text)
}

/// The address of a repository, from what `apt-get update --print-uris` prints: `'BASE/dists/SUITE/InRelease' FILE SIZE`.
fn mirror(uris: &str, repository: Repository) -> Option<&str> {
    uris.lines().find_map(|line| {
        let (base, rest) = line.strip_prefix('\'')?.split_once("/dists/")?;
        let (suite, _) = rest.split_once("/InRelease'")?;
        let is = if suite.ends_with("-security") { Repository::Security } else { Repository::Main };
        (is == repository && base.contains("debian")).then_some(base)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read_from_apt() {
        let uris = "'http://mirror.example/other/dists/x/InRelease' a 0\n\
                    'http://mirror.example/debian/dists/bookworm/InRelease' a 0\n\
                    'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' b 0\n\
                    'http://mirror.example/debian-security/dists/bookworm-security/InRelease' c 0\n";
        assert_eq!(mirror(uris, Repository::Main), Some("http://mirror.example/debian"));
        assert_eq!(mirror(uris, Repository::Security), Some("http://mirror.example/debian-security"));
        assert_eq!(mirror("", Repository::Main), None);
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        assert!(numbers("6.12.118+deb13") > numbers("6.12.99+deb13"));
        assert!(numbers("6.1.0-56") > numbers("6.1.0-0.deb11.52"));
        assert!(numbers("6.12.90+deb13.1") > numbers("6.12.90+deb13"));
    }

    #[test]
    fn a_series_is_two_numbers() {
        assert!(is_series("6.12").is_ok() && is_series("5.10").is_ok());
        for wrong in ["6", "6.12.1", "six", "", "6."] {
            assert!(is_series(wrong).is_err(), "{wrong}");
        }
    }
}
