//! The numbers that mean something, each with a type of its own: two that must not be mixed up do not
//! fit into each other's place. What stands for "none" in the file format is an `Option` here.
//!
//! Positions in the log are [`Position`](crate::engine::Position)s.

use std::fmt;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// A process, as its log knows it: the position of the record that it opened a shared log with, or,
/// where it owns its log, the log's end when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ProcessId(u64);

impl ProcessId {
    /// What a process goes by until the log has said which one it is: no log has a record there.
    pub(crate) const UNKNOWN: Self = Self(u64::MAX);

    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// A member of a group. Numbers are given out in order, from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MemberId(NonZeroU64);

impl MemberId {
    pub(crate) const FIRST: Self = Self(NonZeroU64::MIN);

    #[cfg(test)]
    pub(crate) const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    pub(crate) const fn get(self) -> u64 {
        self.0.get()
    }

    /// The number after this one, unless it is the last that there can be.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// Tells the sessions of one group in a process apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

impl Epoch {
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Counts how often the slots of a group were assigned to processes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct Turn(u64);

impl Turn {
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One of the 256 parts that the keys of a group hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Slot(u8);

impl Slot {
    /// How many there are.
    pub(crate) const COUNT: usize = 256;

    pub(crate) const fn new(number: u8) -> Self {
        Self(number)
    }

    /// All of them, in order.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its place among all: less than [`COUNT`](Self::COUNT).
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a frame among those of its process, from one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct FrameNumber(u64);

impl FrameNumber {
    /// What comes before the first.
    pub(crate) const START: Self = Self(0);
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// The number after this one, unless it is the last that there can be.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// Defines a random number of 128 bits, which is written as its two halves.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub(crate) struct $name(u64, u64);

        impl From<(u64, u64)> for $name {
            fn from((high, low): (u64, u64)) -> Self {
                Self(high, low)
            }
        }
    };
}

random_id! {
    /// Who wrote a frame of a shared log.
    WriterId
}
random_id! {
    /// What only the directory of a process's copy holds.
    Secret
}
random_id! {
    /// What the log holds of a [`Secret`]: the secret cannot be told from it.
    Seal
}

impl WriterId {
    pub(crate) const fn new(high: u64, low: u64) -> Self {
        Self(high, low)
    }

    /// Its halves, the higher one first.
    pub(crate) const fn halves(self) -> (u64, u64) {
        (self.0, self.1)
    }

    /// What of it cannot be guessed: the higher half of an identifier of this kind is a time.
    pub(crate) const fn seed(self) -> u64 {
        self.1
    }
}

impl Secret {
    pub(crate) const fn new(high: u64, low: u64) -> Self {
        Self(high, low)
    }

    /// Its halves, the higher one first.
    pub(crate) const fn halves(self) -> (u64, u64) {
        (self.0, self.1)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An optional member as the file format has it: 0 is none.
pub(crate) mod member_or_zero {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{MemberId, NonZeroU64};

    pub(crate) fn serialize<S: Serializer>(
        member: &Option<MemberId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(member.map_or(0, MemberId::get))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<MemberId>, D::Error> {
        Ok(NonZeroU64::new(u64::deserialize(from)?).map(MemberId))
    }
}

/// An optional process as the file format has it: the largest number is none, because no log has a
/// record there.
pub(crate) mod process_or_max {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::ProcessId;

    pub(crate) fn serialize<S: Serializer>(
        process: &Option<ProcessId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(process.unwrap_or(ProcessId::UNKNOWN).0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ProcessId>, D::Error> {
        let process = ProcessId(u64::deserialize(from)?);
        Ok(Some(process).filter(|it| *it != ProcessId::UNKNOWN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a value in a record or a checkpoint.
    fn bytes(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut serializer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
        value.serialize(&mut serializer).unwrap();
        bytes
    }

    #[test]
    fn after_the_last_number_there_is_no_other() {
        assert_eq!(MemberId::FIRST.next(), MemberId::new(2));
        assert_eq!(MemberId::new(u64::MAX).unwrap().next(), None);
        assert_eq!(FrameNumber::START.next(), Some(FrameNumber::FIRST));
        assert_eq!(FrameNumber::new(u64::MAX).next(), None);
    }

    #[test]
    fn the_types_are_written_as_the_bare_numbers_were() {
        assert_eq!(bytes(&ProcessId::new(300)), bytes(&300_u64));
        assert_eq!(bytes(&MemberId::new(7)), bytes(&7_u64));
        assert_eq!(bytes(&Turn(9)), bytes(&9_u64));
        assert_eq!(bytes(&vec![Slot::new(200)]), bytes(&vec![200_u8]));
        assert_eq!(bytes(&FrameNumber::new(70_000)), bytes(&70_000_u64));
        let halves = (1_u64, u64::MAX);
        assert_eq!(bytes(&WriterId::from(halves)), bytes(&halves));
        assert_eq!(bytes(&Some(Seal::from(halves))), bytes(&Some(halves)));
    }

    #[test]
    fn none_is_written_as_the_number_that_stood_for_it_and_read_back() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Typed {
            #[serde(with = "member_or_zero")]
            member: Option<MemberId>,
            #[serde(with = "process_or_max")]
            owner: Option<ProcessId>,
        }
        #[derive(Serialize)]
        struct Bare {
            member: u64,
            owner: u64,
        }
        for (member, owner) in [(0, u64::MAX), (3, 0), (u64::MAX, 5)] {
            let typed = Typed {
                member: MemberId::new(member),
                owner: Some(ProcessId(owner)).filter(|it| *it != ProcessId::UNKNOWN),
            };
            let written = bytes(&typed);
            assert_eq!(written, bytes(&Bare { member, owner }));
            assert_eq!(rmp_serde::from_slice::<Typed>(&written).unwrap(), typed);
        }
        assert!(rmp_serde::from_slice::<MemberId>(&bytes(&0_u64)).is_err());
    }
}
