//! What an engine promises, and what is going on in it.

use std::time::Duration;

use ensue_core::engine::{
    Atomicity, DedupWindow, EngineStatus, GroupStatus, Guarantees, Health, KeyBacklog,
    MemberStatus, Needed, TopicStatus,
};
use ensue_core::{Cursor, Position, Timestamp};

use crate::malformed::Malformed;
use crate::v1;
use crate::v1::dedup_window::Window;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&Guarantees> for v1::Guarantees {
    fn from(guarantees: &Guarantees) -> Self {
        Self {
            durable_on_acknowledge: guarantees.durable_on_acknowledge,
            survives_restart: guarantees.survives_restart,
            commit: match guarantees.commit {
                Atomicity::Atomic => v1::Atomicity::Atomic,
                Atomicity::EffectsFirst => v1::Atomicity::EffectsFirst,
            }
            .into(),
            dedup: Some(v1::DedupWindow {
                window: Some(match guarantees.dedup {
                    DedupWindow::Events(events) => Window::Events(events),
                    DedupWindow::Time(time) => Window::TimeMs(millis(time)),
                }),
            }),
            conditional_append: guarantees.conditional_append,
            schedules: guarantees.schedules,
            replay: guarantees.replay,
            multi_process: guarantees.multi_process,
            failover_ms: millis(guarantees.failover),
        }
    }
}

impl TryFrom<v1::Guarantees> for Guarantees {
    type Error = Malformed;

    fn try_from(guarantees: v1::Guarantees) -> Result<Self, Malformed> {
        let commit = match guarantees.commit() {
            v1::Atomicity::Atomic => Atomicity::Atomic,
            v1::Atomicity::EffectsFirst => Atomicity::EffectsFirst,
            v1::Atomicity::Unspecified => return Err(Malformed::missing("guarantees.commit")),
        };
        let window = guarantees.dedup.and_then(|dedup| dedup.window);
        Ok(Self {
            durable_on_acknowledge: guarantees.durable_on_acknowledge,
            survives_restart: guarantees.survives_restart,
            commit,
            dedup: match window.ok_or(Malformed::missing("guarantees.dedup"))? {
                Window::Events(events) => DedupWindow::Events(events),
                Window::TimeMs(time) => DedupWindow::Time(Duration::from_millis(time)),
            },
            conditional_append: guarantees.conditional_append,
            schedules: guarantees.schedules,
            replay: guarantees.replay,
            multi_process: guarantees.multi_process,
            failover: Duration::from_millis(guarantees.failover_ms),
        })
    }
}

impl From<Health> for v1::GetHealthResponse {
    fn from(health: Health) -> Self {
        Self {
            trouble: health.trouble,
            first: health.first.to_string(),
            end: health.end.to_string(),
        }
    }
}

impl TryFrom<v1::GetHealthResponse> for Health {
    type Error = Malformed;

    fn try_from(health: v1::GetHealthResponse) -> Result<Self, Malformed> {
        Ok(Self {
            trouble: health.trouble,
            first: health.first.parse()?,
            end: health.end.parse()?,
        })
    }
}

impl From<&EngineStatus> for v1::EngineStatus {
    fn from(status: &EngineStatus) -> Self {
        Self {
            url: status.url.clone(),
            trouble: status.trouble.clone(),
            durability: status.durability.clone(),
            first: status.first.to_string(),
            end: status.end.to_string(),
            bytes: status.bytes,
            needed: status.needed.as_ref().map(|needed| v1::Needed {
                position: needed.position.get(),
                by: needed.by.clone(),
            }),
            topics: status.topics.iter().map(v1::TopicStatus::from).collect(),
            replies: status.replies,
            groups: status.groups.iter().map(v1::GroupStatus::from).collect(),
            scheduled: status.scheduled as u64,
            next_due_us: status.next_due.map(Timestamp::as_micros),
            guarantees: Some((&status.guarantees).into()),
        }
    }
}

impl TryFrom<v1::EngineStatus> for EngineStatus {
    type Error = Malformed;

    fn try_from(status: v1::EngineStatus) -> Result<Self, Malformed> {
        let groups = status.groups.into_iter().map(GroupStatus::try_from);
        let guarantees = status.guarantees.ok_or(Malformed::missing("guarantees"))?;
        Ok(Self {
            url: status.url,
            trouble: status.trouble,
            durability: status.durability,
            first: status.first.parse()?,
            end: status.end.parse()?,
            bytes: status.bytes,
            needed: status.needed.map(|needed| Needed {
                position: Position::new(needed.position),
                by: needed.by,
            }),
            topics: status.topics.into_iter().map(TopicStatus::from).collect(),
            replies: status.replies,
            groups: groups.collect::<Result<_, _>>()?,
            scheduled: status.scheduled as usize,
            next_due: status.next_due_us.map(Timestamp::from_micros),
            guarantees: guarantees.try_into()?,
        })
    }
}

impl From<&TopicStatus> for v1::TopicStatus {
    fn from(topic: &TopicStatus) -> Self {
        Self {
            name: topic.name.clone(),
            events: topic.events,
            first: topic.first.get(),
            last: topic.last.get(),
        }
    }
}

