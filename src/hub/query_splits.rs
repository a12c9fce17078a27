//! Routes whose topics differ in one query parameter only: often it changes nothing of the answer, and each value of it is one
//! more upstream.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::topic::Topic;
use crate::config::query;

/// How many topics are looked at, and how many parameters of each: clients choose both.
const TOPICS: usize = 4096;
const PARAMETERS: usize = 16;

/// Longest name that is reported.
const LONGEST: usize = 64;

/// A route, and what most of its topics differ in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Route name.
    pub(crate) route: Arc<str>,
    /// The parameter's name, decoded.
    pub parameter: String,
    /// So many topics are the same but for its value.
    pub topics: usize,
}

/// One for each route of which there are two topics or more that are the same but for one parameter.
pub(super) fn find(topics: &[Arc<Topic>]) -> Vec<Split> {
    let hasher = RandomState::new();
    let mut alike: HashMap<u64, Split> = HashMap::new();
    for topic in topics.iter().take(TOPICS) {
        let Some((path, query)) = topic.target.url.split_once('?') else {
            continue;
        };
        let pairs: Vec<&str> = query.split('&').take(PARAMETERS + 1).collect();
        if pairs.len() > PARAMETERS {
            continue;
        }
        for (index, pair) in pairs.iter().enumerate() {
            let name = query::name(pair).into_owned();
            if !is_readable(&name) {
                continue;
            }
            let others = pairs.iter().enumerate().filter(|(at, _)| *at != index);
            let others: Vec<&str> = others.map(|(_, pair)| *pair).collect();
            let elsewhere = topic.key.place.at(format!("{path}?{}", others.join("&")));
            let group = hasher.hash_one((elsewhere, &name));
            let split = alike.entry(group).or_insert_with(|| Split {
                route: topic.target.route.name.clone(),
                parameter: name,
                topics: 0,
            });
            split.topics += 1;
        }
    }
    let mut most: BTreeMap<Arc<str>, Split> = BTreeMap::new();
    for split in alike.into_values().filter(|split| split.topics > 1) {
        let known = most.entry(split.route.clone()).or_insert(split.clone());
        let rank = |split: &Split| (split.topics, std::cmp::Reverse(split.parameter.clone()));
        if rank(&split) > rank(known) {
            *known = split;
        }
    }
    most.into_values().collect()
}

/// Whether a name may stand in a terminal and in a file.
fn is_readable(name: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '"' | '\\' | '\u{FFFD}');
    !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_plain)
}
