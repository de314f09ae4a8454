//! Who sent a request, and what they may do: in the extensions of every request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use ensue::engine::GroupStatus;
use ensue::{Envelope, TopicPattern};
use tokio::sync::OwnedSemaphorePermit;

use super::access::{Access, Action};
use super::issuer::JwtProof;
use super::permissions::Permissions;
use super::sessions::SessionId;
use super::tls::Authorities;
use super::usage::Usage;
use crate::memory::{Held, Share};
use crate::personal::Masks;
use crate::problem::{Code, Problem};

/// Who sent a request. Handlers take it as an argument and ask it before they touch a topic; cloning
/// gives the same.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    who: Arc<Who>,
    /// What is personal in events.
    masks: Arc<Masks>,
    address: Option<SocketAddr>,
    /// What the connection may have of all answers, for callers that are not counted.
    answers: Option<Share>,
    /// Why the credentials were refused, or the request: what is public answers all the same.
    refusal: Option<Arc<Problem>>,
}

/// Whom the server knows.
#[derive(Debug)]
pub(crate) struct Who {
    name: String,
    proof: Proof,
    permissions: Permissions,
    /// Whether a person can log in to be known.
    can_log_in: bool,
    /// What the caller uses; that of the owner and of strangers is not counted.
    usage: Option<Arc<Usage>>,
}

/// How a caller proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not at all: they may use what is public.
    Nothing,
    /// By reaching a server that asks for nothing else.
    Reach,
    /// By the token with this id.
    Token(String),
    /// By a token of an issuer.
    Jwt(JwtProof),
    /// By a session.
    Session(SessionId),
    /// By the certificate of the connection, which these authorities signed.
    Certificate(Authorities),
}

impl Who {
    pub(super) fn new(
        name: String,
        proof: Proof,
        permissions: Permissions,
        usage: Arc<Usage>,
    ) -> Self {
        Self {
            name,
            proof,
            permissions,
            can_log_in: false,
            usage: Some(usage),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// A process of this machine, which may do everything.
    pub(super) fn local() -> Self {
        Self {
            name: "local".to_owned(),
            proof: Proof::Reach,
            permissions: Permissions::everything(),
            can_log_in: false,
            usage: None,
        }
    }

    /// Someone who may do nothing.
    pub(super) fn stranger() -> Self {
        Self {
            name: "stranger".to_owned(),
            proof: Proof::Nothing,
            permissions: Permissions::default(),
            can_log_in: false,
            usage: None,
        }
    }

    /// The same of a server where people log in.
    pub(super) fn stranger_at_login() -> Self {
        Self {
            can_log_in: true,
            ..Self::stranger()
        }
    }
}

impl Caller {
    pub(super) fn new(who: Arc<Who>, masks: &Arc<Masks>, address: Option<SocketAddr>) -> Self {
        Self {
            who,
            masks: masks.clone(),
            address,
            answers: None,
            refusal: None,
        }
    }

    /// The same, whose answers go over the connection that has this share of them.
    pub(super) fn over(mut self, answers: Option<Share>) -> Self {
        self.answers = answers;
        self
    }

    /// What the connection has, for who follows this caller.
    pub(super) fn connection_answers(&self) -> Option<Share> {
        self.answers.clone()
    }

    /// Nothing yet of what the caller may hold of the answers under way.
    pub(crate) fn answers(&self) -> Held {
        let of_usage = self.who.usage.as_ref().map(|usage| usage.answers());
        let share = of_usage.or(self.answers.as_ref());
        share.map_or_else(Held::default, Share::held)
    }

    /// A stranger, whom everything that is not public answers with this.
    pub(crate) fn refused(problem: Problem, address: SocketAddr) -> Self {
        Self {
            refusal: Some(Arc::new(problem)),
            ..Self::new(Arc::new(Who::stranger()), &Arc::default(), Some(address))
        }
    }

    /// The server itself, for what it does because files have changed.
    pub(crate) fn server() -> Self {
        let mut who = Who::local();
        who.name = "server".to_owned();
        Self::new(Arc::new(who), &Arc::default(), None)
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub(super) fn who(&self) -> &Who {
        &self.who
    }

    /// For logs.
    pub(crate) fn name(&self) -> &str {
        &self.who.name
    }

    /// How the caller proved who they are.
    pub(crate) fn known_by(&self) -> &'static str {
        match self.who.proof {
            Proof::Nothing => "nothing",
            Proof::Reach => "reach",
            Proof::Token(_) => "token",
            Proof::Jwt(_) => "jwt",
            Proof::Session(_) => "session",
            Proof::Certificate(_) => "certificate",
        }
    }

    /// The topics that an action is allowed with.
    pub(crate) fn patterns(&self, action: Action) -> Vec<String> {
        let patterns = self.who.permissions.patterns(action).iter();
        patterns.map(ToString::to_string).collect()
    }

    /// Counts a request of the caller, or refuses it: there are too many.
    pub(super) fn request(&self) -> Result<(), Problem> {
        match &self.who.usage {
            Some(usage) => usage.request(),
            None => Ok(()),
        }
    }

    /// A place among the caller's streams, where those are counted.
    pub(crate) fn stream(&self) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        self.who
            .usage
            .as_ref()
            .map(|usage| usage.stream())
            .transpose()
    }

    /// A place among the caller's requests that wait, where those are counted.
    pub(crate) fn waiting(&self) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        self.who
            .usage
            .as_ref()
            .map(|usage| usage.waiting())
            .transpose()
    }

