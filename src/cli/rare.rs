//! Options that few containers have.

use super::is_short;
use clap::error::Error;
use clap::{ArgMatches, Args, Command, FromArgMatches, Id};
use std::ops::Deref;

/// A group of them, without groups of its own. To make its part of a grammar and to read it takes a start some time: the short grammar
/// does without, and it is read only if one of them was typed.
#[derive(Debug, Default)]
pub struct Rare<T>(T);

impl<T> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Args + Default> Args for Rare<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        if is_short(&command) { command } else { T::augment_args(command) }
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: Args + Default> FromArgMatches for Rare<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        // The short grammar does not know of the group, which may be an error.
        let was_typed = |group: Id| matches.try_contains_id(group.as_str()).unwrap_or(false);
        if T::group_id().is_some_and(was_typed) {
            T::from_arg_matches_mut(matches).map(Rare)
        } else {
            Ok(Self::default())
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}
