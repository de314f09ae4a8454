//! The stable names of what can go wrong.

use axum::http::StatusCode;

macro_rules! codes {
    ($($(#[doc = $help:literal])+ $name:ident = $text:literal, $status:ident, $doubt:ident;)+) => {
        /// What went wrong, by a name that stays: the `code` of a problem document.
        ///
        /// Those that the engine reports are the same as the `kind` of the `ensue` command's errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $help])+ $name,)+
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// The status that goes with it.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => StatusCode::$status.as_u16(),)+
                }
            }

            /// Whether what was asked for may have happened all the same. Everything else that is
            /// refused has not happened.
            pub const fn is_in_doubt(self) -> bool {
                match self {
                    $(Self::$name => codes!(@doubt $doubt),)+
                }
            }

            /// Whether the same request may be taken in a moment: its answer says when.
            pub(crate) const fn is_for_later(self) -> bool {
                matches!(self.status(), 429 | 503)
            }

            /// Whether nothing is wrong with the server: what the client waits for did not happen within the time that
            /// it gave.
            pub(crate) const fn is_waited_out(self) -> bool {
                matches!(self, Self::NotHandled | Self::NoReply)
            }

            /// What it means, in a sentence.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($help),+),)+
                }
            }
        }
    };
    (@doubt refused) => { false };
    (@doubt doubt) => { true };
}

