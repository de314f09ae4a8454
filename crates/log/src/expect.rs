use crate::position::Position;

/// What must be true of a key for a batch to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The topic has no record with this key, and had none: of a key of which trimming has left
    /// nothing that cannot be known, and it does not hold.
    Absent,
    /// The key's last record in the topic is at this position.
    At(Position),
}
