//! What was typed: the file as its author wrote it, every value with its place, nothing judged but its type.
//!
//! A key that does not exist and a value of the wrong type are reported here, because only here the text is at hand.
//! What a value means, and whether it may be so, is `validate`'s business.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Lines, Place, Problem};
use crate::nearest::way_out;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// What a key's value turned out to be.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    /// The key is not there.
    Absent,
    /// It is there with a value of another type, which has been reported.
    Mistyped,
    /// It is there.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Mistyped => None,
        }
    }
}

/// The whole file.
pub(super) struct File {
    pub(super) node: Field<Node>,
    pub(super) services: Vec<Service>,
}

/// `[node]`.
pub(super) struct Node {
    /// Required.
    pub(super) name: Field<String>,
    /// Required, unless the command line names some.
    pub(super) interfaces: Field<Vec<At<String>>>,
    /// `native` (default), `generic` or `auto`.
    pub(super) xdp_mode: Field<String>,
    /// Default true.
    pub(super) answer_neighbors: Field<bool>,
    /// Default 4194304.
    pub(super) max_slots: Field<i64>,
    /// A power of two, default 1048576.
    pub(super) max_flows: Field<i64>,
    /// Default 262144.
    pub(super) max_nat_flows: Field<i64>,
    /// A power of two, default 8192.
    pub(super) max_fragments: Field<i64>,
}

/// `[[service]]`.
pub(super) struct Service {
    /// How messages call it: `service web`, or `service 2` while it has no name.
    pub(super) label: String,
    /// Its `[[service]]` line.
    pub(super) place: Place,
    /// Required, like `address`, `port`, `protocol` (`tcp`, `udp`) and `mode` (`dsr`, `ipip`, `gue`, `nat`, `fullnat`).
    pub(super) name: Field<String>,
    pub(super) address: Field<String>,
    pub(super) port: Field<i64>,
    pub(super) protocol: Field<String>,
    pub(super) mode: Field<String>,
    /// A prime; by default the data plane chooses one that suits the number of backends.
    pub(super) slots: Field<i64>,
    /// `ipip` and `gue` only; by default the address of the interface that packets leave by.
    pub(super) encap_source: Field<String>,
    /// `gue` only, default 6080.
    pub(super) gue_port: Field<i64>,
    /// `fullnat` only, and required there.
    pub(super) source_addresses: Field<Vec<At<String>>>,
    /// `adaptive`, `full` or `off`; by default `adaptive` for `tcp` and `full` for `udp`.
    pub(super) tracking: Field<String>,
    /// Default `5m`.
    pub(super) idle_timeout: Field<String>,
    /// `reset` (default) or `hold`.
    pub(super) on_down: Field<String>,
    /// By default everybody.
    pub(super) allow: Field<Vec<At<String>>>,
    /// By default nobody.
    pub(super) deny: Field<Vec<At<String>>>,
    /// By default there is none.
    pub(super) rate_limit: Field<String>,
    /// Only with `rate_limit`; by default what it lets through in a second, at least 1.
    pub(super) rate_burst: Field<i64>,
    /// `udp` only, default false.
    pub(super) quic: Field<bool>,
    /// By default backends are not checked, and taken as up.
    pub(super) check: Field<Check>,
    pub(super) backends: Vec<Backend>,
}

/// `[service.check]`.
pub(super) struct Check {
    /// Required: `tcp` or `http`.
    pub(super) kind: Field<String>,
    /// `http` only; default `/`.
    pub(super) path: Field<String>,
    /// `http` only; by default the backend's address and port.
    pub(super) host: Field<String>,
    /// Default `1s`.
    pub(super) interval: Field<String>,
    /// By default the interval, but at most `1s`.
    pub(super) timeout: Field<String>,
    /// Default 2.
    pub(super) rise: Field<i64>,
    /// Default 3.
    pub(super) fall: Field<i64>,
    /// By default the backend's port.
    pub(super) port: Field<i64>,
}