impl From<v1::TopicStatus> for TopicStatus {
    fn from(topic: v1::TopicStatus) -> Self {
        Self {
            name: topic.name,
            events: topic.events,
            first: Position::new(topic.first),
            last: Position::new(topic.last),
        }
    }
}

impl From<&GroupStatus> for v1::GroupStatus {
    fn from(group: &GroupStatus) -> Self {
        Self {
            name: group.name.clone(),
            topics: group.topics.clone(),
            position: group.position.to_string(),
            lag: group.lag,
            in_flight: group.in_flight as u64,
            retrying: group.retrying as u64,
            parked: group.parked as u64,
            dead: group.dead as u64,
            blocked: group.blocked as u64,
            next_due_us: group.next_due.map(Timestamp::as_micros),
            paused: group.paused.clone(),
            trouble: group.trouble.clone(),
            refused: group.refused.clone(),
            held_back_until: group.held_back_until.as_ref().map(Cursor::to_string),
            backlogs: group.backlogs.iter().map(v1::KeyBacklog::from).collect(),
            members: group.members.iter().map(v1::MemberStatus::from).collect(),
        }
    }
}

impl TryFrom<v1::GroupStatus> for GroupStatus {
    type Error = Malformed;

    fn try_from(group: v1::GroupStatus) -> Result<Self, Malformed> {
        let held_back_until = group.held_back_until.map(|it| it.parse());
        Ok(Self {
            name: group.name,
            topics: group.topics,
            position: group.position.parse()?,
            lag: group.lag,
            in_flight: group.in_flight as usize,
            retrying: group.retrying as usize,
            parked: group.parked as usize,
            dead: group.dead as usize,
            blocked: group.blocked as usize,
            next_due: group.next_due_us.map(Timestamp::from_micros),
            paused: group.paused,
            trouble: group.trouble,
            refused: group.refused,
            held_back_until: held_back_until.transpose()?,
            backlogs: group.backlogs.into_iter().map(KeyBacklog::from).collect(),
            members: group.members.into_iter().map(MemberStatus::from).collect(),
        })
    }
}

impl From<&KeyBacklog> for v1::KeyBacklog {
    fn from(backlog: &KeyBacklog) -> Self {
        Self {
            topic: backlog.topic.clone(),
            key: backlog.key.clone(),
            events: backlog.events,
            from: backlog.from.get(),
        }
    }
}

impl From<v1::KeyBacklog> for KeyBacklog {
    fn from(backlog: v1::KeyBacklog) -> Self {
        Self {
            topic: backlog.topic,
            key: backlog.key,
            events: backlog.events,
            from: Position::new(backlog.from),
        }
    }
}

impl From<&MemberStatus> for v1::MemberStatus {
    fn from(member: &MemberStatus) -> Self {
        Self {
            id: member.id,
            in_flight: member.in_flight as u64,
        }
    }
}

impl From<v1::MemberStatus> for MemberStatus {
    fn from(member: v1::MemberStatus) -> Self {
        Self {
            id: member.id,
            in_flight: member.in_flight as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_arrives_whole() {
        for trouble in [None, Some("trouble".to_owned())] {
            let health = Health {
                trouble,
                first: "3".parse().unwrap(),
                end: "17.4".parse().unwrap(),
            };
            let sent = v1::GetHealthResponse::from(health.clone());
            assert_eq!(Health::try_from(sent).unwrap(), health);
        }
    }

    #[test]
    fn a_status_arrives_whole() {
        let guarantees = Guarantees {
            durable_on_acknowledge: true,
            survives_restart: false,
            commit: Atomicity::EffectsFirst,
            dedup: DedupWindow::Time(Duration::from_secs(7)),
            conditional_append: true,
            schedules: false,
            replay: true,
            multi_process: false,
            failover: Duration::from_millis(1_500),
        };
        let status = EngineStatus {
            url: "embedded:./data".into(),
            trouble: Some("trouble".into()),
            durability: "sync".into(),
            first: "3".parse().unwrap(),
            end: "17.4".parse().unwrap(),
            bytes: Some(9),
            needed: Some(Needed {
                position: Position::new(3),
                by: "g".into(),
            }),
            topics: vec![TopicStatus {
                name: "orders".into(),
                events: 5,
                first: Position::new(3),
                last: Position::new(16),
            }],
            replies: 2,
            groups: vec![GroupStatus {
                name: "g".into(),
                topics: vec!["orders".into()],
                position: "4".parse().unwrap(),
                lag: 1,
                in_flight: 2,
                retrying: 3,
                parked: 4,
                dead: 5,
                blocked: 6,
                next_due: Some(Timestamp::from_micros(7)),
                paused: Some("paused".into()),
                trouble: Some("trouble".into()),
                refused: Some("refused".into()),
                held_back_until: Some("8".parse().unwrap()),
                backlogs: vec![KeyBacklog {
                    topic: "orders".into(),
                    key: "k".into(),
                    events: 9,
                    from: Position::new(10),
                }],
                members: vec![MemberStatus {
                    id: 1,
                    in_flight: 2,
                }],
            }],
            scheduled: 11,
            next_due: Some(Timestamp::from_micros(12)),
            guarantees,
        };
        let sent = EngineStatus::try_from(v1::EngineStatus::from(&status)).unwrap();
        assert_eq!(format!("{sent:?}"), format!("{status:?}"));
    }
}
