//! Verifying the audit trail: every entry is as it was written, in its place, and none is missing.

use std::fmt;
use std::str::FromStr;

use ensue::{Envelope, Position};
use serde::Serialize;

use super::entry::{Link, hash};

/// The most findings that are told one by one.
const FINDINGS_MAX: usize = 1000;

/// An audit trail on its way through verification, entry by entry in the order of the log.
#[derive(Debug, Default)]
pub struct AuditChain {
    /// An entry that is known from elsewhere.
    known: Option<AuditHead>,
    is_known_found: bool,
    last: Option<AuditHead>,
    entries: u64,
    missing: Vec<(u64, u64)>,
    findings: Vec<AuditFinding>,
    findings_more: u64,
}

/// An entry by its number and its hash: who keeps it elsewhere sees when the trail was cut off after it,
/// or written again as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditHead {
    /// The entry's number, from 1.
    pub number: u64,
    /// The entry's hash: the id of its event.
    pub hash: String,
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditReport {
    /// How many entries there are.
    pub entries: u64,
    /// The number of the oldest one; those before were removed by retention.
    pub first: Option<u64>,
    /// The newest entry.
    pub head: Option<AuditHead>,
    /// What is wrong.
    pub findings: Vec<AuditFinding>,
    /// How many more things are.
    pub findings_more: u64,
}

/// Something that is wrong with the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditFinding {
    /// An entry is not what was written.
    Changed {
        /// The entry.
        number: u64,
    },
    /// Entries are not there.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// An entry is not in its place.
    Moved {
        /// The entry.
        number: u64,
        /// The entry that it stands behind.
        behind: u64,
    },
    /// An entry is there twice.
    Repeated {
        /// The entry.
        number: u64,
    },
    /// An event of the topic is not an entry.
    Foreign {
        /// Where it is.
        position: String,
    },
    /// The entry that is known from elsewhere is not there, or is another one.
    Unknown {
        /// The entry.
        number: u64,
    },
}

impl AuditChain {
    /// A trail of which nothing was seen; `known` is an entry that is known from elsewhere.
    pub fn new(known: Option<AuditHead>) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// Takes the next event of the topic.
    pub fn add(&mut self, position: Position, event: &Envelope) {
        let payload = event.payload();
        let Ok(link) = serde_json::from_slice::<Link>(payload) else {
            let position = position.to_string();
            return self.found(AuditFinding::Foreign { position });
        };
        let entry = AuditHead {
            number: link.number,
            hash: hash(payload),
        };
        self.entries += 1;
        let is_changed = entry.hash != event.id();
        if is_changed {
            let number = entry.number;
            self.found(AuditFinding::Changed { number });
        }
        self.is_known_found |= self.known.as_ref() == Some(&entry);
        self.place(&link, entry.number);
        if self
            .last
            .as_ref()
            .is_none_or(|last| entry.number > last.number)
        {
            self.last = Some(AuditHead {
                // What the next entry was chained to is what was written.
                hash: event.id().to_owned(),
                ..entry
            });
        }
    }

    /// Compares an entry with the one before it.
    fn place(&mut self, link: &Link, number: u64) {
        let Some(last) = &self.last else {
            if number == 1 && link.previous.is_some() {
                self.found(AuditFinding::Changed { number });
            } else if number > 1 {
                self.missing.push((1, number - 1));
            }
            return;
        };
        let behind = last.number;
        if number == behind.saturating_add(1) {
            let is_chained = link.previous.as_deref() == Some(last.hash.as_str());
            if !is_chained {
                let number = behind;
                self.found(AuditFinding::Changed { number });
            }
        } else if number > behind {
            self.missing.push((behind + 1, number - 1));
        } else if self.fill(number) {
            self.found(AuditFinding::Moved { number, behind });
        } else {
            self.found(AuditFinding::Repeated { number });
        }
    }

    /// Takes an entry out of those that are missing; whether it was.
    fn fill(&mut self, number: u64) -> bool {
        let is_in = |range: &(u64, u64)| range.0 <= number && number <= range.1;
        let Some(at) = self.missing.iter().position(is_in) else {
            return false;
        };
        let (from, to) = self.missing.remove(at);
        let before = (from < number).then(|| (from, number - 1));
        let after = (number < to).then(|| (number + 1, to));
        self.missing.extend(before.into_iter().chain(after));
        true
    }

    fn found(&mut self, finding: AuditFinding) {
        if self.findings.contains(&finding) {
            return;
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_more += 1;
        }
    }

    /// What there is to say at the end; `is_trimmed` says whether retention has removed old events.
    pub fn finish(mut self, is_trimmed: bool) -> AuditReport {
        let mut missing = std::mem::take(&mut self.missing);
        missing.sort_unstable();
        let mut first = (self.entries > 0).then_some(1);
        for (from, to) in missing {
            if from == 1 && is_trimmed {
                first = Some(to + 1);
            } else {
                self.found(AuditFinding::Missing { from, to });
            }
        }
        if let Some(known) = &self.known
            && !self.is_known_found
        {
            let number = known.number;
            self.found(AuditFinding::Unknown { number });
        }
        AuditReport {
            entries: self.entries,
            first,
            head: self.last,
            findings: self.findings,
            findings_more: self.findings_more,
        }
    }
}

