//! Who may use a service, and how fast: `allow`, `deny`, `rate_limit` and `rate_burst` against the rules.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::super::problem::Place;
use super::super::raw::{self, At, Field};
use super::super::rules;
use super::{Judge, line};
use crate::model::{Prefix, Protocol, RateLimit, Tracking};

impl Judge<'_> {
    /// What `allow` and `deny` say.
    pub(super) fn access(
        &mut self,
        raw: &raw::Service,
        vip: Option<IpAddr>,
    ) -> Option<(Vec<Prefix>, Vec<Prefix>)> {
        let label = raw.label.as_str();
        if let Some(list) = raw.allow.given().filter(|list| list.value.is_empty()) {
            let text = format!(
                "{label}: allow is empty, which would leave nobody: name at least one prefix, or remove it"
            );
            self.add(list.place, &text);
        }
        let mut allowed = HashMap::new();
        let allow =
            self.prefixes(label, "allow", &raw.allow, vip, |prefix, place| match allowed.entry(prefix) {
                Entry::Occupied(first) => Err(already_named("allow", prefix, *first.get())),
                Entry::Vacant(free) => {
                    free.insert(place);
                    Ok(())
                }
            });
        let mut denied = HashMap::new();
        let deny = self.prefixes(label, "deny", &raw.deny, vip, |prefix, place| {
            if let Some(first) = allowed.get(&prefix) {
                return Err(format!("deny {prefix} is in allow too{}: remove one of the two", line(*first)));
            }
            match denied.entry(prefix) {
                Entry::Occupied(first) => Err(already_named("deny", prefix, *first.get())),
                Entry::Vacant(free) => {
                    free.insert(place);
                    Ok(())
                }
            }
        });
        allow.zip(deny)
    }

    fn prefixes(
        &mut self,
        label: &str,
        key: &str,
        field: &Field<Vec<At<String>>>,
        vip: Option<IpAddr>,
        mut sole: impl FnMut(Prefix, Place) -> Result<(), String>,
    ) -> Option<Vec<Prefix>> {
        let list = match field {
            Field::Given(list) => list,
            Field::Mistyped => return None,
            Field::Absent => return Some(Vec::new()),
        };
        let judged = list.value.iter().map(|typed| {
            self.checked(label, typed, |text| {
                let prefix = rules::sources(key, text)?;
                if let Some(vip) = vip {
                    rules::sources_family(key, vip, prefix)?;
                }
                sole(prefix, typed.place)?;
                Ok(prefix)
            })
        });
        let judged: Vec<Option<Prefix>> = judged.collect();
        judged.into_iter().collect()
    }

    /// How fast one source may open connections.
    pub(super) fn rate_limit(
        &mut self,
        raw: &raw::Service,
        protocol: Option<Protocol>,
        tracking: Option<Tracking>,
    ) -> Option<Option<RateLimit>> {
        let label = raw.label.as_str();
        let rate = self.optional(label, &raw.rate_limit, None, |typed| rules::rate(typed).map(Some));
        let burst = self.optional(label, &raw.rate_burst, None, |typed| rules::rate_burst(*typed).map(Some));
        if let (Some(typed), Field::Absent) = (raw.rate_burst.given(), &raw.rate_limit) {
            let text = format!(
                "{label}: rate_burst has no meaning without rate_limit: remove it, or add rate_limit"
            );
            self.add(typed.place, &text);
        }
        if let (Some(typed), Some(protocol), Some(tracking)) = (raw.rate_limit.given(), protocol, tracking) {
            self.checked(label, typed, |_| rules::knows_new_flows(protocol, tracking));
        }
        let (rate, burst) = rate.zip(burst)?;
        Some(rate.map(|per_second_milli| RateLimit {
            per_second_milli,
            burst: burst.unwrap_or_else(|| rules::default_burst(per_second_milli)),
        }))
    }
}

fn already_named(key: &str, prefix: Prefix, first: Place) -> String {
    format!("{key} {prefix} is already named{}: remove one", line(first))
}
