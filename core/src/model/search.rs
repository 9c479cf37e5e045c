//! Breadth first through all worlds, so that what it finds is as short as can be.

use std::collections::{HashMap, VecDeque};

use super::moves::{Move, moves};
use super::rules::{breach, is_good};
use super::world::{Design, World};

/// What the checker found.
#[derive(Debug)]
pub(super) struct Found {
    /// The rule that is broken.
    pub(super) rule: &'static str,
    /// What led to it.
    pub(super) path: Vec<String>,
    pub(super) last: World,
}

/// All worlds were seen.
#[derive(Debug)]
pub(super) struct Explored {
    pub(super) worlds: usize,
}

/// Explores all that can follow.
pub(super) fn explore(first: World, design: &Design) -> Result<Explored, Box<Found>> {
    let mut numbers: HashMap<World, usize> = HashMap::new();
    let mut came: Vec<Option<(usize, String)>> = vec![None];
    let mut worlds = vec![first.clone()];
    // By where they lead to: moves that happen if one only waits.
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut queue = VecDeque::from([0]);
    numbers.insert(first, 0);
    let path = |came: &[Option<(usize, String)>], mut at: usize| {
        let mut path = Vec::new();
        while let Some((from, words)) = &came[at] {
            path.push(words.clone());
            at = *from;
        }
        path.reverse();
        path
    };
    while let Some(at) = queue.pop_front() {
        let world = worlds[at].clone();
        for Move { words, fair, next, breach: seen } in moves(&world, design) {
            if let Some(rule) = seen.or_else(|| breach(&world, &next, design)) {
                let mut path = path(&came, at);
                path.push(words);
                return Err(Box::new(Found { rule, path, last: next }));
            }
            let number = *numbers.entry(next.clone()).or_insert_with(|| {
                came.push(Some((at, words)));
                worlds.push(next);
                before.push(Vec::new());
                queue.push_back(came.len() - 1);
                came.len() - 1
            });
            if fair && number != at {
                before[number].push(at);
            }
        }
    }
    // From everywhere, waiting leads to a good world.
    let mut hopeful = vec![false; worlds.len()];
    let mut queue: VecDeque<usize> =
        (0..worlds.len()).filter(|at| is_good(&worlds[*at], design.left.doubles > 0)).collect();
    for at in &queue {
        hopeful[*at] = true;
    }
    while let Some(at) = queue.pop_front() {
        for from in &before[at] {
            if !std::mem::replace(&mut hopeful[*from], true) {
                queue.push_back(*from);
            }
        }
    }
    match hopeful.iter().position(|hopeful| !hopeful) {
        Some(at) => Err(Box::new(Found {
            rule: "from here it never comes to a good end",
            path: path(&came, at),
            last: worlds[at].clone(),
        })),
        None => Ok(Explored { worlds: worlds.len() }),
    }
}
