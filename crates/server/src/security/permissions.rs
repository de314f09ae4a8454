//! What a caller may do: topics for each action, and nothing that is not said.

use ensue::TopicPattern;

use super::access::Action;
use crate::config::Role;

/// What a caller may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Permissions {
    publish: Vec<TopicPattern>,
    /// With which sources, role by role.
    signed: Vec<Signed>,
    read: Vec<TopicPattern>,
    consume: Vec<TopicPattern>,
    operate: Vec<TopicPattern>,
    /// The topics whose personal fields are seen.
    personal: Vec<TopicPattern>,
    admin: bool,
    /// Everything, reserved topics among it: what the owner of the process may do.
    everything: bool,
}

/// What one role allows to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signed {
    topics: Vec<TopicPattern>,
    /// Any, if it is empty.
    sources: Vec<String>,
}

impl Signed {
    fn has(&self, topic: &str, source: &str) -> bool {
        let is_it = |own: &String| match source.strip_prefix(own.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || own.ends_with('/'),
            None => false,
        };
        let has_source = self.sources.is_empty() || self.sources.iter().any(is_it);
        has_source && self.topics.iter().any(|pattern| pattern.matches(topic))
    }
}

impl Permissions {
    /// Those of a process of this machine, when nothing else was said.
    pub(crate) fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// What a role allows, besides.
    pub(super) fn add(&mut self, role: &Role) {
        self.publish.extend_from_slice(&role.publish);
        self.signed.push(Signed {
            topics: role.publish.clone(),
            sources: role.sources.clone(),
        });
        self.read.extend_from_slice(&role.read);
        self.consume.extend_from_slice(&role.consume);
        self.operate.extend_from_slice(&role.operate);
        self.admin |= role.admin;
        if role.personal {
            for topics in [&role.read, &role.consume, &role.publish] {
                self.personal.extend_from_slice(topics);
            }
        }
    }

    pub(crate) fn are_everything(&self) -> bool {
        self.everything
    }

    /// Whether the personal fields of the events of this topic are seen.
    pub(super) fn may_see_personal(&self, topic: &str) -> bool {
        let mut patterns = self.personal.iter();
        self.everything || patterns.any(|pattern| pattern.matches(topic))
    }

    pub(super) fn patterns(&self, action: Action) -> &[TopicPattern] {
        match action {
            Action::Publish => &self.publish,
            Action::Read => &self.read,
            Action::Consume => &self.consume,
            Action::Operate => &self.operate,
            Action::Admin => &[],
        }
    }

    /// Whether the action is allowed with some topic.
    pub(crate) fn has(&self, action: Action) -> bool {
        let is_admin = action == Action::Admin && self.admin;
        self.everything || is_admin || !self.patterns(action).is_empty()
    }

    /// Whether the action is allowed with this topic.
    pub(crate) fn may(&self, action: Action, topic: &str) -> bool {
        let mut patterns = self.patterns(action).iter();
        self.everything || patterns.any(|pattern| pattern.matches(topic))
    }

    /// Whether events of this topic may be published with this source.
    pub(super) fn may_sign(&self, topic: &str, source: &str) -> bool {
        self.everything || self.signed.iter().any(|signed| signed.has(topic, source))
    }

    /// Whether the action is allowed with every topic that `wanted` selects.
    pub(crate) fn covers(&self, action: Action, wanted: &TopicPattern) -> bool {
        let mut patterns = self.patterns(action).iter();
        self.everything || patterns.any(|pattern| pattern.covers(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: &str) -> Permissions {
        let role = format!("[roles.it]\n{role}");
        let config: crate::Config = role.parse().unwrap();
        let mut permissions = Permissions::default();
        permissions.add(&config.roles["it"]);
        permissions
    }

    #[test]
    fn what_is_not_said_is_denied() {
        let nothing = Permissions::default();
        let actions = [
            Action::Publish,
            Action::Read,
            Action::Consume,
            Action::Operate,
            Action::Admin,
        ];
        for action in actions {
            assert!(
                !nothing.has(action) && !nothing.may(action, "t"),
                "{action}"
            );
            assert!(!nothing.covers(action, &TopicPattern::all()), "{action}");
            let everything = Permissions::everything();
            assert!(
                everything.has(action) && everything.may(action, "_audit"),
                "{action}"
            );
        }
        let publisher = of("publish = ['orders.>']");
        assert!(publisher.may(Action::Publish, "orders.eu"));
        for (action, topic) in [
            (Action::Publish, "orders"),
            (Action::Publish, "payments"),
            (Action::Read, "orders.eu"),
            (Action::Consume, "orders.eu"),
            (Action::Operate, "orders.eu"),
            (Action::Admin, "orders.eu"),
        ] {
            assert!(!publisher.may(action, topic), "{action} {topic}");
        }
    }

    #[test]
    fn topics_that_ensue_keeps_for_itself_have_to_be_spelled() {
        let reader = of("read = ['>']");
        assert!(!reader.may(Action::Read, "_audit"));
        assert!(!reader.covers(Action::Read, &"_audit".parse().unwrap()));
        let auditor = of("read = ['_audit']");
        assert!(auditor.may(Action::Read, "_audit"));
    }

    #[test]
    fn a_source_belongs_to_the_topics_of_the_role_that_names_it() {
        let mut caller = of("publish = ['orders']\nsources = ['/shop', 'urn:x:']");
        let other = "[roles.it]\npublish = ['notes']".parse::<crate::Config>();
        caller.add(&other.unwrap().roles["it"]);
        for source in ["/shop", "/shop/till/4"] {
            assert!(caller.may_sign("orders", source), "{source}");
        }
        for source in ["/shopping", "/", "", "/bank", "/bank/shop", "urn:x:1"] {
            assert!(!caller.may_sign("orders", source), "{source}");
            assert!(caller.may_sign("notes", source), "{source}");
        }
        assert!(Permissions::everything().may_sign("orders", "/bank"));
    }

    #[test]
    fn personal_fields_are_seen_of_the_topics_of_the_role_that_says_so() {
        let mut caller = of("read = ['orders']\npersonal = true");
        let other = "[roles.it]\nread = ['users']\nadmin = true".parse::<crate::Config>();
        caller.add(&other.unwrap().roles["it"]);
        assert!(caller.may_see_personal("orders") && caller.may(Action::Read, "users"));
        assert!(!caller.may_see_personal("users"));
        assert!(Permissions::everything().may_see_personal("users"));
    }

    #[test]
    fn an_admin_sees_the_server_and_no_events() {
        let admin = of("admin = true");
        assert!(admin.has(Action::Admin));
        assert!(!admin.may(Action::Read, "orders") && !admin.has(Action::Operate));
    }
}
