//! `[service.check]`: what was typed against the rules.

use std::time::Duration;

use super::super::raw::{self, Field};
use super::super::rules;
use super::Judge;
use crate::model::{Check, CheckKind};

const DEFAULT_PATH: &str = "/";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest timeout that is chosen for a check that names none; never longer than its interval.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_RISE: u32 = 2;
const DEFAULT_FALL: u32 = 3;

impl Judge<'_> {
    pub(super) fn check(&mut self, service: &str, raw: &Field<raw::Check>) -> Option<Option<Check>> {
        let at = match raw {
            Field::Given(at) => at,
            Field::Mistyped => return None,
            Field::Absent => return Some(None),
        };
        let (raw, label) = (&at.value, format!("{service}: check"));
        let kinds = [("tcp", false), ("http", true)];
        let http =
            self.required(&label, at.place, "kind", &raw.kind, |typed| rules::one_of("kind", typed, &kinds));
        let path = self.optional(&label, &raw.path, DEFAULT_PATH.to_owned(), |typed| rules::path(typed));
        let host = self.optional(&label, &raw.host, None, |typed| rules::host(typed).map(Some));
        let interval = self.optional(&label, &raw.interval, DEFAULT_INTERVAL, |typed| {
            rules::duration("interval", typed, &rules::CHECK_TIMES)
        });
        let default_timeout = interval.unwrap_or(DEFAULT_INTERVAL).min(DEFAULT_TIMEOUT);
        let timeout = self.optional(&label, &raw.timeout, default_timeout, |typed| {
            rules::duration("timeout", typed, &rules::CHECK_TIMES)
        });
        let rise = self.optional(&label, &raw.rise, DEFAULT_RISE, |typed| rules::in_a_row("rise", *typed));
        let fall = self.optional(&label, &raw.fall, DEFAULT_FALL, |typed| rules::in_a_row("fall", *typed));
        let port = self.optional(&label, &raw.port, None, |typed| rules::port("port", *typed).map(Some));
        if let (Some(interval), Some(timeout), Some(typed)) = (interval, timeout, raw.timeout.given())
            && timeout > interval
        {
            let text = format!(
                "{label}: timeout {} is longer than the interval of {interval:?}: shorten it, or lengthen interval",
                typed.value
            );
            self.add(typed.place, &text);
        }
        if http == Some(false) {
            for (key, field) in [("path", &raw.path), ("host", &raw.host)] {
                if let Some(typed) = field.given() {
                    let text = format!("{label}: {key} is only for kind \"http\": remove it, or change kind");
                    self.add(typed.place, &text);
                }
            }
        }
        let kind = if http? { CheckKind::Http { path: path?, host: host? } } else { CheckKind::Tcp };
        Some(Some(Check {
            kind,
            interval: interval?,
            timeout: timeout?,
            rise: rise?,
            fall: fall?,
            port: port?,
        }))
    }
}
