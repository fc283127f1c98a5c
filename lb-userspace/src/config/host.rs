//! Does a valid configuration fit this machine? The rules that only the host can answer, kept apart so that a file can
//! be checked on another one.

use nix::net::if_::if_nameindex;

use super::{Loaded, Problem, Problems};
use crate::nearest::way_out;

/// Checks that every interface exists in the network namespace of this process.
///
/// # Errors
/// One problem for each interface that does not, at its place in the file; one if the kernel does not list them.
pub fn check(loaded: &Loaded) -> Result<(), Problems> {
    match if_nameindex() {
        Ok(list) => {
            let names: Vec<String> = list.iter().map(|i| i.name().to_string_lossy().into_owned()).collect();
            check_against(loaded, &names)
        }
        Err(error) => {
            let text = format!("cannot list this host's interfaces: {error}");
            Err(Problems::new(&loaded.places.file, vec![Problem { place: None, text }]))
        }
    }
}

fn check_against(loaded: &Loaded, existing: &[String]) -> Result<(), Problems> {
    let known: Vec<&str> = existing.iter().map(String::as_str).collect();
    let missing = loaded.config.node.interfaces.iter().filter(|name| !existing.contains(name));
    let problems: Vec<Problem> = missing
        .map(|name| {
            let place = loaded.places.interfaces.get(name).copied();
            let origin = if place.is_some() { "" } else { " (from --interface)" };
            Problem { place, text: format!("node: {}", unknown(name, origin, &known)) }
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Problems::new(&loaded.places.file, problems)) }
}

/// What to say of an interface that does not exist.
pub(crate) fn unknown(name: &str, origin: &str, known: &[&str]) -> String {
    let hint = way_out(name, "interfaces", known);
    format!("interface {name}{origin} does not exist on this host: {hint}")
}

#[cfg(test)]
mod tests {
    use super::super::{Loaded, Overrides, parse};
    use super::{check, check_against};

    fn loaded(overrides: &[&str]) -> Loaded {
        let interfaces = overrides.iter().map(|&name| name.to_owned()).collect();
        parse("f", "[node]\nname = \"n\"\ninterfaces = [\"lo\", \"lo0\"]\n", &Overrides { interfaces })
            .unwrap()
    }

    #[test]
    fn a_missing_interface_is_named_at_its_place_with_the_nearest() {
        let problems = check_against(&loaded(&[]), &["lo".to_owned()]).unwrap_err().to_string();
        assert_eq!(problems, "f:3:21: node: interface lo0 does not exist on this host: did you mean lo?");
    }

    #[test]
    fn an_interface_of_the_command_line_is_not_blamed_on_the_file() {
        let problems = check_against(&loaded(&["wan0"]), &["lo".to_owned()]).unwrap_err().to_string();
        let expected =
            "f: node: interface wan0 (from --interface) does not exist on this host: known interfaces are lo";
        assert_eq!(problems, expected);
    }

    #[test]
    fn loopback_exists_here() {
        assert_eq!(check(&loaded(&["lo"])), Ok(()));
    }
}