/// `[[service.backend]]`.
pub(super) struct Backend {
    /// How messages call it, without its service: `backend web1`, or `backend 2` while it has no name.
    pub(super) label: String,
    /// Its `[[service.backend]]` line.
    pub(super) place: Place,
    /// Required, like `address`.
    pub(super) name: Field<String>,
    pub(super) address: Field<String>,
    /// `nat` and `fullnat` only; by default the service's port.
    pub(super) port: Field<i64>,
    /// `quic` services only, and required there.
    pub(super) server_id: Field<i64>,
    /// 0 to 1000, default 1.
    pub(super) weight: Field<i64>,
}

impl Backend {
    /// How messages call it beside its siblings: by its name if it has one.
    pub(super) fn called(&self) -> &str {
        self.name.given().map_or(self.label.as_str(), |name| name.value.as_str())
    }
}

/// Reads `text`; what is wrong with its syntax, keys and types is added to `problems`.
///
/// `None` when the syntax is broken. Keys and types are then judged up to the first error, which a misspelt header there
/// may have caused; what the parser guesses behind it would raise false alarms.
pub(super) fn read(text: &str, lines: &Lines<'_>, problems: &mut Vec<Problem>) -> Option<File> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { lines, problems: Vec::new() };
    let file = reader.file(root.get_ref());
    let broken: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            place: error.span().map(|span| lines.place(span.start)),
            text: format!("not valid TOML: {}{}", error.message(), excerpt(text, error)),
        })
        .collect();
    let sound_until = broken.iter().map(|problem| problem.place).min();
    let believed = |problem: &Problem| sound_until.is_none_or(|until| problem.place < until);
    problems.extend(reader.problems.into_iter().filter(believed));
    problems.extend(broken);
    errors.is_empty().then_some(file)
}