impl AuditReport {
    /// Whether the trail is whole.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { number } => write!(f, "entry {number} was changed"),
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::Moved { number, behind } => {
                write!(
                    f,
                    "entry {number} is not in its place: it stands behind entry {behind}"
                )
            }
            Self::Repeated { number } => write!(f, "entry {number} is there twice"),
            Self::Foreign { position } => {
                write!(f, "the event at position {position} is not an entry")
            }
            Self::Unknown { number } => {
                write!(
                    f,
                    "entry {number} is not the one that is known, or is not there"
                )
            }
        }
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.hash)
    }
}

impl FromStr for AuditHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected NUMBER:HASH, as `ensue audit verify` prints it";
        let (number, hash) = text.split_once(':').ok_or(expected)?;
        let number = number.parse().map_err(|_| expected)?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash {
            return Err(expected);
        }
        let hash = hash.to_ascii_lowercase();
        Ok(Self { number, hash })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::entry::event;
    use super::*;

    /// A trail of so many entries.
    fn trail(entries: u64) -> Vec<Envelope> {
        let mut events: Vec<Envelope> = Vec::new();
        for number in 1..=entries {
            let previous = events.last().map(Envelope::id);
            let entry = json!({"number": number, "previous": previous, "action": "group.reset"});
            events.push(event(entry.to_string().into_bytes()).unwrap());
        }
        events
    }

    fn verified(events: &[Envelope], is_trimmed: bool) -> AuditReport {
        let mut chain = AuditChain::new(None);
        for (position, event) in events.iter().enumerate() {
            chain.add(Position::new(position as u64), event);
        }
        chain.finish(is_trimmed)
    }

    fn findings(events: &[Envelope]) -> Vec<String> {
        let findings = verified(events, false).findings;
        findings.iter().map(ToString::to_string).collect()
    }

    /// The same entry with another payload, and the id that its event had, or one that fits.
    fn forged(events: &[Envelope], at: usize, keeps_id: bool) -> Vec<Envelope> {
        let mut events = events.to_vec();
        let payload = String::from_utf8(events[at].payload().to_vec()).unwrap();
        let payload = payload.replace("group.reset", "group.other").into_bytes();
        let other = event(payload).unwrap();
        let id = if keeps_id {
            events[at].id()
        } else {
            other.id()
        };
        events[at] = other.to_builder().id(id).build().unwrap();
        events
    }

    #[test]
    fn a_whole_trail_is_good_and_its_head_is_its_last_entry() {
        let events = trail(5);
        let report = verified(&events, false);
        assert!(report.is_good(), "{report:?}");
        assert_eq!((report.entries, report.first), (5, Some(1)));
        let head = report.head.unwrap();
        assert_eq!(head.hash, events[4].id());
        assert_eq!(head.to_string().parse(), Ok(head));
        assert!(verified(&[], false).is_good());
    }

    #[test]
    fn a_changed_entry_is_named_whether_its_id_was_changed_or_not() {
        let events = trail(5);
        for keeps_id in [true, false] {
            let found = findings(&forged(&events, 2, keeps_id));
            assert_eq!(found, ["entry 3 was changed"], "{keeps_id}");
        }
        assert_eq!(findings(&forged(&events, 4, true)), ["entry 5 was changed"]);
        assert_eq!(
            findings(&forged(&events, 0, false)),
            ["entry 1 was changed"]
        );
    }

    #[test]
    fn a_missing_entry_is_named() {
        let mut events = trail(6);
        events.remove(2);
        assert_eq!(findings(&events), ["entry 3 is missing"]);
        events.remove(2);
        assert_eq!(findings(&events), ["entries 3 to 4 are missing"]);
        assert_eq!(findings(&trail(6)[2..]), ["entries 1 to 2 are missing"]);
    }

    #[test]
    fn entries_that_retention_removed_are_not_missing() {
        let report = verified(&trail(6)[2..], true);
        assert!(report.is_good(), "{report:?}");
        assert_eq!(report.first, Some(3));
    }

    #[test]
    fn an_entry_that_is_not_in_its_place_or_there_twice_is_named() {
        let mut events = trail(5);
        events.swap(1, 2);
        let expected = "entry 2 is not in its place: it stands behind entry 3";
        assert_eq!(findings(&events), [expected]);
        let mut events = trail(5);
        events.push(events[1].clone());
        assert_eq!(findings(&events), ["entry 2 is there twice"]);
    }

    #[test]
    fn what_is_no_entry_is_named_and_hides_nothing() {
        let mut events = trail(3);
        events.insert(1, event(b"{}".to_vec()).unwrap());
        assert_eq!(
            findings(&events),
            ["the event at position 1 is not an entry"]
        );
        events.remove(2);
        let found = findings(&events);
        assert!(
            found.contains(&"entry 2 is missing".to_owned()),
            "{found:?}"
        );
    }

    #[test]
    fn a_trail_that_was_cut_off_or_written_again_is_seen_by_who_knows_an_entry() {
        let events = trail(5);
        let head = verified(&events, false).head;
        let of = |events: &[Envelope]| {
            let mut chain = AuditChain::new(head.clone());
            for event in events {
                chain.add(Position::new(0), event);
            }
            chain.finish(false).findings
        };
        assert_eq!(of(&events), []);
        let unknown = [AuditFinding::Unknown { number: 5 }];
        assert_eq!(of(&events[..4]), unknown);
        assert_eq!(of(&[]), unknown);
        // With other entries throughout.
        let mut again: Vec<Envelope> = Vec::new();
        for number in 1..=5 {
            let previous = again.last().map(Envelope::id);
            let entry = json!({"number": number, "previous": previous, "action": "nothing"});
            again.push(event(entry.to_string().into_bytes()).unwrap());
        }
        assert_eq!(of(&again), unknown);
    }
}