codes! {
    /// An event breaks a rule of CloudEvents or of Ensue
    InvalidEvent = "invalid_event", BAD_REQUEST, refused;
    /// A parameter of the query has a value that it cannot have
    InvalidParameter = "invalid_parameter", BAD_REQUEST, refused;
    /// The body is not what the path takes
    InvalidBody = "invalid_body", BAD_REQUEST, refused;
    /// The query has a parameter that does not exist
    UnknownParameter = "unknown_parameter", BAD_REQUEST, refused;
    /// The filter is not an expression of CloudEvents SQL
    InvalidFilter = "invalid_filter", BAD_REQUEST, refused;
    /// A time that has not come cannot be found in the log
    InTheFuture = "in_the_future", BAD_REQUEST, refused;
    /// The log has no such place yet
    BeyondEnd = "beyond_end", BAD_REQUEST, refused;
    /// A header has a value that it cannot have
    InvalidHeader = "invalid_header", BAD_REQUEST, refused;
    /// What destroys something has to say why, in the header `Ensue-Reason`
    ReasonRequired = "reason_required", BAD_REQUEST, refused;
    /// The request is not encrypted, and the server speaks TLS
    NotEncrypted = "not_encrypted", BAD_REQUEST, refused;
    /// The body did not arrive whole
    BodyIncomplete = "body_incomplete", BAD_REQUEST, refused;
    /// The request has no credentials, or none that are valid
    Unauthenticated = "unauthenticated", UNAUTHORIZED, refused;
    /// The login did not end with a session
    LoginFailed = "login_failed", BAD_REQUEST, refused;
    /// A webhook is not signed by its sender, or too long ago
    InvalidSignature = "invalid_signature", UNAUTHORIZED, refused;
    /// The caller may not do this
    Forbidden = "forbidden", FORBIDDEN, refused;
    /// The header `Host` names another server
    HostNotAllowed = "host_not_allowed", FORBIDDEN, refused;
    /// A web page of another origin sent the request
    CrossOrigin = "cross_origin", FORBIDDEN, refused;
    /// The sender's origin may not send webhooks here
    OriginNotAllowed = "origin_not_allowed", FORBIDDEN, refused;
    /// The engine was opened for reading only
    ReadOnly = "read_only", FORBIDDEN, refused;
    /// There is nothing at this path
    NotFound = "not_found", NOT_FOUND, refused;
    /// There is no such group
    UnknownGroup = "unknown_group", NOT_FOUND, refused;
    /// The group has no such member: its lease expired, it has left, or the server was restarted
    UnknownMember = "unknown_member", NOT_FOUND, refused;
    /// The group has no such dead letter
    NoDeadLetter = "no_dead_letter", NOT_FOUND, refused;
    /// The saga has no such process
    UnknownProcess = "unknown_process", NOT_FOUND, refused;
    /// There is no such webhook in the configuration
    UnknownWebhook = "unknown_webhook", NOT_FOUND, refused;
    /// Nothing is scheduled under this name
    NotScheduled = "not_scheduled", NOT_FOUND, refused;
    /// The path does not take this method
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, refused;
    /// The body did not arrive in time
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, refused;
    /// The key's last event is not the expected one
    Conflict = "conflict", CONFLICT, refused;
    /// The group has members
    HasMembers = "has_members", CONFLICT, refused;
    /// The member was replaced: its group was reset, or it was taken for dead
    Fenced = "fenced", CONFLICT, refused;
    /// The member does not hold the delivery at the generation that was given
    StaleDelivery = "stale_delivery", CONFLICT, refused;
    /// An earlier event of the key is not done
    OutOfOrder = "out_of_order", CONFLICT, refused;
    /// The request has the id of an event that asked for no reply
    NotARequest = "not_a_request", CONFLICT, refused;
    /// Members of the group ask for topics or types that the join leaves out
    OtherSubscription = "other_subscription", CONFLICT, refused;
    /// What becomes of the group's state has to be said
    UndecidedState = "undecided_state", CONFLICT, refused;
    /// Retention has removed what the expectation is about
    VersionRemoved = "version_removed", CONFLICT, refused;
    /// Retention has removed what was asked for
    Trimmed = "trimmed", GONE, refused;
    /// The body is larger than a body may be
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, refused;
    /// The batch has more events than a batch may have
    BatchTooLarge = "batch_too_large", PAYLOAD_TOO_LARGE, refused;
    /// The body is in a format that the server does not read
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, refused;
    /// Something is beyond a limit of the engine
    Limit = "limit", UNPROCESSABLE_ENTITY, refused;
    /// Something cannot be done as it was asked for
    Refused = "refused", UNPROCESSABLE_ENTITY, refused;
    /// There were as many requests as there may be in a time
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, refused;
    /// The service that took the request rejected it, or its attempts failed
    RequestFailed = "request_failed", UNPROCESSABLE_ENTITY, refused;
    /// A fault in the server
    Internal = "internal", INTERNAL_SERVER_ERROR, doubt;
    /// What is stored is not what was written
    Corrupt = "corrupt", INTERNAL_SERVER_ERROR, refused;
    /// The operating system refused something
    Io = "io", INTERNAL_SERVER_ERROR, doubt;
    /// The engine does not offer this
    Unsupported = "unsupported", NOT_IMPLEMENTED, refused;
    /// The server has too much to do
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, refused;
    /// The issuer of the credentials cannot be asked
    IssuerUnavailable = "issuer_unavailable", SERVICE_UNAVAILABLE, refused;
    /// The engine is closed
    Closed = "closed", SERVICE_UNAVAILABLE, refused;
    /// The engine has stopped after an error
    Stopped = "stopped", SERVICE_UNAVAILABLE, doubt;
    /// The engine's own server is away
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, doubt;
    /// The engine lost its directory
    OwnershipLost = "ownership_lost", SERVICE_UNAVAILABLE, doubt;
    /// Another process changed the same thing at the same time
    Overtaken = "overtaken", SERVICE_UNAVAILABLE, refused;
    /// The answer took too long
    Timeout = "timeout", GATEWAY_TIMEOUT, doubt;
    /// The group has not handled the event in time
    NotHandled = "not_handled", GATEWAY_TIMEOUT, refused;
    /// No reply came before the deadline
    NoReply = "no_reply", GATEWAY_TIMEOUT, doubt;
    /// The engine's disk is full
    DiskFull = "disk_full", INSUFFICIENT_STORAGE, refused;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_documented_with_its_status() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.md");
        let docs = std::fs::read_to_string(path).unwrap();
        for code in Code::ALL {
            let doubt = if code.is_in_doubt() { "yes" } else { "no" };
            let (name, status, title) = (code.as_str(), code.status(), code.title().trim());
            let row = format!("| `{name}` | {status} | {doubt} | {title} |");
            assert!(
                docs.contains(&row),
                "docs/server.md lacks this line:\n{row}"
            );
        }
        let rows = docs.lines().filter(|line| {
            let mut cells = line.split('|').map(str::trim);
            cells
                .nth(2)
                .is_some_and(|status| status.parse::<u16>().is_ok())
        });
        assert_eq!(
            rows.count(),
            Code::ALL.len(),
            "docs/server.md has a code too many"
        );
    }

    #[test]
    fn what_clients_wait_for_in_vain_is_no_fault_of_the_server() {
        let waited_out = Code::ALL.iter().filter(|code| code.is_waited_out());
        let waited_out: Vec<_> = waited_out.map(|code| code.as_str()).collect();
        assert_eq!(waited_out, ["not_handled", "no_reply"]);
    }

    #[test]
    fn no_two_codes_have_one_name() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