struct Reader<'a> {
    lines: &'a Lines<'a>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn file(&mut self, root: &DeTable<'_>) -> File {
        self.refuse_unknown_keys("", root, &["node", "service"]);
        let node = self.section("", root, "node", "[node]");
        let services = self.sections("", root, "service", "[[service]]");
        File {
            node: self.within(node, |reader, table| reader.node(table)),
            services: services.iter().enumerate().map(|(n, at)| self.service(n + 1, at)).collect(),
        }
    }

    fn node(&mut self, table: &DeTable<'_>) -> Node {
        self.refuse_unknown_keys("node: ", table, &NODE_KEYS);
        Node {
            name: self.string("node: ", table, "name", "lb1"),
            interfaces: self.strings("node: ", table, "interfaces", "[\"eth0\"]"),
            xdp_mode: self.string("node: ", table, "xdp_mode", "native"),
            answer_neighbors: self.boolean("node: ", table, "answer_neighbors"),
            max_slots: self.integer("node: ", table, "max_slots", 4_194_304),
            max_flows: self.integer("node: ", table, "max_flows", 1_048_576),
            max_nat_flows: self.integer("node: ", table, "max_nat_flows", 262_144),
            max_fragments: self.integer("node: ", table, "max_fragments", 8192),
        }
    }

    fn service(&mut self, number: usize, at: &At<&DeTable<'_>>) -> Service {
        let table = at.value;
        let label = label("service", number, table);
        let prefix = format!("{label}: ");
        self.refuse_unknown_keys(&prefix, table, &SERVICE_KEYS);
        let check = self.section(&prefix, table, "check", "[service.check]");
        let backends = self.sections(&prefix, table, "backend", "[[service.backend]]");
        Service {
            place: at.place,
            name: self.string(&prefix, table, "name", "web"),
            address: self.string(&prefix, table, "address", "192.0.2.10"),
            port: self.integer(&prefix, table, "port", 80),
            protocol: self.string(&prefix, table, "protocol", "tcp"),
            mode: self.string(&prefix, table, "mode", "dsr"),
            slots: self.integer(&prefix, table, "slots", 65_537),
            encap_source: self.string(&prefix, table, "encap_source", "172.16.0.0/16"),
            gue_port: self.integer(&prefix, table, "gue_port", 6080),
            source_addresses: self.strings(&prefix, table, "source_addresses", "[\"10.0.0.100\"]"),
            tracking: self.string(&prefix, table, "tracking", "full"),
            idle_timeout: self.string(&prefix, table, "idle_timeout", "5m"),
            on_down: self.string(&prefix, table, "on_down", "reset"),
            allow: self.strings(&prefix, table, "allow", "[\"198.51.100.0/24\"]"),
            deny: self.strings(&prefix, table, "deny", "[\"198.51.100.0/24\"]"),
            rate_limit: self.string(&prefix, table, "rate_limit", "100/s"),
            rate_burst: self.integer(&prefix, table, "rate_burst", 200),
            quic: self.boolean(&prefix, table, "quic"),
            check: self.within(check, |reader, table| reader.check(&prefix, table)),
            backends: backends.iter().enumerate().map(|(n, at)| self.backend(&prefix, n + 1, at)).collect(),
            label,
        }
    }

    fn check(&mut self, service: &str, table: &DeTable<'_>) -> Check {
        let prefix = format!("{service}check: ");
        self.refuse_unknown_keys(&prefix, table, &CHECK_KEYS);
        Check {
            kind: self.string(&prefix, table, "kind", "http"),
            path: self.string(&prefix, table, "path", "/healthz"),
            host: self.string(&prefix, table, "host", "www.example.com"),
            interval: self.string(&prefix, table, "interval", "1s"),
            timeout: self.string(&prefix, table, "timeout", "500ms"),
            rise: self.integer(&prefix, table, "rise", 2),
            fall: self.integer(&prefix, table, "fall", 3),
            port: self.integer(&prefix, table, "port", 8080),
        }
    }

    fn backend(&mut self, service: &str, number: usize, at: &At<&DeTable<'_>>) -> Backend {
        let table = at.value;
        let label = label("backend", number, table);
        let prefix = format!("{service}{label}: ");
        self.refuse_unknown_keys(&prefix, table, &BACKEND_KEYS);
        Backend {
            place: at.place,
            name: self.string(&prefix, table, "name", "web1"),
            address: self.string(&prefix, table, "address", "10.0.0.11"),
            port: self.integer(&prefix, table, "port", 8080),
            server_id: self.integer(&prefix, table, "server_id", 7),
            weight: self.integer(&prefix, table, "weight", 1),
            label,
        }
    }

    fn string(&mut self, prefix: &str, table: &DeTable<'_>, key: &str, example: &str) -> Field<String> {
        let expected = format!("a string such as \"{example}\"");
        self.field(prefix, table, key, &expected, |value| value.as_str().map(str::to_owned))
    }

    fn integer(&mut self, prefix: &str, table: &DeTable<'_>, key: &str, example: i64) -> Field<i64> {
        self.field(prefix, table, key, &format!("a whole number such as {example}"), |value| {
            let number = value.as_integer()?;
            i64::from_str_radix(number.as_str(), number.radix()).ok()
        })
    }

    fn boolean(&mut self, prefix: &str, table: &DeTable<'_>, key: &str) -> Field<bool> {
        self.field(prefix, table, key, "true or false", DeValue::as_bool)
    }

    fn strings(
        &mut self,
        prefix: &str,
        table: &DeTable<'_>,
        key: &str,
        example: &str,
    ) -> Field<Vec<At<String>>> {
        let lines = self.lines;
        self.field(prefix, table, key, &format!("a list of strings such as {example}"), |value| {
            let read = |item: &Spanned<DeValue<'_>>| {
                let value = item.get_ref().as_str()?.to_owned();
                Some(At { value, place: lines.place(item.span().start) })
            };
            value.as_array()?.iter().map(read).collect()
        })
    }

    fn section<'t>(
        &mut self,
        prefix: &str,
        table: &'t DeTable<'t>,
        key: &str,
        header: &str,
    ) -> Field<&'t DeTable<'t>> {
        self.field(prefix, table, key, &format!("a table headed {header}"), |value| value.as_table())
    }

    fn sections<'t>(
        &mut self,
        prefix: &str,
        table: &'t DeTable<'t>,
        key: &str,
        header: &str,
    ) -> Vec<At<&'t DeTable<'t>>> {
        let lines = self.lines;
        let read = |item: &'t Spanned<DeValue<'t>>| {
            Some(At { value: item.get_ref().as_table()?, place: lines.place(item.span().start) })
        };
        let field = self.field(prefix, table, key, &format!("tables, each headed {header}"), |value| {
            value.as_array()?.iter().map(read).collect()
        });
        match field {
            Field::Given(list) => list.value,
            Field::Absent | Field::Mistyped => Vec::new(),
        }
    }

    fn within<T>(
        &mut self,
        section: Field<&DeTable<'_>>,
        read: impl FnOnce(&mut Self, &DeTable<'_>) -> T,
    ) -> Field<T> {
        match section {
            Field::Given(at) => Field::Given(At { value: read(self, at.value), place: at.place }),
            Field::Mistyped => Field::Mistyped,
            Field::Absent => Field::Absent,
        }
    }

    fn field<'t, T>(
        &mut self,
        prefix: &str,
        table: &'t DeTable<'t>,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Option<T>,
    ) -> Field<T> {
        let Some(typed) = table.get(key) else { return Field::Absent };
        let place = self.lines.place(typed.span().start);
        match read(typed.get_ref()) {
            Some(value) => Field::Given(At { value, place }),
            None => {
                let found = describe(typed.get_ref());
                let text = format!("{prefix}{key} must be {expected}, not {found}");
                self.problems.push(Problem { place: Some(place), text });
                Field::Mistyped
            }
        }
    }

    fn refuse_unknown_keys(&mut self, prefix: &str, table: &DeTable<'_>, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let typed = key.get_ref();
            let hint = way_out(typed, "keys", known);
            let text = format!("{prefix}unknown key {}: {hint}", typed.escape_debug());
            self.problems.push(Problem { place: Some(self.lines.place(key.span().start)), text });
        }
    }
}

