//! `[node]`: what was typed against the rules, and interfaces of the command line in place of the file's.

use std::collections::BTreeMap;

use super::super::problem::{Place, Problem};
use super::super::raw::{self, At, Field};
use super::super::{Overrides, rules};
use super::{Judge, line};
use crate::model::{Node, XdpMode};

const DEFAULT_MAX_SLOTS: u32 = 4_194_304;
const DEFAULT_MAX_FLOWS: u32 = 1_048_576;
const DEFAULT_MAX_NAT_FLOWS: u32 = 262_144;
const DEFAULT_MAX_FRAGMENTS: u32 = 8192;

impl Judge<'_> {
    pub(super) fn node(
        &mut self,
        raw: &Field<raw::Node>,
        overrides: &Overrides,
    ) -> Option<(Node, BTreeMap<String, Place>)> {
        let at = match raw {
            Field::Given(at) => at,
            Field::Mistyped => return None,
            Field::Absent => {
                let text = "node: is missing: add a table [node] with name and interfaces".to_owned();
                self.problems.push(Problem { place: None, text });
                return None;
            }
        };
        let (node, label) = (&at.value, "node");
        let name = self.required(label, at.place, "name", &node.name, |typed| rules::name(typed));
        let xdp_mode = self.optional(label, &node.xdp_mode, XdpMode::Native, |typed| rules::xdp_mode(typed));
        let max_slots =
            self.optional(label, &node.max_slots, DEFAULT_MAX_SLOTS, |typed| rules::node_slots(*typed));
        let answer_neighbors = self.optional(label, &node.answer_neighbors, true, |typed| Ok(*typed));
        let max_flows = self.optional(label, &node.max_flows, DEFAULT_MAX_FLOWS, |typed| {
            rules::power_of_two("max_flows", *typed, &rules::MAX_FLOWS)
        });
        let max_nat_flows = self
            .optional(label, &node.max_nat_flows, DEFAULT_MAX_NAT_FLOWS, |typed| rules::nat_flows(*typed));
        let max_fragments = self.optional(label, &node.max_fragments, DEFAULT_MAX_FRAGMENTS, |typed| {
            rules::power_of_two("max_fragments", *typed, &rules::MAX_FRAGMENTS)
        });
        let interfaces = if overrides.interfaces.is_empty() {
            self.interfaces(at.place, &node.interfaces)
        } else {
            self.overriding_interfaces(&overrides.interfaces)
        };
        let (interfaces, places) = interfaces?;
        let node = Node {
            name: name?,
            interfaces,
            xdp_mode: xdp_mode?,
            answer_neighbors: answer_neighbors?,
            max_slots: max_slots?,
            max_flows: max_flows?,
            max_nat_flows: max_nat_flows?,
            max_fragments: max_fragments?,
        };
        Some((node, places))
    }

    fn interfaces(
        &mut self,
        node: Place,
        typed: &Field<Vec<At<String>>>,
    ) -> Option<(Vec<String>, BTreeMap<String, Place>)> {
        let list = match typed {
            Field::Given(list) => list,
            Field::Mistyped => return None,
            Field::Absent => {
                self.add(
                    node,
                    "node: interfaces is missing: name at least one, such as interfaces = [\"eth0\"]",
                );
                return None;
            }
        };
        if list.value.is_empty() {
            self.add(
                list.place,
                "node: interfaces is empty: name at least one, such as interfaces = [\"eth0\"]",
            );
            return None;
        }
        let mut places = BTreeMap::new();
        let mut names = Vec::new();
        for interface in &list.value {
            let Some(name) = self.checked("node", interface, |typed| rules::interface(typed)) else {
                continue;
            };
            if let Some(first) = places.get(&name).copied() {
                let text = format!("node: interface {name} is already named{}: remove one", line(first));
                self.add(interface.place, &text);
                continue;
            }
            places.insert(name.clone(), interface.place);
            names.push(name);
        }
        Some((names, places))
    }

    fn overriding_interfaces(&mut self, given: &[String]) -> Option<(Vec<String>, BTreeMap<String, Place>)> {
        for (n, name) in given.iter().enumerate() {
            let twice = || format!("interface {name} is given twice: remove one");
            let judged = rules::interface(name);
            if let Err(why) = if given[..n].contains(name) { Err(twice()) } else { judged.map(drop) } {
                self.problems.push(Problem { place: None, text: format!("--interface: {why}") });
            }
        }
        Some((given.to_vec(), BTreeMap::new()))
    }
}
