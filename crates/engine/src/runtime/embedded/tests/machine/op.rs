//! What can happen to a group, and how often it does.

use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Publish {
        key: u8,
    },
    Take {
        member: u8,
        max: u8,
    },
    Settle {
        member: u8,
        pick: u8,
    },
    Retry {
        member: u8,
        pick: u8,
        seconds: u8,
    },
    Die {
        member: u8,
        pick: u8,
    },
    Redrive,
    Advance {
        seconds: u8,
    },
    /// So many of the records on their way become durable.
    Durable {
        count: u8,
    },
    /// So many of them fail; those after them may become durable.
    Full {
        count: u8,
    },
    Join,
    Drop {
        member: u8,
    },
    Crash,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let (member, pick) = (0..3_u8, any::<u8>());
    prop_oneof![
        8 => (0..3_u8).prop_map(|key| Op::Publish { key }),
        8 => (member.clone(), 1..6_u8).prop_map(|(member, max)| Op::Take { member, max }),
        8 => (member.clone(), pick).prop_map(|(member, pick)| Op::Settle { member, pick }),
        4 => (member.clone(), pick, 0..9_u8)
            .prop_map(|(member, pick, seconds)| Op::Retry { member, pick, seconds }),
        2 => (member.clone(), pick).prop_map(|(member, pick)| Op::Die { member, pick }),
        1 => Just(Op::Redrive),
        2 => (1..9_u8).prop_map(|seconds| Op::Advance { seconds }),
        9 => (1..4_u8).prop_map(|count| Op::Durable { count }),
        2 => (1..9_u8).prop_map(|count| Op::Full { count }),
        2 => Just(Op::Join),
        1 => member.prop_map(|member| Op::Drop { member }),
        1 => Just(Op::Crash),
    ]
}