const NODE_KEYS: [&str; 8] = [
    "name",
    "interfaces",
    "xdp_mode",
    "answer_neighbors",
    "max_slots",
    "max_flows",
    "max_nat_flows",
    "max_fragments",
];
const SERVICE_KEYS: [&str; 19] = [
    "name",
    "address",
    "port",
    "protocol",
    "mode",
    "slots",
    "encap_source",
    "gue_port",
    "source_addresses",
    "tracking",
    "idle_timeout",
    "on_down",
    "allow",
    "deny",
    "rate_limit",
    "rate_burst",
    "quic",
    "check",
    "backend",
];
const BACKEND_KEYS: [&str; 5] = ["name", "address", "port", "server_id", "weight"];
const CHECK_KEYS: [&str; 8] = ["kind", "path", "host", "interval", "timeout", "rise", "fall", "port"];

fn label(noun: &str, number: usize, table: &DeTable<'_>) -> String {
    match table.get("name").and_then(|name| name.get_ref().as_str()) {
        Some(name) => format!("{noun} {}", name.escape_debug()),
        None => format!("{noun} {number}"),
    }
}

/// What the parser stumbled over, when it is short enough to help.
fn excerpt(text: &str, error: &toml::de::Error) -> String {
    match error.span().and_then(|span| text.get(span)) {
        Some(typed) if !typed.trim().is_empty() && typed.len() <= 40 && !typed.contains('\n') => {
            format!(", at {typed:?}")
        }
        Some(_) | None => String::new(),
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => format!("the boolean {truth}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
            "a list of tables".to_owned()
        }
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
