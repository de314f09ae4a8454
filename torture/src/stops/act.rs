//! What a handler may do to its app.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// One way to handle an event. All but [`Act::Good`] are meant to be a nuisance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
pub(super) enum Act {
    /// One small event follows.
    #[default]
    Good,
    // What it returns.
    Many,
    TooMany,
    Large,
    LargeTogether,
    Schedule,
    ScheduleMany,
    ScheduleKnownId,
    ScheduleFar,
    Cancel,
    CancelAndSchedule,
    Timer,
    LongTimer,
    CancelAndTimer,
    State,
    LargeState,
    ManyCells,
    LongCellName,
    ClearState,
    Reply,
    BadTopic,
    ReservedTopic,
    LongKey,
    LongId,
    LongExtension,
    KnownId,
    NotANumber,
    EncodeFails,
    StateEncodeFails,
    // How it fails.
    Retry,
    Reject,
    DisplayFails,
    DisplayPanics,
    SourcePanics,
    SourceIsItself,
    LongChain,
    LongText,
    ErrorDropPanics,
    StateDecodeFails,
    // Where it panics.
    CallPanics,
    PollPanics,
    LatePollPanics,
    FutureDropPanics,
    EventDropPanics,
    EncodePanics,
    StateEncodePanics,
    StateDecodePanics,
    KeyPanics,
    TopicPanics,
    EffectsPanic,
    EffectsDropPanics,
    MiddlewarePanics,
    MiddlewareRefuses,
    MiddlewareDropPanics,
    PanicsWithAPanic,
    // What it does before it ends.
    Yields,
    YieldsForEver,
    WakesLate,
    Sleeps,
    SleepsTooLong,
    NeverEnds,
    Blocks,
    Publishes,
    PublishesKnownId,
    Asks,
    // What it is sent: the same for all groups.
    Undecodable,
    UnknownCodec,
    UnknownVersion,
    OldVersion,
    UpcastPanics,
    DecodePanics,
    LargePayload,
}

impl Act {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        Self::value_variants().iter().copied()
    }

    /// Whether nothing can ever read the payload.
    pub(super) fn is_lost(self) -> bool {
        matches!(
            self,
            Self::Undecodable | Self::UnknownCodec | Self::UnknownVersion
        )
    }
}