    /// Refuses a caller who may not use a route at all.
    pub(crate) fn enter(&self, access: Access) -> Result<(), Problem> {
        match access {
            Access::Public => Ok(()),
            Access::Known => self.known(),
            Access::May(action) => {
                self.known()?;
                if self.who.permissions.has(action) {
                    return Ok(());
                }
                Err(self.forbidden(&format!("none of its roles may {action}")))
            }
        }
    }

    /// Refuses a stranger.
    pub(crate) fn known(&self) -> Result<(), Problem> {
        if let Some(refusal) = &self.refusal {
            return Err(Problem::clone(refusal));
        }
        if self.who.proof != Proof::Nothing {
            return Ok(());
        }
        let how = if self.who.can_log_in {
            "log in with a browser at `/v1/login`, send the header `Authorization: Bearer TOKEN` (`ensue token \
             create` makes one), or connect with a client certificate"
        } else {
            "send the header `Authorization: Bearer TOKEN` (`ensue token create` makes one), or connect with \
             a client certificate"
        };
        Err(Problem::new(
            Code::Unauthenticated,
            format!("the request has no credentials: {how}"),
        ))
    }

    /// Whether the action is allowed with this topic.
    pub(crate) fn may(&self, action: Action, topic: &str) -> bool {
        self.who.permissions.may(action, topic)
    }

    /// Refuses the action with this topic, unless it is allowed.
    pub(crate) fn must(&self, action: Action, topic: &str) -> Result<(), Problem> {
        if self.may(action, topic) {
            return Ok(());
        }
        let shown: String = topic.chars().take(200).collect();
        Err(self.forbidden(&format!("it may not {action} `{shown}`")))
    }

    /// Refuses to publish events of this topic with this source, unless that is allowed.
    pub(crate) fn must_publish(&self, topic: &str, source: &str) -> Result<(), Problem> {
        self.must(Action::Publish, topic)?;
        if self.who.permissions.may_sign(topic, source) {
            return Ok(());
        }
        let shown = |text: &str| text.chars().take(200).collect::<String>();
        let (topic, source) = (shown(topic), shown(source));
        Err(self.forbidden(&format!(
            "none of its roles may publish `{topic}` with the source `{source}` (`sources`)"
        )))
    }

