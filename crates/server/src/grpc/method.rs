//! The calls there are: who may make each at all, and what comes with it. Asked before its body is read.

use ensue_proto::MESSAGE_BYTES_MAX;

use super::layout::{self, Layout};
use crate::security::{Access, Action};

/// The largest message of calls that send neither events nor commits, in bytes.
const SMALL_BYTES_MAX: usize = 1024 * 1024;

/// A call.
#[derive(Debug)]
pub(super) struct Method {
    name: &'static str,
    pub(super) access: Access,
    /// The largest message, in bytes.
    pub(super) bytes_max: usize,
    pub(super) layout: &'static Layout,
    /// Whether the client sends messages for as long as it likes.
    pub(super) is_stream: bool,
}

const fn small(name: &'static str, access: Access, layout: &'static Layout) -> Method {
    Method {
        name,
        access,
        bytes_max: SMALL_BYTES_MAX,
        layout,
        is_stream: false,
    }
}

const fn large(name: &'static str, action: Action, layout: &'static Layout) -> Method {
    Method {
        bytes_max: MESSAGE_BYTES_MAX,
        ..small(name, Access::May(action), layout)
    }
}

const READ: Access = Access::May(Action::Read);
const OPERATE: Access = Access::May(Action::Operate);

static ALL: [Method; 19] = [
    small("GetInfo", Access::Known, &layout::PLAIN),
    large("Append", Action::Publish, &layout::APPEND_REQUEST),
    small("Read", READ, &layout::READ),
    large("Ask", Action::Publish, &layout::ASK),
    small("Wait", Access::Known, &layout::PLAIN),
    Method {
        is_stream: true,
        ..large("Join", Action::Consume, &layout::JOIN)
    },
    small("Cancel", OPERATE, &layout::CANCEL),
    small("ListScheduled", READ, &layout::PLAIN),
    small("GetState", READ, &layout::PLAIN),
    small("ListStates", READ, &layout::PLAIN),
    // Who consumes or operates what a group has sees its dead letters, too.
    small("ListDeadLetters", Access::Known, &layout::OF_DEAD_LETTERS),
    small("Redrive", OPERATE, &layout::OF_DEAD_LETTERS),
    small("Discard", OPERATE, &layout::OF_DEAD_LETTERS),
    small("ResetGroup", OPERATE, &layout::PLAIN),
    small("PlanReset", OPERATE, &layout::PLAIN),
    small("DeleteGroup", OPERATE, &layout::PLAIN),
    small("GetHealth", Access::Known, &layout::PLAIN),
    small("GetStatus", Access::Known, &layout::PLAIN),
    small("GetGroup", Access::Known, &layout::PLAIN),
];

/// What is not a call, and is answered that.
static UNKNOWN: Method = small("", Access::Known, &layout::PLAIN);

/// The call at a path.
pub(super) fn at(path: &str) -> &'static Method {
    let name = path.rsplit('/').next().unwrap_or_default();
    ALL.iter().find(|it| it.name == name).unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests;
