//! Two rounds of changes: what changes an object late may want those before it to look again.
//!
//! ```text
//! first round:  every plugin is asked; one that changed what others had seen asks for a second one
//! second round: every plugin is asked again; of webhooks and policies only those that want to (`IfNeeded`), and that came
//!               before a change
//! ```

use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// What is remembered between the rounds of one request.
#[derive(Debug, Default)]
pub struct Rounds {
    /// Whether this is the second round.
    pub is_second: bool,
    /// Whether there is to be a second one.
    pub wanted: bool,
    memories: HashMap<&'static str, Memory>,
}

impl Rounds {
    /// Begins a plugin's part of the round, with the object as it gets it: gives what the plugin has to remember, which
    /// [`Self::end`] takes back.
    pub fn begin(&mut self, plugin: &'static str, object: Option<&Value>) -> Memory {
        let mut memory = self.memories.remove(plugin).unwrap_or_default();
        memory.is_second = self.is_second;
        // Somebody else has changed what this plugin made.
        if self.is_second && memory.made.as_ref() != object {
            memory.changed = true;
            memory.due.append(&mut memory.asked);
        }
        memory
    }

    /// Ends a plugin's part of the round, with the object as it leaves it.
    pub fn end(&mut self, plugin: &'static str, mut memory: Memory, object: Option<&Value>) {
        self.wanted |= !self.is_second && memory.changed;
        memory.made = object.cloned();
        self.memories.insert(plugin, memory);
    }
}

/// What a plugin of several parts, such as webhooks, remembers of them by their names.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    is_second: bool,
    changed: bool,
    /// Parts that want to be asked again, and that nothing was changed after.
    asked: BTreeSet<String>,
    /// Those that something was changed after.
    due: BTreeSet<String>,
    made: Option<Value>,
}

impl Memory {
    /// Whether a part is to be asked in this round.
    #[must_use]
    pub fn is_due(&self, part: &str) -> bool {
        !self.is_second || self.due.contains(part)
    }

    /// A part was asked, and whether it changed the object; `again` when it wants to see later changes.
    pub fn asked(&mut self, part: String, has_changed: bool, again: bool) {
        if has_changed {
            self.changed = true;
            self.due.append(&mut self.asked);
        }
        if again {
            self.asked.insert(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLUGIN: &str = "Hooks";

    #[test]
    fn who_wants_to_is_asked_again_when_a_later_one_changed_the_object() {
        let mut rounds = Rounds::default();
        let mut memory = rounds.begin(PLUGIN, Some(&json!(1)));
        assert!(memory.is_due("early"));
        memory.asked("early".into(), true, true);
        memory.asked("idle".into(), false, false);
        memory.asked("late".into(), true, true);
        rounds.end(PLUGIN, memory, Some(&json!(2)));
        assert!(rounds.wanted);
        rounds.is_second = true;
        let memory = rounds.begin(PLUGIN, Some(&json!(2)));
        assert_eq!(["early", "idle", "late"].map(|part| memory.is_due(part)), [true, false, false]);
    }

    #[test]
    fn all_that_want_to_are_asked_again_when_somebody_else_changed_the_object() {
        let mut rounds = Rounds::default();
        let mut memory = rounds.begin(PLUGIN, Some(&json!(1)));
        memory.asked("late".into(), true, true);
        rounds.end(PLUGIN, memory, Some(&json!(2)));
        rounds.is_second = true;
        assert!(rounds.begin(PLUGIN, Some(&json!(3))).is_due("late"));
    }

    #[test]
    fn without_a_change_there_is_one_round() {
        let mut rounds = Rounds::default();
        let mut memory = rounds.begin(PLUGIN, Some(&json!(1)));
        memory.asked("one".into(), false, true);
        rounds.end(PLUGIN, memory, Some(&json!(1)));
        assert!(!rounds.wanted);
    }
}