    /// Refuses the action, unless it is allowed with every topic that each of the patterns selects; a
    /// list without any needs all topics.
    pub(crate) fn must_cover(&self, action: Action, patterns: &[String]) -> Result<(), Problem> {
        if self.covers(action, patterns) {
            return Ok(());
        }
        let topics = if patterns.is_empty() {
            "every topic".to_owned()
        } else {
            let shown = patterns.iter().take(20).map(|it| format!("`{it}`"));
            shown.collect::<Vec<_>>().join(", ")
        };
        Err(self.forbidden(&format!("it may not {action} {topics}")))
    }

    fn covers(&self, action: Action, patterns: &[String]) -> bool {
        let covers = |pattern: &TopicPattern| self.who.permissions.covers(action, pattern);
        if patterns.is_empty() {
            return covers(&TopicPattern::all());
        }
        let mut patterns = patterns.iter();
        patterns.all(|pattern| pattern.parse().is_ok_and(|pattern| covers(&pattern)))
    }

    /// Whether the caller sees what is personal in events of this topic.
    pub(crate) fn sees_personal(&self, topic: &str) -> bool {
        self.masks.is_empty() || self.who.permissions.may_see_personal(topic)
    }

    /// Leaves out of an event what is personal, unless the caller may see it. Every event that leaves the
    /// server for a caller passes here.
    pub(crate) fn disclose(&self, event: &mut Envelope) -> Result<(), Problem> {
        if self.masks.is_empty() {
            return Ok(());
        }
        let topic = event.topic().to_owned();
        self.disclose_as_of(&topic, event)
    }

    /// The same for an event that has what events of another topic have: a reply to one of them.
    pub(crate) fn disclose_as_of(&self, topic: &str, event: &mut Envelope) -> Result<(), Problem> {
        if self.sees_personal(topic) {
            return Ok(());
        }
        match self.masks.masked(topic, event) {
            None => Ok(()),
            Some(Ok(masked)) => {
                *event = masked;
                Ok(())
            }
            Some(Err(error)) => {
                let detail =
                    format!("an event cannot be shown without what is personal in it: {error}");
                Err(Problem::new(Code::Internal, detail))
            }
        }
    }

    /// Whether the caller may do something with the events of this group: read all its topics, consume
    /// them or operate them.
    pub(crate) fn handles(&self, group: &GroupStatus) -> bool {
        let actions = [Action::Read, Action::Consume, Action::Operate];
        let mut actions = actions.into_iter();
        actions.any(|action| self.covers(action, &group.topics))
    }

    /// Refuses to join a group that has topics the caller may not consume: those of who joined last, of which
    /// every member is given what was put aside.
    pub(crate) fn must_join(&self, group: &GroupStatus) -> Result<(), Problem> {
        if self.covers(Action::Consume, &group.topics) {
            return Ok(());
        }
        Err(Problem::new(
            Code::Forbidden,
            "the group has topics that the caller may not consume; join one of another name",
        ))
    }

    /// Whether the caller may see that this group is there, and how it goes.
    pub(crate) fn sees(&self, group: &GroupStatus) -> bool {
        self.is_admin() || self.handles(group)
    }

    /// Whether the caller may see that this topic is there.
    pub(crate) fn sees_topic(&self, topic: &str) -> bool {
        self.is_admin() || self.may(Action::Read, topic)
    }

    /// Whether the caller is the owner of the process, as far as the server can tell.
    pub(crate) fn may_everything(&self) -> bool {
        self.who.permissions.are_everything()
    }

    /// Whether the caller sees the server as a whole.
    pub(crate) fn is_admin(&self) -> bool {
        self.who.permissions.has(Action::Admin)
    }

    fn forbidden(&self, what: &str) -> Problem {
        let name = self.name();
        Problem::new(
            Code::Forbidden,
            format!(
                "the caller is known as `{name}`, and {what}; permissions are in `[roles]` of the configuration"
            ),
        )
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Self>().cloned();
        // A request that came past the door is a stranger's.
        Ok(caller.unwrap_or_else(|| Self::new(Arc::new(Who::stranger()), &Arc::default(), None)))
    }
}
